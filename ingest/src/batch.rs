//! Encoded rows, per table and per event, and the open batch that gathers them.

use std::ops::Range;
use std::time::Duration;
use std::time::Instant;

/// The tables that are written, in the order in which they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// Events themselves.
    Events,
    /// Properties of persons.
    Properties,
    /// Times and state of persons.
    Persons,
    /// Which distinct ids are one person.
    Links,
}

impl Table {
    /// All tables. Events come first: a fact without its event could not be explained.
    pub const ALL: [Self; 4] = [Self::Events, Self::Properties, Self::Persons, Self::Links];

    /// Name in ClickHouse.
    pub fn name(self) -> &'static str {
        match self {
            Self::Events => "events_data",
            Self::Properties => "person_properties",
            Self::Persons => "person_facts",
            Self::Links => "links",
        }
    }
}

/// Encoded rows of some events.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Rows {
    bytes: [Vec<u8>; Table::ALL.len()],
    /// Where the rows of each event end, in each table.
    ends: Vec<[usize; Table::ALL.len()]>,
}

impl Rows {
    /// Bytes of one table, to be appended to. [`Rows::finish_event`] says that the rows of an event are complete.
    pub fn table_mut(&mut self, table: Table) -> &mut Vec<u8> {
        &mut self.bytes[table as usize]
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
        bytes + self.ends.capacity() * size_of::<[usize; Table::ALL.len()]>()
    }

    /// Gives away spare memory, before the rows wait for others.
    pub fn shrink(&mut self) {
        self.bytes.iter_mut().for_each(Vec::shrink_to_fit);
        self.ends.shrink_to_fit();
    }

    /// Appends the rows of other events.
    pub fn append(&mut self, other: &Self) {
        let offsets = self.bytes.each_ref().map(Vec::len);
        for (mine, others) in self.bytes.iter_mut().zip(&other.bytes) {
            mine.extend_from_slice(others);
        }
        let shifted = other.ends.iter().map(|ends| std::array::from_fn(|table| ends[table] + offsets[table]));
        self.ends.extend(shifted);
    }

    /// Takes the bytes of one table out.
    pub fn take(&mut self, table: Table) -> Vec<u8> {
        std::mem::take(&mut self.bytes[table as usize])
    }

    /// Where the rows of some events are within a table.
    pub fn span(&self, table: Table, events: Range<usize>) -> Range<usize> {
        let end_of = |events: usize| events.checked_sub(1).map_or(0, |last| self.ends[last][table as usize]);
        end_of(events.start)..end_of(events.end)
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

/// While an insert is in flight a batch gathers for this many ages before it goes in parallel: long enough that a
/// busy server gets large blocks, short enough that one hanging insert does not hold up the others.
const PATIENCE: u32 = 10;

/// The batch that is being filled.
#[derive(Debug)]
pub struct Batch {
    rows: Rows,
    opened: Instant,
    bytes: usize,
}

impl Batch {
    /// Opens a batch.
    pub fn open(now: Instant) -> Self {
        Self { rows: Rows::default(), opened: now, bytes: 0 }
    }

    /// Adds the rows of a request and says which events of the batch they are.
    pub fn push(&mut self, rows: &Rows) -> Range<usize> {
        let start = self.rows.len();
        self.rows.append(rows);
        self.bytes += rows.size();
        start..self.rows.len()
    }

    /// Whether nothing was pushed.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Whether a threshold of size is reached.
    pub fn is_full(&self, thresholds: &Thresholds) -> bool {
        self.rows.len() >= thresholds.max_rows || self.bytes >= thresholds.max_bytes
    }

    /// When the batch is flushed although it is not full.
    ///
    /// With nothing in flight: at once, unless the last flush was less than an age ago.
    pub fn due_at(
        &self,
        thresholds: &Thresholds,
        maybe_last_flush: Option<Instant>,
        in_flight: usize,
    ) -> Instant {
        if in_flight > 0 {
            return self.opened + thresholds.max_age * PATIENCE;
        }
        maybe_last_flush.map_or(self.opened, |last| self.opened.max(last + thresholds.max_age))
    }

    /// The gathered rows.
    pub fn into_rows(self) -> Rows {
        self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn appended_rows_are_those_of_all_events_in_order() {
        let mut all = rows(&[(b"one", b""), (b"two", b"x")]);
        all.append(&rows(&[(b"three", b"yz")]));
        assert_eq!(all, rows(&[(b"one", b""), (b"two", b"x"), (b"three", b"yz")]));
        assert_eq!(all.span(Table::Events, 1..3), 3..11);
        assert_eq!(all.span(Table::Links, 2..3), 1..3);
        assert_eq!(all.span(Table::Links, 0..1), 0..0);
    }

    #[test]
    fn a_batch_is_full_by_rows_or_bytes() {
        let mut batch = Batch::open(Instant::now());
        assert_eq!(batch.push(&rows(&[(b"a", b"")])), 0..1);
        assert!(!batch.is_full(&THRESHOLDS));
        assert_eq!(batch.push(&rows(&[(b"b", b"")])), 1..2);
        assert!(batch.is_full(&THRESHOLDS));
        let mut large = Batch::open(Instant::now());
        large.push(&rows(&[(&[0; 5000], b"")]));
        assert!(large.is_full(&THRESHOLDS));
    }

    #[test]
    fn an_idle_service_flushes_at_once_and_a_busy_one_gathers() {
        let opened = Instant::now();
        let batch = Batch::open(opened);
        let age = THRESHOLDS.max_age;
        assert_eq!(batch.due_at(&THRESHOLDS, None, 0), opened);
        assert_eq!(batch.due_at(&THRESHOLDS, Some(opened), 0), opened + age);
        assert_eq!(batch.due_at(&THRESHOLDS, Some(opened), 1), opened + age * 10);
    }
}
