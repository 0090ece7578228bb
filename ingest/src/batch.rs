//! Encoded rows, per table and per event, and the open batch that gathers them.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use crate::pieces::Pieces;
use crate::pieces::Rope;
use crate::table::Table;

/// Bytes that the row of an event is usually longer than its text, at most.
const BESIDE: usize = 192;
/// What the encoder asks for beyond the row that it writes.
const SLACK: usize = 1024;

/// Where the rows of an event end, in each table.
type Ends = [usize; Table::ALL.len()];

/// Columns of each table's rows, when they are not those that this program writes.
pub type Columns = Arc<[String; Table::ALL.len()]>;

/// Encoded rows of the events of one request.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Rows {
    bytes: [Vec<u8>; Table::ALL.len()],
    ends: Vec<Ends>,
    /// Set for rows that an earlier version of this program encoded.
    pub maybe_columns: Option<Columns>,
}

impl Rows {
    /// No rows yet, with room for those of so many events of the text of one request.
    pub fn with_room(events: usize, text: usize) -> Self {
        let mut rows = Self { ends: Vec::with_capacity(events), ..Self::default() };
        rows.table_mut(Table::Events).reserve(text + events * BESIDE + SLACK);
        rows
    }

    /// Bytes of one table, to be appended to. [`Rows::finish_event`] says that the rows of an event are complete.
    pub fn table_mut(&mut self, table: Table) -> &mut Vec<u8> {
        &mut self.bytes[table as usize]
    }

    /// Bytes of one table.
    pub fn table(&self, table: Table) -> &[u8] {
        &self.bytes[table as usize]
    }

    /// Where the rows of each event end, in each table.
    pub fn ends(&self) -> &[[usize; Table::ALL.len()]] {
        &self.ends
    }

    /// Rows as they were before, or nothing when the ends do not fit the bytes.
    pub fn from_parts(
        bytes: [Vec<u8>; Table::ALL.len()],
        ends: Vec<[usize; Table::ALL.len()]>,
    ) -> Option<Self> {
        let ascend = ends.windows(2).all(|pair| pair[0].iter().zip(&pair[1]).all(|(one, next)| one <= next));
        let last = ends.last().copied().unwrap_or_default();
        let is_consistent = ascend && last == bytes.each_ref().map(Vec::len);
        is_consistent.then_some(Self { bytes, ends, maybe_columns: None })
    }

    /// Marks the end of an event's rows in every table.
    pub fn finish_event(&mut self) {
        self.ends.push(self.bytes.each_ref().map(Vec::len));
    }

    /// Events held.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether no event is held.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Memory that is held.
    pub fn size(&self) -> usize {
        let bytes: usize = self.bytes.iter().map(Vec::capacity).sum();
        bytes + self.ends.capacity() * size_of::<Ends>()
    }

    /// Gives away spare memory, before the rows wait for others.
    pub fn shrink(&mut self) {
        self.bytes.iter_mut().for_each(Vec::shrink_to_fit);
        self.ends.shrink_to_fit();
    }
}

/// The rows of many requests, one block per table, ready to be inserted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flush {
    blocks: [Pieces; Table::ALL.len()],
    ends: Vec<Ends>,
    /// Set for rows that an earlier version of this program encoded.
    pub maybe_columns: Option<Columns>,
}

impl Flush {
    /// Events held.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether no event is held.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The rows of some events in one table.
    pub fn rows(&self, table: Table, events: Range<usize>) -> Pieces {
        let end_of = |events: usize| events.checked_sub(1).map_or(0, |last| self.ends[last][table as usize]);
        self.blocks[table as usize].slice(end_of(events.start)..end_of(events.end))
    }
}

/// When a batch is flushed.
#[derive(Debug, Clone, Copy)]
pub struct Thresholds {
    /// Rows of a full batch.
    pub max_rows: usize,
    /// Bytes of a full batch.
    pub max_bytes: usize,
    /// Least time between two flushes of batches that are not full.
    pub max_age: Duration,
}

/// While an insert is in flight a batch gathers for twice as long as the last one took, and at least and at most so many
/// ages, before it goes in parallel: long enough that a busy server gets large blocks, short enough that one hanging
/// insert does not hold up the others.
const PATIENCE: (u32, u32) = (10, 50);

/// Ages that a batch waits at most for clients that were just answered. It waits for half as long as the last insert
/// took, at least an age: who waits for a slow insert anyway hardly feels it, and each block is a part to be merged.
const MAX_WAIT: u32 = 5;

/// The part of that time without a request after which nobody more is expected. Clients that were just answered come
/// back at once, and a block that waits for all of them is what costs ClickHouse least.
const QUIET: u32 = 8;

/// What a batch needs to know of the flushes before it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pace {
    /// Inserts that run now.
    pub in_flight: usize,
    /// When the last one began.
    pub maybe_begun: Option<Instant>,
    /// When the last one ended.
    pub maybe_ended: Option<Instant>,
    /// How long that one took.
    pub lasted: Duration,
}

/// The batch that is being filled.
#[derive(Debug)]
pub struct Batch {
    ropes: [Rope; Table::ALL.len()],
    ends: Vec<Ends>,
    opened: Instant,
    /// When rows were added last.
    pushed: Instant,
    bytes: usize,
    maybe_columns: Option<Columns>,
}

impl Batch {
    /// Opens a batch.
    pub fn open(now: Instant) -> Self {
        Self {
            ropes: Default::default(),
            ends: Vec::new(),
            opened: now,
            pushed: now,
            bytes: 0,
            maybe_columns: None,
        }
    }

    /// Adds the rows of a request and says which events of the batch they are. All rows are for the same columns.
    pub fn push(&mut self, rows: Rows, now: Instant) -> Range<usize> {
        self.pushed = now;
        self.maybe_columns.clone_from(&rows.maybe_columns);
        self.bytes += rows.size();
        let start = self.ends.len();
        let offsets = self.ropes.each_ref().map(Rope::len);
        let shifted = rows.ends.iter().map(|ends| std::array::from_fn(|table| ends[table] + offsets[table]));
        self.ends.extend(shifted);
        for (rope, bytes) in self.ropes.iter_mut().zip(rows.bytes) {
            rope.push(bytes);
        }
        start..self.ends.len()
    }

    /// Whether nothing was pushed.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Whether a threshold of size is reached.
    pub fn is_full(&self, thresholds: &Thresholds) -> bool {
        self.ends.len() >= thresholds.max_rows || self.bytes >= thresholds.max_bytes
    }

    /// When the batch is flushed although it is not full.
    ///
    /// On an idle service at once. On a busy one when nobody more is expected or the wait has been long enough, and never
    /// less than an age after the last flush.
    pub fn due_at(&self, thresholds: &Thresholds, pace: &Pace) -> Instant {
        let age = thresholds.max_age;
        if pace.in_flight > 0 {
            return self.opened + (pace.lasted * 2).clamp(age * PATIENCE.0, age * PATIENCE.1);
        }
        let (Some(begun), Some(ended)) = (pace.maybe_begun, pace.maybe_ended) else { return self.opened };
        let wait = (pace.lasted / 2).clamp(age, age * MAX_WAIT);
        let quiet = wait / QUIET;
        if self.opened >= (begun + age).max(ended + quiet) {
            return self.opened;
        }
        let settled = (self.pushed.max(ended) + quiet).min(self.opened.max(ended) + wait);
        settled.max(begun + age)
    }

    /// Closes the batch.
    pub fn into_flush(self) -> Flush {
        Flush { blocks: self.ropes.map(Rope::finish), ends: self.ends, maybe_columns: self.maybe_columns }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const THRESHOLDS: Thresholds =
        Thresholds { max_rows: 2, max_bytes: 4096, max_age: Duration::from_millis(20) };

    fn rows(events: &[(&[u8], &[u8])]) -> Rows {
        let mut rows = Rows::default();
        for (event, link) in events {
            rows.table_mut(Table::Events).extend_from_slice(event);
            rows.table_mut(Table::Links).extend_from_slice(link);
            rows.finish_event();
        }
        rows
    }

    #[test]
    fn a_flush_holds_the_rows_of_all_events_in_order() {
        let now = Instant::now();
        let mut batch = Batch::open(now);
        batch.push(rows(&[(b"one", b""), (b"two", b"x")]), now);
        assert_eq!(batch.push(rows(&[(b"three", b"yz")]), now), 2..3);
        let flush = batch.into_flush();
        let text = |table, events| String::from_utf8(flush.rows(table, events).to_vec()).unwrap();
        assert_eq!(text(Table::Events, 0..3), "onetwothree");
        assert_eq!(text(Table::Events, 1..3), "twothree");
        assert_eq!(text(Table::Links, 2..3), "yz");
        assert_eq!(text(Table::Links, 0..1), "");
    }

    #[test]
    fn a_batch_is_full_by_rows_or_bytes() {
        let now = Instant::now();
        let mut batch = Batch::open(now);
        assert_eq!(batch.push(rows(&[(b"a", b"")]), now), 0..1);
        assert!(!batch.is_full(&THRESHOLDS));
        assert_eq!(batch.push(rows(&[(b"b", b"")]), now), 1..2);
        assert!(batch.is_full(&THRESHOLDS));
        let mut large = Batch::open(now);
        large.push(rows(&[(&[0; 5000], b"")]), now);
        assert!(large.is_full(&THRESHOLDS));
    }

    /// A batch that was opened and pushed to at some milliseconds; flushes begun and ended at others.
    #[rstest]
    #[case::the_first_one_goes_at_once(100, 100, Pace::default(), 100)]
    #[case::on_an_idle_service_as_well(100, 100, pace(0, 60, 80), 100)]
    #[case::flushes_keep_a_distance(100, 100, pace(0, 95, 97), 115)]
    #[case::clients_that_were_just_answered_are_waited_for(90, 95, pace(0, 50, 110), 112)]
    #[case::as_long_as_they_come(90, 119, pace(0, 50, 110), 121)]
    #[case::and_no_longer_than_an_age(90, 129, pace(0, 50, 110), 130)]
    #[case::longer_when_inserts_are_slow(90, 95, slow(0, 50, 110, 80), 115)]
    #[case::but_not_much_longer(90, 209, slow(0, 50, 110, 900), 210)]
    #[case::an_insert_in_flight_is_waited_for(100, 150, pace(1, 90, 80), 300)]
    #[case::longer_when_it_is_a_slow_one(100, 150, slow(1, 90, 80, 200), 500)]
    #[case::but_not_when_it_hangs(100, 150, slow(1, 90, 80, 10_000), 1100)]
    fn a_batch_is_due(#[case] opened: u64, #[case] pushed: u64, #[case] pace: Pace, #[case] due: u64) {
        let mut batch = Batch::open(at(opened));
        batch.push(rows(&[(b"a", b"")]), at(pushed));
        assert_eq!((batch.due_at(&THRESHOLDS, &pace) - at(0)).as_millis(), u128::from(due));
    }

    fn at(millis: u64) -> Instant {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        *START.get_or_init(Instant::now) + Duration::from_millis(millis)
    }

    fn pace(in_flight: usize, begun: u64, ended: u64) -> Pace {
        slow(in_flight, begun, ended, 0)
    }

    fn slow(in_flight: usize, begun: u64, ended: u64, lasted: u64) -> Pace {
        let lasted = Duration::from_millis(lasted);
        Pace { in_flight, maybe_begun: Some(at(begun)), maybe_ended: Some(at(ended)), lasted }
    }
}
