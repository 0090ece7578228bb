//! What the writer and the reader of a spool share: which segments there are, how far each is on disk, how much fits.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use tokio::sync::watch;

use super::folder;
use super::folder::Folder;
use super::folder::Place;
use super::segment;
use super::segment::Segment;
use crate::buffer::Full;
use crate::metrics::Metrics;
use crate::telemetry::Causes;

/// Segments that the bound is divided into, so that confirmed ones make room soon.
const SEGMENTS: u64 = 8;
/// Largest segment.
const MAX_SEGMENT: u64 = 64 * 1024 * 1024;

/// Shared by both sides.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) folder: Folder,
    pub(super) max_bytes: u64,
    state: Mutex<State>,
    changed: watch::Sender<()>,
    full: Full,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct State {
    /// Up to where each segment is on disk.
    ends: BTreeMap<u64, u64>,
    confirmed: Place,
    last: u64,
}

/// How far a segment can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) end: u64,
    /// The segment behind it; then nothing more will be appended to this one.
    pub(super) maybe_next: Option<u64>,
}

/// Why a spool cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder.
    #[error(transparent)]
    Folder(#[from] folder::Error),
    /// The system says no.
    #[error("failed to look through the spool")]
    Io(#[from] io::Error),
    /// A segment that only another version of this program can read.
    #[error("segment {number:016x} of the spool was written by another version of this program")]
    Foreign {
        /// Number of the segment.
        number: u64,
        /// What is foreign in it.
        source: segment::Error,
    },
}

impl Log {
    /// Takes the folder and looks at the heads of its segments.
    pub(super) fn open(
        path: &Path,
        max_bytes: u64,
        full: Full,
        metrics: Arc<Metrics>,
    ) -> Result<Self, OpenError> {
        let folder = Folder::open(path)?;
        let confirmed = folder.confirmed();
        let mut state = State { confirmed, last: confirmed.segment, ..State::default() };
        for (number, bytes) in folder.segments()? {
            state.last = state.last.max(number);
            if number < confirmed.segment {
                folder.remove(number)?;
                continue;
            }
            match Segment::open(&folder.path_of(number)) {
                Ok(Some(_)) => drop(state.ends.insert(number, bytes)),
                Ok(None) => folder.remove(number)?,
                Err(segment::Error::Io(error)) => return Err(error.into()),
                Err(error) if error.is_damage() => {
                    tracing::error!(error = %Causes(&error), weir.spool.segment = number, "kept a damaged segment aside");
                    folder.set_aside(number)?;
                    metrics.spool_damaged_bytes.inc_by(bytes);
                }
                Err(source) => return Err(OpenError::Foreign { number, source }),
            }
        }
        let log = Self {
            folder,
            max_bytes,
            state: Mutex::new(state),
            changed: watch::Sender::new(()),
            full,
            metrics,
        };
        log.measure(&log.state());
        Ok(log)
    }

    /// From this size on a segment is followed by another one.
    pub(super) fn max_segment(&self) -> u64 {
        (self.max_bytes / SEGMENTS).clamp(1, MAX_SEGMENT)
    }

    /// Bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.state().ends.values().sum()
    }

    /// A number that no segment had before.
    pub(super) fn next_number(&self) -> u64 {
        let mut state = self.state();
        state.last += 1;
        state.last
    }

    /// Notes that a segment is on disk up to here.
    pub(super) fn extend(&self, segment: u64, end: u64) {
        let mut state = self.state();
        state.ends.insert(segment, end);
        self.measure(&state);
        drop(state);
        self.changed.send_replace(());
    }

    /// How far a segment can be read; `None` when it is gone.
    pub(super) fn extent(&self, segment: u64) -> Option<Extent> {
        let state = self.state();
        let end = *state.ends.get(&segment)?;
        let maybe_next = state.ends.range(segment + 1..).next().map(|(number, _)| *number);
        Some(Extent { end, maybe_next })
    }

    /// The first segment there is, from a number on.
    pub(super) fn first_from(&self, segment: u64) -> Option<u64> {
        self.state().ends.range(segment..).next().map(|(number, _)| *number)
    }

    /// Up to where everything is in ClickHouse.
    pub(super) fn confirmed(&self) -> Place {
        self.state().confirmed
    }

    /// Notes that everything before a place is in ClickHouse, and removes the segments that lie before it.
    pub(super) fn confirm(&self, place: Place) {
        let mut state = self.state();
        if place <= state.confirmed {
            return;
        }
        state.confirmed = place;
        if let Err(error) = self.folder.confirm(place) {
            tracing::warn!(error = %Causes(&error), "failed to mark how far the spool is confirmed");
        }
        while let Some((&number, _)) =
            state.ends.first_key_value().filter(|(number, _)| **number < place.segment)
        {
            if let Err(error) = self.folder.remove(number) {
                tracing::warn!(error = %Causes(&error), "failed to remove a confirmed segment of the spool");
            }
            state.ends.remove(&number);
        }
        self.measure(&state);
    }

    /// Removes the last segment, once nothing will be appended and all of it is confirmed.
    pub(super) fn finish(&self) {
        let (confirmed, last) = {
            let state = self.state();
            (state.confirmed, state.ends.last_key_value().map(|(number, end)| (*number, *end)))
        };
        if last == Some((confirmed.segment, confirmed.at)) {
            self.confirm(Place { segment: confirmed.segment + 1, at: 0 });
        }
    }

    /// Notes a stretch that cannot be read.
    pub(super) fn count_damage(&self, bytes: u64) {
        self.metrics.spool_damaged_bytes.inc_by(bytes);
    }

    /// Tells whenever there is more to read.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn measure(&self, state: &State) {
        let bytes: u64 = state.ends.values().sum();
        self.full.set(bytes >= self.max_bytes);
        self.metrics.spool_bytes.set(signed(bytes));
        self.metrics.spool_backlog_bytes.set(signed(state.backlog()));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Bytes that ClickHouse has not confirmed.
    fn backlog(&self) -> u64 {
        let of = |(number, end): (&u64, &u64)| {
            let from = if *number == self.confirmed.segment { self.confirmed.at } else { 0 };
            end.saturating_sub(from)
        };
        self.ends.iter().map(of).sum()
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
