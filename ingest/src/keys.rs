//! Keeps the snapshot of ingestion keys current: reads the mounted file again whenever its content changes.
//!
//! A file that cannot be read or parsed changes nothing: the last good snapshot stays, with a log line, a metric and a
//! word in the generation report.

mod file;
mod snapshot;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use arc_swap::Guard;
use secrecy::ExposeSecret as _;
use sha2::Digest as _;
use sha2::Sha256;

use crate::metrics::Metrics;
use crate::reload::Reloads;
use crate::settings::KeySettings;
use crate::telemetry::Causes;

pub use file::Error;
pub use snapshot::Entry;
pub use snapshot::Key;
pub use snapshot::KeySnapshot;
pub use snapshot::Scope;
pub use snapshot::Usage;

/// How often the file is looked at. A mounted Secret changes by a swapped link, which events do not show reliably.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The current keys and where they come from.
#[derive(Debug)]
pub struct Keys {
    current: ArcSwap<KeySnapshot>,
    settings: KeySettings,
    reloads: Reloads,
    metrics: Arc<Metrics>,
}

impl Keys {
    /// Reads the keys for the first time; a bad file is an error here.
    pub async fn open(settings: &KeySettings, metrics: Arc<Metrics>) -> Result<Self, Error> {
        let keys = Self {
            current: ArcSwap::default(),
            settings: settings.clone(),
            reloads: Reloads::default(),
            metrics,
        };
        match &settings.file {
            Some(file) => keys.publish(&tokio::fs::read(file).await.map_err(Error::Read)?)?,
            None => keys.store(file::Content { generation: 0, keys: Vec::new() }),
        }
        Ok(keys)
    }

    /// The keys of this moment. Not to be held while waiting.
    pub fn snapshot(&self) -> Guard<Arc<KeySnapshot>> {
        self.current.load()
    }

    /// What has become of changes of the file.
    pub fn reloads(&self) -> &Reloads {
        &self.reloads
    }

    /// Follows the file until the future is dropped.
    pub async fn follow(&self) {
        let Some(file) = &self.settings.file else { return std::future::pending().await };
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut last = None;
        loop {
            looks.tick().await;
            let content = tokio::fs::read(file).await;
            let seen = content.as_ref().ok().map(|text| <[u8; 32]>::from(Sha256::digest(text)));
            if last == Some(seen) {
                continue;
            }
            let is_first = last.replace(seen).is_none();
            let outcome = content.map_err(Error::Read).and_then(|text| self.publish(&text));
            self.report(&outcome, is_first);
        }
    }

    fn report(&self, outcome: &Result<(), Error>, is_first: bool) {
        self.metrics.keys_file_bad.set(i64::from(outcome.is_err()));
        match outcome {
            // The content that was read at the start, in all likelihood.
            Ok(()) if is_first => self.reloads.unchanged(),
            Ok(()) => self.reloads.taken(),
            Err(error) => {
                self.reloads.failed(error.class());
                tracing::error!(error = %Causes(error), "kept the last good ingestion keys");
            }
        }
    }

    fn publish(&self, text: &[u8]) -> Result<(), Error> {
        self.store(file::parse(text)?);
        Ok(())
    }

    fn store(&self, content: file::Content) {
        let file::Content { generation, keys } = content;
        let keys = self.settings.plain.iter().enumerate().map(plain_key).chain(keys).collect();
        let current = self.current.load();
        let snapshot = KeySnapshot::new(generation, keys, self.settings.rate, &current);
        let is_same = current.entries().iter().map(|entry| &entry.key);
        if !is_same.eq(snapshot.entries().iter().map(|entry| &entry.key))
            || current.generation() != generation
        {
            tracing::info!(
                keys.generation = generation,
                keys.count = snapshot.entries().len(),
                "read ingestion keys"
            );
            self.current.store(Arc::new(snapshot));
        }
        self.metrics.keys_generation.set(i64::try_from(generation).unwrap_or(i64::MAX));
    }
}

fn plain_key((index, key): (usize, &secrecy::SecretString)) -> Key {
    Key {
        name: format!("env-{}", index + 1).into(),
        generation: 0,
        sha256: Sha256::digest(key.expose_secret().as_bytes()).into(),
        scopes: vec![Scope::Capture, Scope::Otlp],
        origins: Vec::new(),
        valid_from: None,
        valid_until: None,
        maybe_rate: None,
    }
}
