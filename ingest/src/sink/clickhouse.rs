//! Inserts the rows of a flush into ClickHouse: one block per table, split for poison, which goes to the dead letters.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::future::FutureExt as _;
use tokio::time::Instant;

use super::Sink;
use super::insert::Block;
use super::insert::Deadline;
use super::insert::Inserter;
use super::insert::Stopped;
use crate::ack::Unavailable;
use crate::batch::Flush;
use crate::clickhouse::Client;
use crate::clickhouse::Error;
use crate::dead_letter;
use crate::dead_letter::DeadLetter;
use crate::dead_letter::Reason;
use crate::encode;
use crate::encode::head;
use crate::metrics::Metrics;
use crate::pieces::Pieces;
use crate::table::Table;
use crate::telemetry::Causes;
use crate::telemetry::Pacer;

/// Refused events of one flush beyond which the fault is the table's: then nothing is dropped.
const MAX_REFUSED: usize = 1000;

/// Inserts into the tables of one database.
#[derive(Debug)]
pub struct ClickhouseSink {
    inserter: Inserter,
    timeout: Duration,
    is_patient: bool,
    metrics: Arc<Metrics>,
}

/// One flush on its way.
struct Delivery<'a> {
    flush: &'a Flush,
    /// Until when failed attempts are repeated.
    deadline: Deadline,
    /// Until when refused rows are halved.
    isolates_until: Instant,
    letters: Vec<DeadLetter>,
}

/// Every refused event is kept with its reason; the log only points there.
static REFUSALS: Pacer = Pacer::new();

impl Sink for ClickhouseSink {
    fn insert(&self, flush: Flush) -> BoxFuture<'_, Result<Vec<usize>, Unavailable>> {
        self.deliver(flush).boxed()
    }
}

impl ClickhouseSink {
    /// `timeout` bounds one attempt; new attempts start for half of it, so that clients hear 503 before they give up.
    pub fn new(client: Client, timeout: Duration, metrics: Arc<Metrics>) -> Self {
        let inserter = Inserter::new(client, timeout, Arc::clone(&metrics));
        Self { inserter, timeout, is_patient: false, metrics }
    }

    /// The same for rows that no client waits for: it never gives up, so that a block keeps its bytes and its token.
    #[must_use]
    pub fn patient(self) -> Self {
        Self { is_patient: true, ..self }
    }

    fn deadline(&self) -> Deadline {
        if self.is_patient { Deadline::Never } else { Deadline::At(Instant::now() + self.timeout / 2) }
    }

    async fn deliver(&self, flush: Flush) -> Result<Vec<usize>, Unavailable> {
        let isolates_until = Instant::now() + self.timeout * 2;
        let mut delivery =
            Delivery { flush: &flush, deadline: self.deadline(), isolates_until, letters: Vec::new() };
        let mut refused = Vec::new();
        for table in Table::ALL {
            // What a refused event says about persons is refused with it.
            let spans = spans_between(&refused, flush.len());
            let refused_here = self.insert_table(&mut delivery, table, spans).await?;
            if table == Table::Events {
                refused = refused_here;
            }
        }
        self.keep(&delivery).await?;
        Ok(refused)
    }

    /// Inserts a table's rows; when ClickHouse refuses them for their content, halves them until the refused events
    /// stand alone.
    async fn insert_table(
        &self,
        delivery: &mut Delivery<'_>,
        table: Table,
        mut pending: Vec<Range<usize>>,
    ) -> Result<Vec<usize>, Unavailable> {
        let mut refused = Vec::new();
        while let Some(events) = pending.pop() {
            let rows = delivery.flush.rows(table, events.clone());
            let columns = columns(delivery.flush, table);
            let error = match self.insert_rows(table, columns, rows, delivery.deadline).await {
                Ok(()) => continue,
                Err(Stopped::Unavailable) => return Err(Unavailable),
                Err(Stopped::Refused(error)) => error,
            };
            if events.len() == 1 {
                self.refuse(delivery, table, events.start, &error)?;
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

    async fn insert_rows(
        &self,
        table: Table,
        columns: &str,
        rows: Pieces,
        deadline: Deadline,
    ) -> Result<(), Stopped> {
        self.inserter.insert(&Block { table: table.name(), columns, rows, deadline }).await
    }

    /// Notes that a table refuses an event.
    fn refuse(
        &self,
        delivery: &mut Delivery<'_>,
        table: Table,
        event: usize,
        error: &Error,
    ) -> Result<(), Unavailable> {
        if delivery.letters.len() == MAX_REFUSED || Instant::now() > delivery.isolates_until {
            tracing::error!(
                error = %Causes(error),
                db.collection.name = table.name(),
                "so many events are refused that the table must be at fault; clients are asked to send again"
            );
            return Err(Unavailable);
        }
        self.metrics.refused_rows.get_or_create(&table.into()).inc();
        if let Some(unsaid) = REFUSALS.may_say() {
            tracing::error!(
                error = %Causes(error),
                db.collection.name = table.name(),
                weir.log.unsaid = unsaid,
                "ClickHouse refuses an event for its content; it goes to the dead letters"
            );
        }
        let events = event..event + 1;
        let row = delivery.flush.rows(Table::Events, events.clone()).to_vec();
        let Some(head) = head(columns(delivery.flush, Table::Events), &row) else {
            // Unreadable to ourselves: nothing would be known about the letter.
            return Err(Unavailable);
        };
        delivery.letters.push(DeadLetter {
            table: table.name(),
            columns: columns(delivery.flush, table).to_owned(),
            head,
            reason: Reason::of(error),
            rows: delivery.flush.rows(table, events).to_vec(),
        });
        Ok(())
    }

    /// Stores the refused events, before anybody is told that they were dropped.
    async fn keep(&self, delivery: &Delivery<'_>) -> Result<(), Unavailable> {
        let block = Block {
            table: dead_letter::TABLE,
            columns: dead_letter::COLUMNS,
            rows: dead_letter::encode(&delivery.letters).into(),
            deadline: delivery.deadline,
        };
        match self.inserter.insert(&block).await {
            Ok(()) => Ok(()),
            Err(Stopped::Unavailable) => Err(Unavailable),
            Err(Stopped::Refused(error)) => {
                tracing::error!(error = %Causes(&error), "the dead letters are refused as well");
                Err(Unavailable)
            }
        }
    }
}

/// The columns that the rows of a flush were encoded for.
fn columns(flush: &Flush, table: Table) -> &str {
    flush.maybe_columns.as_ref().map_or(encode::columns(table), |columns| &columns[table as usize])
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
}
