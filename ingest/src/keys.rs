//! Keeps the snapshot of ingestion keys current: reads the mounted file again whenever its content changes.
//!
//! A file that cannot be read or parsed changes nothing: the last good snapshot stays, with a log line and a metric.

mod file;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use secrecy::ExposeSecret as _;
use sha2::Digest as _;
use sha2::Sha256;

use crate::authenticate::Key;
use crate::authenticate::KeySnapshot;
use crate::metrics::Metrics;
use crate::settings::KeySettings;
use crate::telemetry::Causes;

pub use file::Error;

/// How often the file is looked at. A mounted Secret changes by a swapped link, which events do not show reliably.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The current keys and where they come from.
#[derive(Debug)]
pub struct Keys {
    current: ArcSwap<KeySnapshot>,
    plain: Vec<Key>,
    maybe_file: Option<PathBuf>,
    metrics: Arc<Metrics>,
}

impl Keys {
    /// Reads the keys for the first time; a bad file is an error here.
    pub async fn open(settings: &KeySettings, metrics: Arc<Metrics>) -> Result<Self, Error> {
        let plain: Vec<Key> = settings.plain.iter().enumerate().map(plain_key).collect();
        let keys = Self {
            current: ArcSwap::from_pointee(KeySnapshot { generation: 0, keys: plain.clone() }),
            plain,
            maybe_file: settings.file.clone(),
            metrics,
        };
        if let Some(file) = &keys.maybe_file {
            let text = tokio::fs::read(file).await.map_err(Error::Read)?;
            keys.publish(&text)?;
        }
        Ok(keys)
    }

    /// The keys of this moment.
    pub fn snapshot(&self) -> Arc<KeySnapshot> {
        self.current.load_full()
    }

    /// Follows the file until the future is dropped.
    pub async fn follow(&self) {
        let Some(file) = &self.maybe_file else { return std::future::pending().await };
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
            last = Some(seen);
            let outcome = content.map_err(Error::Read).and_then(|text| self.publish(&text));
            self.metrics.keys_file_bad.set(i64::from(outcome.is_err()));
            if let Err(error) = outcome {
                tracing::error!(
                    error = %Causes(&error),
                    "kept the last good ingestion keys"
                );
            }
        }
    }

    fn publish(&self, text: &[u8]) -> Result<(), Error> {
        let read = file::parse(text)?;
        let keys = self.plain.iter().cloned().chain(read.keys).collect();
        let snapshot = KeySnapshot { generation: read.generation, keys };
        if *self.current.load_full() != snapshot {
            tracing::info!(
                keys.generation = snapshot.generation,
                keys.count = snapshot.keys.len(),
                "read ingestion keys"
            );
            self.current.store(Arc::new(snapshot));
        }
        self.metrics.keys_generation.set(i64::try_from(read.generation).unwrap_or(i64::MAX));
        Ok(())
    }
}

fn plain_key((index, key): (usize, &secrecy::SecretString)) -> Key {
    Key {
        name: format!("env-{}", index + 1).into(),
        sha256: Sha256::digest(key.expose_secret().as_bytes()).into(),
        may_capture: true,
        origins: Vec::new(),
        valid_from: None,
        valid_until: None,
    }
}
