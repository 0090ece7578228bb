//! Whether this process should get traffic, and the check that decides it for the first time.
//!
//! An outage of ClickHouse after the first success does not make the process unready: clients must hear 503 with
//! Retry-After from it, not a refused connection from an empty Service.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;

use crate::batch::Table;
use crate::clickhouse;
use crate::clickhouse::Client;
use crate::encode::columns;
use crate::metrics::Metrics;
use crate::schema;

/// How often ClickHouse is asked until it first answers well.
const UNTIL_PROVEN: Duration = Duration::from_secs(1);
/// How often the schema is looked at afterwards.
const AFTERWARDS: Duration = Duration::from_secs(30);

/// Shared by the probe, the admin port and the shutdown.
#[derive(Debug, Default)]
pub struct Readiness {
    is_proven: AtomicBool,
    is_outside_range: AtomicBool,
    is_draining: AtomicBool,
}

/// Why ClickHouse cannot be written to.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// ClickHouse does not answer, or not as needed.
    #[error("failed to {act}")]
    Clickhouse {
        /// What was tried.
        act: &'static str,
        /// What came back.
        source: clickhouse::Error,
    },
    /// The schema is older or newer than this binary can serve.
    #[error(
        "the schema is at version {0}, this binary serves {min} to {max}",
        min = schema::MINIMUM,
        max = schema::MAXIMUM
    )]
    OutsideRange(u32),
}

impl Readiness {
    /// Why the process is not ready; `None` when it is.
    pub fn missing(&self) -> Option<&'static str> {
        if self.is_draining.load(Ordering::Relaxed) {
            Some("draining")
        } else if self.is_outside_range.load(Ordering::Relaxed) {
            Some("the schema version is outside the range of this binary")
        } else if !self.is_proven.load(Ordering::Relaxed) {
            Some("ClickHouse has not accepted this service yet")
        } else {
            None
        }
    }

    /// From now on the process is not ready.
    pub fn drain(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
    }

    /// Checks until the future is dropped: often before the first success, now and then afterwards.
    pub async fn follow(&self, client: &Client, metrics: &Metrics) {
        let mut is_told = false;
        loop {
            let outcome = check(client).await;
            let is_proven = self.record(&outcome);
            metrics.clickhouse_up.set(i64::from(outcome.is_ok()));
            if let Err(problem) = &outcome
                && !is_told
            {
                tracing::warn!(error = problem as &dyn std::error::Error, "ClickHouse cannot be written to");
            }
            is_told = outcome.is_err();
            tokio::time::sleep(if is_proven { AFTERWARDS } else { UNTIL_PROVEN }).await;
        }
    }

    /// Remembers an outcome and says whether there was ever a good one.
    fn record(&self, outcome: &Result<(), Problem>) -> bool {
        match outcome {
            Ok(()) => {
                self.is_outside_range.store(false, Ordering::Relaxed);
                self.is_proven.store(true, Ordering::Relaxed);
            }
            Err(Problem::OutsideRange(_)) => self.is_outside_range.store(true, Ordering::Relaxed),
            Err(Problem::Clickhouse { .. }) => {}
        }
        self.is_proven.load(Ordering::Relaxed)
    }
}

/// Checks that the login works, that every table takes rows of the shape that is sent, and the schema's version where
/// the login may read it.
pub async fn check(client: &Client) -> Result<(), Problem> {
    for table in Table::ALL {
        // No rows: proves login, rights, table and columns, and needs no right to read.
        let statement = format!("INSERT INTO {} ({}) FORMAT RowBinary", table.name(), columns(table));
        let tried = client.insert(&statement, &[], Bytes::new(), Duration::from_secs(5)).await;
        tried.map_err(|source| Problem::Clickhouse { act: "insert into the product tables", source })?;
    }
    Ok(())
}
