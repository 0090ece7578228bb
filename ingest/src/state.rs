//! What every handler shares.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::admission::Admission;
use crate::budget::Budget;
use crate::buffer::Buffer;
use crate::keys::Keys;
use crate::metrics::Metrics;
use crate::policy::Policy;
use crate::settings::Limits;
use crate::settings::Network;
use crate::settings::PathSettings;
use crate::settings::Settings;

/// A handle to the shared things; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct AppState(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limits: Limits,
    origins: Vec<String>,
    paths: PathSettings,
    trusted_proxies: Vec<Network>,
    patience: Duration,
    keys: Arc<Keys>,
    admission: Admission,
    policy: Policy,
    budget: Arc<Budget>,
    buffer: Buffer,
    metrics: Arc<Metrics>,
    large_bodies: Semaphore,
}

/// The live parts that the state is made of.
pub(crate) struct Parts {
    pub(crate) keys: Arc<Keys>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) buffer: Buffer,
    pub(crate) metrics: Arc<Metrics>,
}

impl AppState {
    pub(crate) fn new(settings: &Settings, parts: Parts) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let Parts { keys, budget, buffer, metrics } = parts;
        Self(Arc::new(Shared {
            limits: settings.limits,
            origins: settings.origins.clone(),
            paths: settings.paths.clone(),
            trusted_proxies: settings.trusted_proxies.clone(),
            patience: crate::api::store::patience(settings.clickhouse.timeout),
            keys,
            policy: Policy::new(&settings.policy),
            admission: Admission::new(settings, Arc::clone(&metrics)),
            budget,
            buffer,
            metrics,
            large_bodies: Semaphore::new(cores),
        }))
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    pub(crate) fn origins(&self) -> &[String] {
        &self.0.origins
    }

    pub(crate) fn paths(&self) -> &PathSettings {
        &self.0.paths
    }

    pub(crate) fn trusted_proxies(&self) -> &[Network] {
        &self.0.trusted_proxies
    }

    pub(crate) fn patience(&self) -> Duration {
        self.0.patience
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.0.keys
    }

    pub(crate) fn admission(&self) -> &Admission {
        &self.0.admission
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.0.policy
    }

    pub(crate) fn budget(&self) -> &Arc<Budget> {
        &self.0.budget
    }

    pub(crate) fn buffer(&self) -> &Buffer {
        &self.0.buffer
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    pub(crate) fn large_bodies(&self) -> &Semaphore {
        &self.0.large_bodies
    }
}
