//! Children of a stack as values: what is wanted, what is there, what was applied.

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use sha2::{Digest as _, Sha256};

/// Kinds that the operator makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum ChildKind {
    Secret,
    ServiceAccount,
    Service,
    NetworkPolicy,
    PodDisruptionBudget,
    Deployment,
    StatefulSet,
    Job,
}

impl ChildKind {
    /// The kind as Kubernetes writes it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Secret => "Secret",
            Self::ServiceAccount => "ServiceAccount",
            Self::Service => "Service",
            Self::NetworkPolicy => "NetworkPolicy",
            Self::PodDisruptionBudget => "PodDisruptionBudget",
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::Job => "Job",
        }
    }
}

/// Kind and name of a child; the namespace is the stack's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ChildKey {
    /// Its kind.
    pub(crate) kind: ChildKind,
    /// Its name.
    pub(crate) name: String,
}

impl ChildKey {
    /// A key of this kind and name.
    pub(crate) fn new(kind: ChildKind, name: impl Into<String>) -> Self {
        Self { kind, name: name.into() }
    }
}

impl std::fmt::Display for ChildKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.kind.as_str(), self.name)
    }
}

/// A child as it should be.
#[derive(Clone)]
pub(crate) enum Child {
    Secret(Box<Secret>),
    ServiceAccount(Box<ServiceAccount>),
    Service(Box<Service>),
    NetworkPolicy(Box<NetworkPolicy>),
    PodDisruptionBudget(Box<PodDisruptionBudget>),
    Deployment(Box<Deployment>),
    StatefulSet(Box<StatefulSet>),
    Job(Box<Job>),
}

impl std::fmt::Debug for Child {
    /// The key only: a Secret's content must not show anywhere.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.key())
    }
}

impl Child {
    /// Kind and name.
    pub(crate) fn key(&self) -> ChildKey {
        let (kind, metadata) = match self {
            Self::Secret(object) => (ChildKind::Secret, &object.metadata),
            Self::ServiceAccount(object) => (ChildKind::ServiceAccount, &object.metadata),
            Self::Service(object) => (ChildKind::Service, &object.metadata),
            Self::NetworkPolicy(object) => (ChildKind::NetworkPolicy, &object.metadata),
            Self::PodDisruptionBudget(object) => (ChildKind::PodDisruptionBudget, &object.metadata),
            Self::Deployment(object) => (ChildKind::Deployment, &object.metadata),
            Self::StatefulSet(object) => (ChildKind::StatefulSet, &object.metadata),
            Self::Job(object) => (ChildKind::Job, &object.metadata),
        };
        ChildKey::new(kind, metadata.name.clone().unwrap_or_default())
    }

    /// Hash of the whole desired object. Kept in memory only, so that it gives nothing away.
    pub(crate) fn hash(&self) -> [u8; 32] {
        let bytes = match self {
            Self::Secret(object) => serde_json::to_vec(object),
            Self::ServiceAccount(object) => serde_json::to_vec(object),
            Self::Service(object) => serde_json::to_vec(object),
            Self::NetworkPolicy(object) => serde_json::to_vec(object),
            Self::PodDisruptionBudget(object) => serde_json::to_vec(object),
            Self::Deployment(object) => serde_json::to_vec(object),
            Self::StatefulSet(object) => serde_json::to_vec(object),
            Self::Job(object) => serde_json::to_vec(object),
        };
        // Kubernetes' own types always serialize; an empty hash would only cause one apply more.
        Sha256::digest(bytes.unwrap_or_default()).into()
    }
}

/// What tells one state of a live object from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    /// Changes when anybody changes what the operator applied.
    pub(crate) mark: String,
    /// Position in the API server's history, where it is a number.
    pub(crate) resource_version: u64,
}

impl Version {
    /// The version of an object. Kinds with a generation are judged by it and by their labels and owners, so that a
    /// controller's writes to status do not count; the others by their resourceVersion.
    pub(crate) fn of(metadata: &ObjectMeta) -> Self {
        let resource_version = metadata.resource_version.clone().unwrap_or_default();
        let mark = match metadata.generation {
            Some(generation) => {
                let parts = serde_json::json!([
                    metadata.labels,
                    metadata.owner_references,
                    metadata
                        .annotations
                        .iter()
                        .flatten()
                        .filter(|(key, _)| key.starts_with("weir.dev/"))
                        .collect::<Vec<_>>()
                ]);
                format!("g{generation}-{}", hex::encode(&Sha256::digest(parts.to_string())[..8]))
            }
            None => format!("r{resource_version}"),
        };
        Self { mark, resource_version: resource_version.parse().unwrap_or(0) }
    }
}

/// A child as the watch last saw it.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    /// Its UID.
    pub(crate) uid: String,
    /// Its state.
    pub(crate) version: Version,
}

/// What an apply returned.
#[derive(Debug, Clone)]
pub(crate) struct AppliedChild {
    /// Hash of what was applied.
    pub(crate) hash: [u8; 32],
    /// State of the object after it.
    pub(crate) version: Version,
}

/// Whether a child is as it should be, so that it need not be applied.
pub(crate) fn is_settled(hash: &[u8; 32], live: Option<&Live>, applied: Option<&AppliedChild>) -> bool {
    let (Some(live), Some(applied)) = (live, applied) else { return false };
    // A watch that has not yet seen the apply shows an older version; it will, and that wakes the stack.
    let behind = live.version.resource_version < applied.version.resource_version;
    applied.hash == *hash && (behind || live.version.mark == applied.version.mark)
}
