//! One runner at a time: claims in an insert-only table, judged by the clock of ClickHouse.
//!
//! ClickHouse cannot check a fencing token, so the claim is read again before each statement, and statements and ledger
//! rows are such that the one statement which can still overlap does no harm. A claim lives as long as it is repeated;
//! a run that could not repeat its own in time gives up by its own clock, before others may take over.

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;
use uuid::Uuid;

use super::Error;
use super::render::quote_identifier;
use crate::clickhouse;
use crate::clickhouse::Client;

/// How the lock keeps time.
#[derive(Debug, Clone, Copy)]
pub struct LockTimes {
    /// How long a claim lives after it was last repeated.
    pub expiry: Duration,
    /// How long to wait for another run, before giving up for now.
    pub patience: Duration,
}

impl Default for LockTimes {
    fn default() -> Self {
        Self { expiry: Duration::from_secs(20), patience: Duration::from_mins(5) }
    }
}

/// Time in which an older claim, made at the same moment elsewhere, becomes visible.
const SETTLE: Duration = Duration::from_millis(150);

/// The claim of this run.
#[derive(Debug)]
pub(super) struct Lock {
    client: Client,
    table: String,
    run_id: Uuid,
    times: LockTimes,
    last_beat: Instant,
}

#[derive(Serialize)]
struct Claim {
    run_id: Uuid,
    host: String,
    is_released: u8,
}

impl Lock {
    /// Claims the lock and waits until no older claim lives.
    pub(super) async fn acquire(
        client: &Client,
        database: &str,
        run_id: Uuid,
        times: LockTimes,
    ) -> Result<Self, Error> {
        let table = format!("{}.schema_migration_claims", quote_identifier(database));
        let client = client.without_database();
        let mut lock = Self { client, table, run_id, times, last_beat: Instant::now() };
        lock.claim().await?;
        let waits_until = Instant::now() + times.patience;
        loop {
            tokio::time::sleep(SETTLE).await;
            lock.beat_when_due().await?;
            match lock.holder().await? {
                Some(holder) if holder == run_id => return Ok(lock),
                Some(holder) if Instant::now() >= waits_until => {
                    lock.release().await;
                    return Err(Error::Busy { holder });
                }
                Some(_) => {}
                None => return Err(Error::LockLost),
            }
        }
    }

    /// Whether this run may still act; asked before each statement.
    pub(super) async fn confirm(&mut self) -> Result<(), Error> {
        self.beat_when_due().await?;
        if self.holder().await? == Some(self.run_id) { Ok(()) } else { Err(Error::LockLost) }
    }

    /// Awaits some work and repeats the claim meanwhile.
    pub(super) async fn keep_during<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Error> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                () = tokio::time::sleep(self.times.expiry / 8) => self.beat_when_due().await?,
            }
        }
    }

    /// Gives the lock up. A failure only means that others wait for the expiry.
    pub(super) async fn release(&self) {
        if let Err(error) = self.insert(1).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "could not release the migration lock");
        }
    }

    async fn beat_when_due(&mut self) -> Result<(), Error> {
        let silent = self.last_beat.elapsed();
        if silent >= self.times.expiry * 3 / 4 {
            return Err(Error::LockLost);
        }
        if silent >= self.times.expiry / 4 { self.claim().await } else { Ok(()) }
    }

    async fn claim(&mut self) -> Result<(), Error> {
        // The claim is not younger than the moment before it was sent.
        let sent = Instant::now();
        self.insert(0).await.map_err(Error::Lock)?;
        self.last_beat = sent;
        Ok(())
    }

    async fn insert(&self, is_released: u8) -> Result<(), clickhouse::Error> {
        let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default().trim().to_owned();
        let claim = Claim { run_id: self.run_id, host, is_released };
        let body = serde_json::to_vec(&claim).expect("numbers and texts are JSON");
        let statement = format!("INSERT INTO {} (run_id, host, is_released) FORMAT JSONEachRow", self.table);
        self.client.insert(&statement, &[("async_insert", "0")], body, self.times.expiry / 2).await
    }

    /// The live claim that was made first.
    async fn holder(&self) -> Result<Option<Uuid>, Error> {
        let sql = format!(
            "SELECT run_id FROM {} GROUP BY run_id HAVING max(is_released) = 0 \
             AND max(at) > now64(6) - toIntervalMillisecond({}) ORDER BY min(at), run_id LIMIT 1 FORMAT TSV",
            self.table,
            self.times.expiry.as_millis()
        );
        let text = self.client.query_text(&sql).await.map_err(Error::Lock)?;
        Ok(text.trim().parse().ok())
    }
}
