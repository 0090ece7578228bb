//! What every pass shares.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::runtime::events::Recorder;
use weir_crds::Reason;

use super::memory::Memories;
use super::observe::Images;
use super::observed::Fault;
use super::validate::Rules;
use super::watch::Stores;
use crate::access::Catalogues;
use crate::kubernetes;
use crate::metrics::Metrics;

/// What the operator was told.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// What specs may say.
    pub(crate) rules: Rules,
    /// Name of the cluster in ClickHouse's ledger.
    pub(crate) cluster_id: String,
    /// Time after which a settled stack is compared with ClickHouse.
    pub(crate) drift: Duration,
    /// Time for which a registry's answer is believed.
    pub(crate) image_cache: Duration,
    /// Time that one pass may take.
    pub(crate) pass: Duration,
    /// CAs of the registry.
    pub(crate) registry_ca: Option<Vec<u8>>,
}

impl Settings {
    /// When the catalogue is read again: within the drift period, early enough that what a stack finds then is repaired
    /// within it as well, and at no fixed moment of it, so that several servers are not read together.
    pub(crate) fn jittered_drift(&self) -> Duration {
        self.drift.mul_f64(rand::random_range(0.7..0.8))
    }
}

/// What the scopes share.
#[derive(Clone)]
pub(crate) struct Shared {
    /// Client of the API server.
    pub(crate) client: Client,
    /// What the operator was told.
    pub(crate) settings: Settings,
    /// Publishes events.
    pub(crate) recorder: Recorder,
    /// Counts.
    pub(crate) metrics: Arc<Metrics>,
    /// What each ClickHouse holds.
    pub(crate) catalogues: Arc<Catalogues>,
}

/// What the passes of one scope share.
pub(crate) struct Context {
    /// Client of the API server.
    pub(crate) client: Client,
    /// What the operator was told.
    pub(crate) settings: Settings,
    /// Publishes events.
    pub(crate) recorder: Recorder,
    /// Counts.
    pub(crate) metrics: Arc<Metrics>,
    /// Children as the watches see them.
    pub(crate) stores: Stores,
    /// What is remembered between passes.
    pub(crate) memories: Memories,
    /// What each ClickHouse holds.
    pub(crate) catalogues: Arc<Catalogues>,
    /// Answers of registries.
    pub(crate) images: Images,
    contents: Contents,
}

/// Contents of referenced Secrets by namespace and name, each with the version that it was read at.
type Contents = Mutex<HashMap<(String, String), (String, Arc<Secret>)>>;

impl std::fmt::Debug for Context {
    /// No contents: they hold the administrators' passwords.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Context").finish_non_exhaustive()
    }
}

impl Context {
    /// The context of one scope.
    pub(crate) fn new(shared: Shared, stores: Stores) -> Self {
        let Shared { client, settings, recorder, metrics, catalogues } = shared;
        Self {
            client,
            settings,
            recorder,
            metrics,
            catalogues,
            stores,
            memories: Memories::default(),
            images: Images::default(),
            contents: Contents::default(),
        }
    }

    /// A referenced Secret, read anew only when the watch shows another version of it.
    pub(crate) async fn secret(&self, namespace: &str, name: &str) -> Result<Option<Arc<Secret>>, Fault> {
        if let Some(secret) = self.stores.labelled_secret(namespace, name) {
            return Ok(Some(secret));
        }
        let key = (namespace.to_owned(), name.to_owned());
        let Some(version) = self.stores.foreign_version(namespace, name) else {
            self.contents.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
            return Ok(None);
        };
        let known = self.contents.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some((_, secret)) = known.filter(|(read_at, _)| *read_at == version) {
            return Ok(Some(secret));
        }
        let fetched = kubernetes::fetch::<Secret>(&self.client, namespace, name).await.map_err(|error| {
            tracing::warn!(error = &error as &dyn std::error::Error, "failed to read a referenced Secret");
            Fault::dependency(
                format!("Secret/{name}"),
                Reason::Progressing,
                "it could not be read and is tried again",
            )
        })?;
        let secret = fetched.map(Arc::new);
        if let Some(secret) = &secret {
            let metadata = &secret.metadata;
            let version = format!("{:?}/{:?}", metadata.uid, metadata.resource_version);
            let mut contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
            contents.insert(key, (version, Arc::clone(secret)));
        }
        Ok(secret)
    }
}
