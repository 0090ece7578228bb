//! Inserts the rows of a flush into ClickHouse: one block per table, retried with the same bytes, split for poison.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::future::FutureExt as _;
use sha2::Digest as _;
use sha2::Sha256;
use tokio::time::Instant;

use super::Sink;
use crate::ack::Unavailable;
use crate::batch::Rows;
use crate::batch::Table;
use crate::clickhouse::Class;
use crate::clickhouse::Client;
use crate::clickhouse::Error;
use crate::encode::columns;
use crate::metrics::Metrics;
use crate::retry;
use crate::retry::Decision;
use crate::retry::Failure;
use crate::telemetry::Causes;

/// Inserts into the tables of one database.
#[derive(Debug)]
pub struct ClickhouseSink {
    client: Client,
    timeout: Duration,
    metrics: Arc<Metrics>,
}

/// One table's rows of a flush.
struct Block<'a> {
    table: Table,
    bytes: Bytes,
    rows: &'a Rows,
    deadline: Instant,
}

/// Why an insert was given up.
enum Stopped {
    /// For now.
    Unavailable,
    /// For ever, because of at least one of the rows.
    Refused(Error),
}

impl Sink for ClickhouseSink {
    fn insert(&self, rows: Rows) -> BoxFuture<'_, Result<Vec<usize>, Unavailable>> {
        self.insert_tables(rows).boxed()
    }
}

impl ClickhouseSink {
    /// `timeout` bounds one attempt; new attempts start for half of it, so that clients hear 503 before they give up.
    pub fn new(client: Client, timeout: Duration, metrics: Arc<Metrics>) -> Self {
        Self { client, timeout, metrics }
    }

    async fn insert_tables(&self, mut rows: Rows) -> Result<Vec<usize>, Unavailable> {
        let deadline = Instant::now() + self.timeout / 2;
        let mut refused = Vec::new();
        for table in Table::ALL {
            let bytes = Bytes::from(rows.take(table));
            if bytes.is_empty() {
                continue;
            }
            let block = Block { table, bytes, rows: &rows, deadline };
            // What a refused event says about persons is refused with it.
            let refused_here = self.insert_block(&block, spans_between(&refused, rows.len())).await?;
            if table == Table::Events {
                refused = refused_here;
            }
        }
        Ok(refused)
    }

    /// Inserts a block; when ClickHouse refuses it for its rows, halves it until the refused events stand alone.
    async fn insert_block(
        &self,
        block: &Block<'_>,
        mut pending: Vec<Range<usize>>,
    ) -> Result<Vec<usize>, Unavailable> {
        let mut refused = Vec::new();
        while let Some(events) = pending.pop() {
            let error = match self.insert_span(block, events.clone()).await {
                Ok(()) => continue,
                Err(Stopped::Unavailable) => return Err(Unavailable),
                Err(Stopped::Refused(error)) => error,
            };
            if events.len() == 1 {
                self.metrics.refused_rows.get_or_create(&block.table.into()).inc();
                tracing::error!(
                    error = %Causes(&error),
                    db.collection.name = block.table.name(),
                    "dropped a row that ClickHouse refuses"
                );
                refused.push(events.start);
                continue;
            }
            let middle = events.start + events.len() / 2;
            // The first half is on top, so refused events come out in order.
            pending.push(middle..events.end);
            pending.push(events.start..middle);
        }
        Ok(refused)
    }

    async fn insert_span(&self, block: &Block<'_>, events: Range<usize>) -> Result<(), Stopped> {
        let bytes = block.bytes.slice(block.rows.span(block.table, events));
        if bytes.is_empty() {
            return Ok(());
        }
        let statement =
            format!("INSERT INTO {} ({}) FORMAT RowBinary", block.table.name(), columns(block.table));
        let token = token(block.table, &bytes);
        let settings = [
            ("insert_deduplication_token", token.as_str()),
            ("insert_deduplicate", "1"),
            // Events of many months in one block are slow, not wrong.
            ("max_partitions_per_insert_block", "0"),
            // Acknowledged means written, whatever the profile of the user says.
            ("async_insert", "0"),
        ];
        let mut attempts = 0;
        loop {
            let outcome = self.client.insert(&statement, &settings, bytes.clone(), self.timeout).await;
            let Err(error) = outcome else {
                self.metrics.clickhouse_up.set(1);
                return Ok(());
            };
            attempts += 1;
            self.after(error, attempts, block).await?;
        }
    }

    /// Waits before the next attempt, or says why there is none.
    async fn after(&self, error: Error, attempts: u32, block: &Block<'_>) -> Result<(), Stopped> {
        let class = error.class();
        let failure = Failure {
            class,
            is_data_fault: error.is_data_fault(),
            attempts,
            remaining: block.deadline.saturating_duration_since(Instant::now()),
        };
        self.metrics.insert_failures.get_or_create(&class.into()).inc();
        match retry::decide(failure, rand::random()) {
            Decision::Split => Err(Stopped::Refused(error)),
            Decision::RetryAfter(pause) => {
                tokio::time::sleep(pause).await;
                Ok(())
            }
            Decision::GiveUp => {
                self.metrics.clickhouse_up.set(0);
                tracing::error!(
                    error = %Causes(&error),
                    db.collection.name = block.table.name(),
                    weir.insert.attempts = attempts,
                    "failed to insert; clients are asked to send again"
                );
                Err(Stopped::Unavailable)
            }
        }
    }
}

/// The events that are not refused, as spans with the first one last.
fn spans_between(refused: &[usize], events: usize) -> Vec<Range<usize>> {
    let starts = refused.iter().map(|event| event + 1);
    let ends = refused.iter().copied().chain([events]);
    let spans = std::iter::once(0).chain(starts).zip(ends).map(|(start, end)| start..end);
    let mut spans: Vec<_> = spans.filter(|span| !span.is_empty()).collect();
    spans.reverse();
    spans
}

/// Names a block by its content, so that the same rows are stored once however often they are sent.
fn token(table: Table, bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    format!("{}-{}", hex::encode(&digest[..16]), table.name())
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

impl From<Table> for crate::metrics::TableLabel {
    fn from(table: Table) -> Self {
        Self { table: table.name() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_leave_the_refused_events_out() {
        assert_eq!(spans_between(&[], 3), vec![0..3]);
        assert_eq!(spans_between(&[0, 3, 4], 7), vec![5..7, 1..3]);
        assert!(spans_between(&[0], 1).is_empty());
    }

    #[test]
    fn the_token_follows_content_and_table() {
        assert_eq!(token(Table::Events, b"x"), token(Table::Events, b"x"));
        assert_ne!(token(Table::Events, b"x"), token(Table::Events, b"y"));
        assert_ne!(token(Table::Events, b"x"), token(Table::Links, b"x"));
    }
}
