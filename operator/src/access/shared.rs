//! One read of the catalogue for every stack on the same ClickHouse: as many queries for a thousand stacks as for one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::catalogue::{Catalogue, fetch_catalogue};
use crate::clickhouse::{Comment, Connection, Error, Failure};

/// Time that reading the whole catalogue may take.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for which a refusal is believed, so that a burst of events asks once.
const REFUSAL_LIFETIME: Duration = Duration::from_millis(500);

/// The last read of each ClickHouse that stacks live on.
#[derive(Debug, Default)]
pub(crate) struct Catalogues(Mutex<HashMap<[u8; 32], Entry>>);

/// The last read of one ClickHouse; locked while it is read.
type Entry = Arc<tokio::sync::Mutex<Option<Read>>>;

/// One read and how long it holds.
#[derive(Debug, Clone)]
pub(crate) struct Read {
    /// When the first query was sent; what was changed later may be missing.
    pub(crate) started: Instant,
    /// When it is read again.
    pub(crate) expires: Instant,
    /// What was read, or why it was not.
    pub(crate) answer: Result<Arc<Catalogue>, Error>,
}

/// How new a read has to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Freshness {
    /// Moment that it must not have started before.
    pub(crate) not_before: Option<Instant>,
    /// Time for which a new one holds.
    pub(crate) lifetime: Duration,
}

impl Catalogues {
    /// The last read, if it is new enough, or a new one. Whoever asks meanwhile waits for it and shares it.
    pub(crate) async fn read(&self, connection: &Connection, freshness: Freshness) -> Read {
        let entry = self.entry(connection.identity());
        let mut last = entry.lock().await;
        if let Some(read) = last.as_ref().filter(|read| read.holds(freshness)) {
            return read.clone();
        }
        let read = read(connection, freshness.lifetime).await;
        *last = Some(read.clone());
        read
    }

    /// A ClickHouse that nobody asks about any more is forgotten with the next one that is new.
    fn entry(&self, identity: [u8; 32]) -> Entry {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !entries.contains_key(&identity) {
            entries.retain(|_, entry| {
                let is_in_use = Arc::strong_count(entry) > 1;
                is_in_use || entry.try_lock().is_ok_and(|read| read.as_ref().is_some_and(Read::is_current))
            });
        }
        Arc::clone(entries.entry(identity).or_default())
    }
}

impl Read {
    fn holds(&self, freshness: Freshness) -> bool {
        self.is_current() && freshness.not_before.is_none_or(|moment| self.started >= moment)
    }

    fn is_current(&self) -> bool {
        Instant::now() < self.expires
    }
}

async fn read(connection: &Connection, lifetime: Duration) -> Read {
    let started = Instant::now();
    let everybody =
        Comment { stack: "*".into(), uid: String::new(), generation: 0, reason: "catalogue".into() };
    let connection = connection.with_comment(&everybody);
    let answer = match tokio::time::timeout(READ_TIMEOUT, fetch_catalogue(&connection)).await {
        Ok(answer) => answer.map(Arc::new),
        Err(_elapsed) => Err(Error::new(connection.endpoint(), Failure::Timeout)),
    };
    let lifetime = if answer.is_ok() { lifetime } else { REFUSAL_LIFETIME };
    Read { started, expires: Instant::now() + lifetime, answer }
}
