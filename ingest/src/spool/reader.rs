//! Records from disk to ClickHouse, in order: the same way for what has just come and for what an earlier run left.
//!
//! After a restart the blocks are cut differently than before, so a deduplication token of the earlier run is of no use:
//! a record whose insert was not marked as confirmed in time is inserted again, and is still one event for readers,
//! since every table keeps one row of equal ones.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use tokio::sync::watch;

use super::folder::Place;
use super::log::Extent;
use super::log::Log;
use super::segment;
use super::segment::Found;
use super::segment::Segment;
use crate::ack::Unavailable;
use crate::batch::Rows;
use crate::budget::Budget;
use crate::budget::Denied;
use crate::budget::Reservation;
use crate::buffer::Buffer;
use crate::telemetry::Causes;

/// Bytes and records that are read in one go.
const GO_BYTES: u64 = 1024 * 1024;
const GO_RECORDS: usize = 256;

/// Pause after something failed that should not have.
const PAUSE: Duration = Duration::from_secs(1);
/// Pause while requests hold all memory.
const MEMORY_PAUSE: Duration = Duration::from_millis(10);

/// The task that reads.
#[derive(Debug)]
pub(crate) struct Reader {
    log: Arc<Log>,
    buffer: Buffer,
    budget: Arc<Budget>,
    /// Bytes that may be on their way to ClickHouse; the rest of the budget is for requests.
    max_held: usize,
    held: usize,
    maybe_segment: Option<(u64, Arc<Segment>)>,
    at: Place,
    confirmations: FuturesOrdered<BoxFuture<'static, Confirmation>>,
}

/// What became of one record.
#[derive(Debug)]
struct Confirmation {
    next: Place,
    bytes: usize,
    outcome: Result<(), Unavailable>,
}

/// What one go through a segment gave.
struct Go {
    records: Vec<(Rows, u64)>,
    at: u64,
}

impl Reader {
    pub(super) fn new(log: Arc<Log>, buffer: Buffer, budget: Arc<Budget>, max_held: usize) -> Self {
        let at = log.confirmed();
        Self {
            log,
            buffer,
            budget,
            max_held,
            held: 0,
            maybe_segment: None,
            at,
            confirmations: FuturesOrdered::new(),
        }
    }

    /// Reads until `closing` says that nothing more is written, and everything is confirmed. May be dropped at any
    /// time: what is not confirmed stays on disk.
    pub(crate) async fn run(mut self, mut closing: watch::Receiver<bool>) {
        let mut changes = self.log.changes();
        loop {
            let is_closing = *closing.borrow_and_update();
            changes.mark_unchanged();
            let has_read = match self.read_on().await {
                Ok(has_read) => has_read,
                Err(error) => {
                    tracing::error!(error = %Causes(&error), "failed to read the spool; trying again");
                    tokio::time::sleep(PAUSE).await;
                    false
                }
            };
            self.confirm_ready().await;
            if has_read {
                continue;
            }
            if self.confirmations.is_empty() {
                self.log.confirm(self.at);
                if is_closing && self.is_at_end() {
                    self.log.finish();
                    return;
                }
            }
            tokio::select! {
                Some(confirmation) = self.confirmations.next() => self.confirm(confirmation).await,
                more = changes.changed() => if more.is_err() { return },
                more = closing.changed(), if !is_closing => if more.is_err() { return },
            }
        }
    }

    /// Reads and submits a little; whether there was something to read.
    async fn read_on(&mut self) -> Result<bool, segment::Error> {
        if self.held >= self.max_held {
            return Ok(false);
        }
        let Some((segment, extent)) = self.find_segment()? else { return Ok(false) };
        if self.at.at >= extent.end {
            return self.turn_to(extent);
        }
        let (log, from) = (Arc::clone(&self.log), self.at);
        let reading = tokio::task::spawn_blocking(move || go(&log, &segment, from, extent));
        let Ok(gone) = reading.await else { return Ok(false) };
        let Go { records, at } = gone?;
        for (rows, next) in records {
            self.submit(rows, Place { at: next, ..from }).await;
        }
        self.at.at = at;
        Ok(true)
    }

    /// The segment that is read, and how far it can be.
    fn find_segment(&mut self) -> Result<Option<(Arc<Segment>, Extent)>, segment::Error> {
        let is_open = self.maybe_segment.as_ref().is_some_and(|(number, _)| *number == self.at.segment);
        if !is_open {
            let Some(first) = self.log.first_from(self.at.segment) else { return Ok(None) };
            // An empty file is removed when the spool is opened, and never made while it is open.
            let Some(segment) = Segment::open(&self.log.folder.path_of(first))? else { return Ok(None) };
            let is_other = first != self.at.segment;
            self.at.segment = first;
            self.at.at = if is_other { segment.start } else { self.at.at.max(segment.start) };
            self.maybe_segment = Some((first, Arc::new(segment)));
        }
        let Some((number, segment)) = &self.maybe_segment else { return Ok(None) };
        Ok(self.log.extent(*number).map(|extent| (Arc::clone(segment), extent)))
    }

    /// Goes on with the next segment, when this one is read to its end and there is one.
    ///
    /// Rows for other columns wait until the earlier ones are confirmed: one block has one list of columns.
    fn turn_to(&mut self, extent: Extent) -> Result<bool, segment::Error> {
        let Some(next) = extent.maybe_next else { return Ok(false) };
        let Some(segment) = Segment::open(&self.log.folder.path_of(next))? else { return Ok(false) };
        let is_alike = self.maybe_segment.as_ref().is_some_and(|(_, now)| now.layout == segment.layout);
        if !is_alike && !self.confirmations.is_empty() {
            return Ok(false);
        }
        self.at = Place { segment: next, at: segment.start };
        self.maybe_segment = Some((next, Arc::new(segment)));
        Ok(true)
    }

    async fn submit(&mut self, rows: Rows, next: Place) {
        let bytes = rows.size();
        let reservation = reserve(&self.budget, bytes).await;
        self.held += bytes;
        let submitted = self.buffer.submit(rows, reservation).await;
        let confirmation = async move {
            let outcome = match submitted {
                Ok(receipt) => receipt.wait().await,
                Err(unavailable) => Err(unavailable),
            };
            Confirmation { next, bytes, outcome: outcome.map(drop) }
        };
        self.confirmations.push_back(confirmation.boxed());
    }

    /// Takes note of everything that is confirmed already.
    async fn confirm_ready(&mut self) {
        while let Some(Some(confirmation)) = self.confirmations.next().now_or_never() {
            self.confirm(confirmation).await;
        }
    }

    /// Takes note of one record; after a failure reading begins again behind the last confirmed one.
    async fn confirm(&mut self, confirmation: Confirmation) {
        let Confirmation { next, bytes, outcome } = confirmation;
        self.held -= bytes;
        if outcome.is_ok() {
            self.log.confirm(next);
            return;
        }
        tokio::time::sleep(PAUSE).await;
        // The others may be stored as well; sending them again changes nothing.
        self.confirmations = FuturesOrdered::new();
        self.held = 0;
        self.at = self.log.confirmed();
    }

    /// Whether nothing is left to read.
    fn is_at_end(&self) -> bool {
        match self.log.extent(self.at.segment) {
            Some(extent) => self.at.at >= extent.end && extent.maybe_next.is_none(),
            None => self.log.first_from(self.at.segment).is_none(),
        }
    }
}

/// Counts memory as soon as there is some. A record that is larger than the whole budget, which was lowered, goes alone.
async fn reserve(budget: &Arc<Budget>, bytes: usize) -> Reservation {
    let mut reservation = budget.open();
    while let Err(Denied::Full) = reservation.grow(bytes) {
        tokio::time::sleep(MEMORY_PAUSE).await;
    }
    reservation
}

/// Reads some records of a segment; keeps what is damaged aside and says where it went on.
fn go(log: &Log, segment: &Segment, from: Place, extent: Extent) -> Result<Go, segment::Error> {
    let mut go = Go { records: Vec::new(), at: from.at };
    while go.records.len() < GO_RECORDS && go.at - from.at < GO_BYTES {
        match segment.read(go.at, extent.end)? {
            Found::End => break,
            Found::Record(rows, next) => {
                go.records.push((rows, next));
                go.at = next;
            }
            Found::Torn => {
                tracing::warn!(
                    weir.spool.segment = from.segment,
                    weir.spool.offset = go.at,
                    weir.spool.bytes = extent.end - go.at,
                    "cut off an unfinished record at the end of a segment; nobody was told that it was stored"
                );
                go.at = extent.end;
            }
            Found::Damage(next) => {
                let place = Place { at: go.at, ..from };
                segment.copy(place.at, next, log.folder.aside(place)?)?;
                log.count_damage(next - place.at);
                tracing::error!(
                    weir.spool.segment = place.segment,
                    weir.spool.offset = place.at,
                    weir.spool.bytes = next - place.at,
                    "a part of the spool is damaged; it is kept aside, and reading goes on behind it"
                );
                go.at = next;
            }
        }
    }
    Ok(go)
}
