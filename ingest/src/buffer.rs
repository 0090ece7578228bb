//! Group commit over all connections: one task gathers the rows of many requests, flushes them together, and gives
//! each request its own answer.
//!
//! Memory is bounded by the budget that each request's reservation counts against until its answer; the number of
//! inserts in flight is bounded here.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::Instrument as _;
use tracing::Span;

use crate::ack;
use crate::ack::Ack;
use crate::ack::Receipt;
use crate::ack::Stored;
use crate::ack::Unavailable;
use crate::batch::Batch;
use crate::batch::Pace;
use crate::batch::Rows;
use crate::batch::Thresholds;
use crate::budget::Reservation;
use crate::metrics::Metrics;
use crate::sink::Sink;
use crate::telemetry::Causes;

/// Requests that may wait to be gathered; their rows are counted in the budget.
const QUEUE: usize = 1024;

/// Inserts that run at once. More would compete for ClickHouse's cores and merge pool.
const MAX_IN_FLIGHT: usize = 4;

/// The way into the buffer; clones share it. When all are gone, the task flushes and ends.
#[derive(Debug, Clone)]
pub struct Buffer {
    sender: mpsc::Sender<Entry>,
    full: Full,
}

/// Whether what is behind a buffer has no room, so that requests are refused before they are read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Full(Arc<AtomicBool>);

impl Full {
    pub(crate) fn set(&self, is_full: bool) {
        self.0.store(is_full, Ordering::Relaxed);
    }
}

/// The task side.
pub struct Gatherer {
    receiver: mpsc::Receiver<Entry>,
    sink: Arc<dyn Sink>,
    thresholds: Thresholds,
    metrics: Arc<Metrics>,
    open: Option<Open>,
    /// Each tells how long it took.
    in_flight: JoinSet<Duration>,
    pace: Pace,
}

impl std::fmt::Debug for Gatherer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gatherer").field("thresholds", &self.thresholds).finish_non_exhaustive()
    }
}

/// The rows of one request on their way to the batch.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) rows: Rows,
    pub(crate) ack: Ack,
    /// Held until the answer, so that the budget counts the rows.
    pub(crate) reservation: Reservation,
    /// The request; none unless the log wants to know.
    pub(crate) span: Span,
}

/// The open batch and those who wait for it.
struct Open {
    batch: Batch,
    waiters: Vec<Waiter>,
}

struct Waiter {
    share: Range<usize>,
    ack: Ack,
    span: Span,
    /// Held until the answer, so that the budget counts rows in flight.
    reservation: Reservation,
}

/// Makes the buffer and its task, which [`Gatherer::run`] runs.
pub fn buffer(sink: Arc<dyn Sink>, thresholds: Thresholds, metrics: Arc<Metrics>) -> (Buffer, Gatherer) {
    let (buffer, receiver) = channel(Full::default());
    let gatherer = Gatherer {
        receiver,
        sink,
        thresholds,
        metrics,
        open: None,
        in_flight: JoinSet::new(),
        pace: Pace::default(),
    };
    (buffer, gatherer)
}

/// Makes a buffer and the side that takes what comes in.
pub(crate) fn channel(full: Full) -> (Buffer, mpsc::Receiver<Entry>) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (Buffer { sender, full }, receiver)
}

impl Buffer {
    /// Stores rows and returns once they are confirmed.
    pub async fn store(&self, rows: Rows, reservation: Reservation) -> Result<Stored, Unavailable> {
        self.submit(rows, reservation).await?.wait().await
    }

    /// Hands rows over; the receipt tells when they are confirmed.
    pub async fn submit(&self, rows: Rows, reservation: Reservation) -> Result<Receipt, Unavailable> {
        let (ack, receipt) = ack::promise();
        let entry = Entry { rows, ack, reservation, span: Span::current() };
        self.sender.send(entry).await.map_err(|_| Unavailable)?;
        Ok(receipt)
    }

    /// Whether there is no room for more now.
    pub fn is_full(&self) -> bool {
        self.full.0.load(Ordering::Relaxed)
    }
}

impl Gatherer {
    /// Gathers and flushes until every [`Buffer`] is gone and everything is answered.
    pub async fn run(mut self) {
        let mut is_closing = false;
        loop {
            let due = self.due_at();
            let may_gather = !is_closing && !self.is_full();
            tokio::select! {
                biased;
                Some(flushed) = self.in_flight.join_next() => {
                    self.pace.maybe_ended = Some(Instant::now());
                    self.count_in_flight();
                    match flushed {
                        Ok(lasted) => self.pace.lasted = lasted,
                        Err(error) => tracing::error!(error = %Causes(&error), "a flush ended abnormally"),
                    }
                }
                entry = self.receiver.recv(), if may_gather => match entry {
                    Some(entry) => self.gather(entry),
                    None => is_closing = true,
                },
                () = sleep_until(due), if due.is_some() => {}
            }
            self.gather_ready();
            self.flush_if_due(is_closing);
            if is_closing && self.open.is_none() && self.in_flight.is_empty() {
                return;
            }
        }
    }

    /// Takes everything that waits already: those requests share the next insert.
    fn gather_ready(&mut self) {
        while !self.is_full() {
            let Ok(entry) = self.receiver.try_recv() else { return };
            self.gather(entry);
        }
    }

    fn gather(&mut self, entry: Entry) {
        let Entry { rows, ack, reservation, span } = entry;
        let now = Instant::now();
        let open = self.open.get_or_insert_with(|| Open { batch: Batch::open(now), waiters: Vec::new() });
        let share = open.batch.push(rows, now);
        open.waiters.push(Waiter { share, ack, span, reservation });
    }

    fn is_full(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.batch.is_full(&self.thresholds))
    }

    /// When to look again although nothing happens; never, while no further insert may start.
    fn due_at(&self) -> Option<Instant> {
        if self.in_flight.len() >= MAX_IN_FLIGHT {
            return None;
        }
        Some(self.open.as_ref()?.batch.due_at(&self.thresholds, &self.pace))
    }

    fn flush_if_due(&mut self, is_closing: bool) {
        let now = Instant::now();
        let is_due = self.due_at().is_some_and(|due| is_closing || self.is_full() || due <= now);
        if !is_due {
            return;
        }
        if let Some(open) = self.open.take() {
            self.pace.maybe_begun = Some(now);
            let flush = flush(Arc::clone(&self.sink), open, Arc::clone(&self.metrics));
            self.in_flight.spawn(flush);
            self.count_in_flight();
        }
    }

    fn count_in_flight(&mut self) {
        self.pace.in_flight = self.in_flight.len();
        self.metrics.inserts_in_flight.set(count(self.pace.in_flight));
    }
}

/// Numbers flushes for the log.
static FLUSHES: AtomicU64 = AtomicU64::new(1);

/// Inserts one batch, answers everybody who waits for it, and says how long that took.
async fn flush(sink: Arc<dyn Sink>, open: Open, metrics: Arc<Metrics>) -> Duration {
    let started = Instant::now();
    let rows = open.batch.into_flush();
    metrics.flush_events.observe(float(rows.len()));
    let flush = FLUSHES.fetch_add(1, Ordering::Relaxed);
    let span = tracing::debug_span!("flush", weir.flush.id = flush, weir.flush.events = rows.len());
    let outcome = sink.insert(rows).instrument(span).await;
    let lasted = started.elapsed();
    metrics.flush_seconds.get_or_create(&outcome.is_ok().into()).observe(lasted.as_secs_f64());
    for Waiter { share, ack, span, reservation } in open.waiters {
        drop(reservation);
        tracing::debug!(parent: &span, weir.flush.id = flush, weir.flush.is_stored = outcome.is_ok(), "flushed");
        let stored = match &outcome {
            Ok(refused) => Ok(Stored { refused: ack::refused_in(&share, refused) }),
            Err(unavailable) => Err(*unavailable),
        };
        ack.resolve(stored);
    }
    lasted
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn float(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests;
