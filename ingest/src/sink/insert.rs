//! One block until it is confirmed, refused or given up: every attempt sends the same bytes.
//!
//! An attempt of unknown outcome is repeated with the same token, so that ClickHouse stores the block once. A MergeTree
//! table notes a token before it puts the part in its place, though, and keeps it when that fails: it would confirm a
//! repetition without storing it. So a refused block is sent again with another token, and so is one that was confirmed
//! by a ClickHouse that may have died in the attempt of unknown outcome. Then a block may be stored twice, which is one
//! row for readers; never not at all.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::token::Token;
use crate::clickhouse::Class;
use crate::clickhouse::Client;
use crate::clickhouse::Error;
use crate::clickhouse::Insert;
use crate::clickhouse::Route;
use crate::metrics::Metrics;
use crate::pieces::Pieces;
use crate::retry;
use crate::retry::Decision;
use crate::retry::Failure;
use crate::telemetry::Causes;
use crate::telemetry::Pacer;

/// Inserts blocks into the tables of one database.
#[derive(Debug)]
pub(crate) struct Inserter {
    client: Client,
    timeout: Duration,
    metrics: Arc<Metrics>,
}

/// Rows of one table.
#[derive(Debug)]
pub(crate) struct Block<'a> {
    pub(crate) table: &'a str,
    pub(crate) columns: &'a str,
    pub(crate) rows: Pieces,
    pub(crate) deadline: Deadline,
}

/// Until when failed attempts are repeated.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Deadline {
    /// Until then.
    At(Instant),
    /// For ever: nobody waits for an answer, and the rows are safe elsewhere.
    Never,
}

/// An outage fails every flush: it is told when it begins and when it ends, for each class of failure.
static OUTAGES: [Pacer; 4] = [const { Pacer::new() }; 4];

/// Why an insert was given up.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// For now.
    Unavailable,
    /// For ever, because of at least one of the rows.
    Refused(Error),
}

impl Inserter {
    /// `timeout` bounds one attempt.
    pub(crate) fn new(client: Client, timeout: Duration, metrics: Arc<Metrics>) -> Self {
        Self { client, timeout, metrics }
    }

    /// Inserts one block.
    pub(crate) async fn insert(&self, block: &Block<'_>) -> Result<(), Stopped> {
        if block.rows.is_empty() {
            return Ok(());
        }
        let statement = format!("INSERT INTO {} ({}) FORMAT RowBinary", block.table, block.columns);
        let mut token = Token::of(block.table, &block.rows);
        let (mut route, mut attempts) = (Route::default(), 0);
        loop {
            let began = Instant::now();
            if let Err(error) = self.attempt(block, &statement, &token, &mut route).await {
                attempts += 1;
                token.failed(&error, began);
                self.after(error, attempts, block).await?;
                continue;
            }
            match token.unknown_since() {
                Some(moment) if !self.client.has_run_since(moment, &mut route).await => token.renew(),
                Some(_) | None => break,
            }
        }
        self.metrics.clickhouse_up.set(1);
        if OUTAGES.iter().filter(|outage| outage.end()).count() > 0 {
            tracing::info!("ClickHouse takes inserts again");
        }
        Ok(())
    }

    async fn attempt(
        &self,
        block: &Block<'_>,
        statement: &str,
        token: &Token<'_>,
        route: &mut Route,
    ) -> Result<(), Error> {
        let token = token.to_string();
        let settings = [
            ("insert_deduplication_token", token.as_str()),
            ("insert_deduplicate", "1"),
            // Events of many months in one block are slow, not wrong.
            ("max_partitions_per_insert_block", "0"),
            // Acknowledged means written, whatever the profile of the user says.
            ("async_insert", "0"),
            // Merging equal rows within a block costs a fifth of the insert and is done by merges and readers anyway.
            ("optimize_on_insert", "0"),
        ];
        let insert =
            Insert { statement, settings: &settings, body: block.rows.clone(), timeout: self.timeout };
        self.client.insert_along(&insert, route).await
    }

    /// Waits before the next attempt, or says why there is none.
    async fn after(&self, error: Error, attempts: u32, block: &Block<'_>) -> Result<(), Stopped> {
        let class = error.class();
        let failure = Failure {
            class,
            is_data_fault: error.is_data_fault(),
            attempts,
            maybe_remaining: match block.deadline {
                Deadline::At(deadline) => Some(deadline.saturating_duration_since(Instant::now())),
                Deadline::Never => None,
            },
        };
        self.metrics.insert_failures.get_or_create(&class.into()).inc();
        match retry::decide(failure, rand::random()) {
            Decision::Split => Err(Stopped::Refused(error)),
            Decision::RetryAfter(pause) => {
                if matches!(block.deadline, Deadline::Never) {
                    self.metrics.clickhouse_up.set(0);
                    tracing::warn!(
                        error = %Causes(&error),
                        db.collection.name = block.table,
                        weir.insert.attempts = attempts,
                        "failed to insert; trying again"
                    );
                }
                tokio::time::sleep(pause).await;
                Ok(())
            }
            Decision::GiveUp => {
                self.metrics.clickhouse_up.set(0);
                if let Some(unsaid) = OUTAGES[class as usize].may_say() {
                    tracing::error!(
                        error = %Causes(&error),
                        db.collection.name = block.table,
                        weir.insert.attempts = attempts,
                        weir.log.unsaid = unsaid,
                        "failed to insert; clients are asked to send again"
                    );
                }
                Err(Stopped::Unavailable)
            }
        }
    }
}

/// Word for metrics.
impl From<Class> for crate::metrics::FailureLabel {
    fn from(class: Class) -> Self {
        let class = match class {
            Class::Transient => "transient",
            Class::Definite => "definite",
            Class::Auth => "auth",
            Class::Unknown => "unknown",
        };
        Self { class }
    }
}
