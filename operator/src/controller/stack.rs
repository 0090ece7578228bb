//! A stack that has been checked: what every later step works on instead of the raw spec.

use weir_crds::{DriftPolicy, IngestSpec, KeySpec, ValueSource};

use super::rotation::{Policy, Requests};
use crate::access;
use crate::names::ClickhouseNames;

/// Seconds that an ingest pod has from SIGTERM to its exit.
pub(crate) const DRAIN_SECONDS: i64 = 25;

/// A checked stack.
#[derive(Debug, Clone)]
pub(crate) struct Stack {
    /// Namespace of the stack and of all its children.
    pub(crate) namespace: String,
    /// Name of the stack.
    pub(crate) name: String,
    /// UID of the stack.
    pub(crate) uid: String,
    /// ClickHouse that it lives on.
    pub(crate) clickhouse: Clickhouse,
    /// Ingest section of the spec; its image is in `image`.
    pub(crate) ingest: IngestSpec,
    /// Image to run, once it is known.
    pub(crate) image: Option<Image>,
    /// Ingestion keys.
    pub(crate) keys: Vec<Key>,
    /// Readers.
    pub(crate) readers: Vec<Reader>,
    /// What happens to changes by hand.
    pub(crate) drift: DriftPolicy,
    /// When the login of the ingest pods turns.
    pub(crate) rotation: Policy,
    /// What its annotations ask for.
    pub(crate) requests: Requests,
}

/// ClickHouse of a stack.
#[derive(Debug, Clone)]
pub(crate) struct Clickhouse {
    /// Endpoints as the spec gives them.
    pub(crate) endpoints: Vec<Endpoint>,
    /// Names of database, roles and users.
    pub(crate) names: ClickhouseNames,
    /// Whether the spec names a CA.
    pub(crate) names_ca: bool,
    /// CA bundle, when the spec names one and it could be read.
    pub(crate) ca_pem: Option<String>,
}

/// One address of ClickHouse, taken apart once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// `http` or `https`.
    pub(crate) scheme: String,
    /// Host name or address, IPv6 in brackets.
    pub(crate) host: String,
    /// Port, given or that of the scheme.
    pub(crate) port: u16,
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}://{}:{}", self.scheme, self.host, self.port)
    }
}

/// An image pinned by digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Image {
    /// Reference of the spec that was resolved.
    pub(crate) requested: String,
    /// `repository@sha256:…`.
    pub(crate) pinned: String,
    /// When it was resolved; none for a reference that is a digest itself.
    pub(crate) resolved_at: Option<k8s_openapi::jiff::Timestamp>,
}

impl Image {
    /// The digest alone, `sha256:…`.
    pub(crate) fn digest(&self) -> &str {
        self.pinned.rsplit_once('@').map_or(self.pinned.as_str(), |(_, digest)| digest)
    }

    /// First twelve digits of the digest.
    pub(crate) fn short(&self) -> String {
        self.digest().trim_start_matches("sha256:").chars().take(12).collect()
    }
}

/// One ingestion key.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    /// The key as the spec gives it.
    pub(crate) spec: KeySpec,
    /// Secret to publish it in.
    pub(crate) secret_name: String,
    /// When it turns.
    pub(crate) rotation: Policy,
}

/// One reader.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    /// Name in the spec.
    pub(crate) name: String,
    /// What it may do.
    pub(crate) access: access::Reader,
    /// Where its password comes from, unless it is generated.
    pub(crate) value_from: Option<ValueSource>,
    /// Secret to publish the login in.
    pub(crate) secret_name: String,
    /// When its login turns.
    pub(crate) rotation: Policy,
}

impl Stack {
    /// Name of a child: the stack's name and a suffix.
    pub(crate) fn child_name(&self, suffix: &str) -> String {
        format!("{}-{suffix}", self.name)
    }

    /// Name of the ingest Deployment, Service and ServiceAccount.
    pub(crate) fn ingest_name(&self) -> String {
        self.child_name("ingest")
    }

    /// Pods that have a spool.
    pub(crate) fn spool_pods(&self) -> i32 {
        if self.ingest.spool.is_some() { self.ingest.replicas } else { 0 }
    }

    /// Address that SDKs inside the cluster send to.
    pub(crate) fn url(&self) -> String {
        format!("http://{}.{}.svc:8080", self.ingest_name(), self.namespace)
    }

    /// Comma list of the endpoints.
    pub(crate) fn endpoint_list(&self) -> String {
        self.clickhouse.endpoints.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }

    /// Name of the migration run for the image: stack, digest, set of modules and endpoints in eight digits.
    pub(crate) fn run(&self, image: &Image) -> String {
        use sha2::{Digest as _, Sha256};
        let mut hash = Sha256::new();
        for part in [self.uid.as_str(), image.digest(), "product", self.endpoint_list().as_str()] {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        hex::encode(&hash.finalize()[..4])
    }
}
