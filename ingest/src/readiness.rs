//! Whether this process should get traffic, and the check that decides it for the first time.
//!
//! An outage of ClickHouse after the first success does not make the process unready: clients must hear 503 with
//! Retry-After from it, not a refused connection from an empty Service.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;

use crate::clickhouse;
use crate::clickhouse::Client;
use crate::dead_letter;
use crate::encode::columns;
use crate::metrics::Metrics;
use crate::migrate;
use crate::migrate::Mismatch;
use crate::schema;
use crate::table::Table;
use crate::telemetry::Causes;

/// How often ClickHouse is asked until it first answers well.
const UNTIL_PROVEN: Duration = Duration::from_secs(1);
/// How often the schema is looked at afterwards.
const AFTERWARDS: Duration = Duration::from_secs(30);

/// How long one statement of the check may take.
pub(crate) const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// ClickHouse's code for a missing right.
pub(crate) const FORBIDDEN: i32 = 497;

/// Shared by the probe, the admin port and the shutdown.
#[derive(Debug, Default)]
pub struct Readiness {
    proven: AtomicBool,
    outside_range: AtomicBool,
    draining: AtomicBool,
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
        if self.draining.load(Ordering::Relaxed) {
            Some("draining")
        } else if self.outside_range.load(Ordering::Relaxed) {
            Some("the schema version is outside the range of this binary")
        } else if !self.proven.load(Ordering::Relaxed) {
            Some("ClickHouse has not accepted this service yet")
        } else {
            None
        }
    }

    /// From now on the process is not ready.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Checks until the future is dropped: often before the first success, now and then afterwards.
    pub async fn follow(&self, client: &Client, migrations: &migrate::Options, metrics: &Metrics) {
        let mut is_told = false;
        loop {
            let outcome = check(client, migrations).await;
            let is_proven = self.record(&outcome);
            metrics.clickhouse_up.set(i64::from(outcome.is_ok()));
            if let Err(problem) = &outcome
                && !is_told
            {
                tracing::warn!(error = %Causes(problem), "ClickHouse cannot be written to");
            }
            is_told = outcome.is_err();
            tokio::time::sleep(if is_proven { AFTERWARDS } else { UNTIL_PROVEN }).await;
        }
    }

    /// Remembers an outcome and says whether there was ever a good one.
    fn record(&self, outcome: &Result<(), Problem>) -> bool {
        match outcome {
            Ok(()) => {
                self.outside_range.store(false, Ordering::Relaxed);
                self.proven.store(true, Ordering::Relaxed);
            }
            Err(Problem::OutsideRange(_)) => self.outside_range.store(true, Ordering::Relaxed),
            Err(Problem::Clickhouse { .. }) => {}
        }
        self.proven.load(Ordering::Relaxed)
    }
}

/// Checks that the schema is one that this binary serves, where the login may read that, and that every table takes
/// rows of the shape that is sent.
pub async fn check(client: &Client, migrations: &migrate::Options) -> Result<(), Problem> {
    if let Some(version) = schema_version(client, migrations).await?
        && !schema::serves(version)
    {
        return Err(Problem::OutsideRange(version));
    }
    for (table, columns) in tables() {
        let tried = insert_nothing(client, table, columns).await;
        tried.map_err(|source| Problem::Clickhouse { act: "insert into the product tables", source })?;
    }
    Ok(())
}

/// The tables that are written, each with its columns.
pub(crate) fn tables() -> impl Iterator<Item = (&'static str, &'static str)> {
    let product = Table::ALL.into_iter().map(|table| (table.name(), columns(table)));
    product.chain([(dead_letter::TABLE, dead_letter::COLUMNS)])
}

/// Inserts a blank line, which is no row: proves login, rights, table and columns, and needs no right to read.
pub(crate) async fn insert_nothing(
    client: &Client,
    table: &str,
    columns: &str,
) -> Result<(), clickhouse::Error> {
    let statement = format!("INSERT INTO {table} ({columns}) FORMAT JSONEachRow");
    client.insert(&statement, &[], Bytes::from_static(b"\n"), CHECK_TIMEOUT).await
}

/// The version of the schema; `None` when this login cannot see it, or when nothing has been migrated.
pub(crate) async fn schema_version(
    client: &Client,
    migrations: &migrate::Options,
) -> Result<Option<u32>, Problem> {
    match migrate::observe(client, migrations).await {
        Ok(state) => Ok(Some(state.version).filter(|version| *version > 0)),
        Err(migrate::Error::History(Mismatch::Newer { ledger, .. })) => Ok(Some(ledger)),
        Err(migrate::Error::Observe(error)) if error.code() != Some(FORBIDDEN) => {
            Err(Problem::Clickhouse { act: "read the version of the schema", source: error })
        }
        // No right to read, or a history that only a migration needs to understand.
        Err(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn out() -> Result<(), Problem> {
        let source = clickhouse::Error::Timeout(CHECK_TIMEOUT);
        Err(Problem::Clickhouse { act: "insert into the product tables", source })
    }

    #[test]
    fn only_a_first_success_the_schema_and_the_drain_decide() {
        let readiness = Readiness::default();
        readiness.record(&out());
        assert!(readiness.missing().is_some(), "nothing has succeeded yet");
        readiness.record(&Ok(()));
        assert_eq!(readiness.missing(), None);
        readiness.record(&out());
        assert_eq!(readiness.missing(), None, "an outage must not empty the Service");
        readiness.record(&Err(Problem::OutsideRange(schema::MAXIMUM + 1)));
        assert!(readiness.missing().is_some());
        readiness.record(&out());
        assert!(readiness.missing().is_some(), "an outage says nothing about the schema");
        readiness.record(&Ok(()));
        assert_eq!(readiness.missing(), None);
        readiness.drain();
        assert_eq!(readiness.missing(), Some("draining"));
    }
}
