//! One segment file, read from front to back: whole records, damaged stretches, and a torn end.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::format;
use super::format::Layout;
use super::format::RECORD_HEAD;
use super::format::RECORD_MAGIC;
use super::format::SEGMENT_HEAD;
use super::format::Unreadable;
use crate::batch::Columns;
use crate::batch::Rows;
use crate::table::Table;

/// Read at once while the next record is looked for behind a damaged one.
const WINDOW: usize = 64 * 1024;

/// A segment that is open for reading.
#[derive(Debug)]
pub(super) struct Segment {
    file: File,
    nonce: u64,
    pub(super) layout: Layout,
    tables: Vec<Table>,
    maybe_columns: Option<Columns>,
    /// Where the first record is.
    pub(super) start: u64,
}

/// What is found at a place of a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A record, and where the next one begins.
    Record(Rows, u64),
    /// Bytes that are no record any more, up to where one begins or the segment ends.
    Damage(u64),
    /// A record whose end was never written: nobody was told that it was stored.
    Torn,
    /// The end.
    End,
}

/// Why a segment cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system says no.
    #[error("failed to read the segment")]
    Io(#[from] io::Error),
    /// The bytes are not those of a segment.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
}

impl Error {
    /// Whether the bytes changed after they were written, rather than that somebody else wrote them.
    pub(super) fn is_damage(&self) -> bool {
        matches!(self, Self::Unreadable(Unreadable::Head))
    }
}

impl Segment {
    /// Opens a segment; `None` when nothing was ever written to it.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, Error> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        if length == 0 {
            return Ok(None);
        }
        let mut head = [0; SEGMENT_HEAD];
        if length < head.len() as u64 {
            return Err(Unreadable::Head.into());
        }
        file.read_exact_at(&mut head, 0)?;
        let layout_length = format::layout_length(&head)?;
        let start = (SEGMENT_HEAD + layout_length) as u64;
        if length < start {
            return Err(Unreadable::Head.into());
        }
        let mut layout = vec![0; layout_length];
        file.read_exact_at(&mut layout, SEGMENT_HEAD as u64)?;
        let (nonce, layout) = format::parse_segment_head(&head, &layout)?;
        let tables = layout.tables()?;
        let maybe_columns = layout.columns();
        Ok(Some(Self { file, nonce, layout, tables, maybe_columns, start }))
    }

    /// Reads what is at a place; the segment ends at `end`, whatever the file holds behind it.
    pub(super) fn read(&self, at: u64, end: u64) -> Result<Found, Error> {
        if at >= end {
            return Ok(Found::End);
        }
        let Some(head) = self.head_at(at, end)? else { return self.damage(at, end) };
        let payload_at = at + RECORD_HEAD as u64;
        let next = payload_at + u64::from(head.length);
        if next > end {
            return Ok(Found::Torn);
        }
        let mut payload = vec![0; usize::try_from(head.length).unwrap_or(usize::MAX)];
        self.file.read_exact_at(&mut payload, payload_at)?;
        if !format::is_whole(head, &payload) {
            return self.damage(at, end);
        }
        match format::parse_payload(&self.tables, &payload) {
            Ok(mut rows) => {
                rows.maybe_columns.clone_from(&self.maybe_columns);
                Ok(Found::Record(rows, next))
            }
            Err(_) => Ok(Found::Damage(next)),
        }
    }

    /// Copies a stretch, to be kept aside.
    pub(super) fn copy(&self, from: u64, to: u64, mut target: impl io::Write) -> io::Result<()> {
        let mut at = from;
        let mut window = vec![0; WINDOW];
        while at < to {
            let size = usize::try_from(to - at).unwrap_or(WINDOW).min(WINDOW);
            self.file.read_exact_at(&mut window[..size], at)?;
            target.write_all(&window[..size])?;
            at += size as u64;
        }
        Ok(())
    }

    fn head_at(&self, at: u64, end: u64) -> io::Result<Option<format::RecordHead>> {
        let mut head = [0; RECORD_HEAD];
        if at + RECORD_HEAD as u64 > end {
            return Ok(None);
        }
        self.file.read_exact_at(&mut head, at)?;
        Ok(format::parse_record_head(self.nonce, &head))
    }

    /// No record is at `at`: it is torn when so little is left that only a head can have been begun, or when nothing
    /// was written at all; else damaged up to the next record.
    fn damage(&self, at: u64, end: u64) -> Result<Found, Error> {
        if end - at < RECORD_HEAD as u64 || self.is_blank(at, end)? {
            return Ok(Found::Torn);
        }
        let mut from = at + 1;
        let mut window = vec![0; WINDOW];
        while from + RECORD_HEAD as u64 <= end {
            let size = usize::try_from(end - from).unwrap_or(WINDOW).min(WINDOW);
            self.file.read_exact_at(&mut window[..size], from)?;
            for offset in magics(&window[..size]) {
                let candidate = from + offset as u64;
                if self.head_at(candidate, end)?.is_some() {
                    return Ok(Found::Damage(candidate));
                }
            }
            // A magic may lie across two windows.
            from += (size - (RECORD_MAGIC.len() - 1).min(size - 1)) as u64;
        }
        Ok(Found::Damage(end))
    }

    fn is_blank(&self, from: u64, to: u64) -> io::Result<bool> {
        let mut at = from;
        let mut window = vec![0; WINDOW];
        while at < to {
            let size = usize::try_from(to - at).unwrap_or(WINDOW).min(WINDOW);
            self.file.read_exact_at(&mut window[..size], at)?;
            if window[..size].iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            at += size as u64;
        }
        Ok(true)
    }
}

fn magics(window: &[u8]) -> impl Iterator<Item = usize> {
    window
        .windows(RECORD_MAGIC.len())
        .enumerate()
        .filter(|(_, bytes)| bytes == RECORD_MAGIC)
        .map(|(at, _)| at)
}

#[cfg(test)]
mod tests;
