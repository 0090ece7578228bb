//! Requests to disk: many share one write and one sync, and are answered after it.

use std::fs::File;
use std::io;
use std::io::BufWriter;
use std::io::Seek as _;
use std::io::SeekFrom;
use std::io::Write as _;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::format;
use super::format::Layout;
use super::log::Log;
use crate::ack::Stored;
use crate::ack::Unavailable;
use crate::buffer::Entry;
use crate::telemetry::Causes;

/// Requests that share one sync at most.
const GROUP: usize = 1024;
/// Small parts are written together.
const WRITE: usize = 256 * 1024;

/// The task that appends.
#[derive(Debug)]
pub(crate) struct Writer {
    receiver: mpsc::Receiver<Entry>,
    appender: Appender,
}

/// The side that knows files.
#[derive(Debug)]
struct Appender {
    log: Arc<Log>,
    maybe_active: Option<Active>,
}

/// The segment that is appended to.
#[derive(Debug)]
struct Active {
    number: u64,
    nonce: u64,
    file: File,
    end: u64,
}

impl Writer {
    pub(super) fn new(receiver: mpsc::Receiver<Entry>, log: Arc<Log>) -> Self {
        Self { receiver, appender: Appender { log, maybe_active: None } }
    }

    /// Appends until nobody can send any more.
    pub(crate) async fn run(self) {
        let Self { mut receiver, mut appender } = self;
        let mut group = Vec::new();
        while receiver.recv_many(&mut group, GROUP).await > 0 {
            let entries = std::mem::take(&mut group);
            let appending = tokio::task::spawn_blocking(move || {
                appender.store(entries);
                appender
            });
            match appending.await {
                Ok(back) => appender = back,
                Err(error) => {
                    // The entries are gone with it, so their senders were told to come again.
                    tracing::error!(error = %Causes(&error), "the spool ended abnormally");
                    return;
                }
            }
        }
    }
}

impl Appender {
    /// Appends a group and answers everybody in it.
    fn store(&mut self, entries: Vec<Entry>) {
        let (fitting, surplus) = self.divide(entries);
        let outcome = if fitting.is_empty() { Ok(()) } else { self.append(&fitting) };
        if let Err(error) = &outcome {
            tracing::error!(error = %Causes(error), "failed to write to the spool; clients are asked to send again");
        }
        answer(fitting, outcome.map(|()| Stored { refused: 0 }).map_err(|_| Unavailable));
        answer(surplus, Err(Unavailable));
    }

    /// Those that fit below the bound, and the others.
    fn divide(&self, entries: Vec<Entry>) -> (Vec<Entry>, Vec<Entry>) {
        let mut bytes = self.log.bytes();
        entries.into_iter().partition(|entry| {
            let larger = bytes + entry.rows.size() as u64;
            let fits = larger <= self.log.max_bytes;
            if fits {
                bytes = larger;
            }
            fits
        })
    }

    /// Writes and syncs; after a failure nothing of the group counts.
    fn append(&mut self, entries: &[Entry]) -> io::Result<()> {
        let mut active = match self.maybe_active.take() {
            Some(active) if active.end < self.log.max_segment() => active,
            Some(_) | None => self.begin()?,
        };
        match active.append(entries) {
            Ok(end) => {
                active.end = end;
                self.log.extend(active.number, end);
                self.maybe_active = Some(active);
                Ok(())
            }
            Err(error) => {
                // What a failed sync left on disk is not known: this segment ends where it was good, and the next one
                // is another file.
                if let Err(error) = active.file.set_len(active.end) {
                    tracing::warn!(error = %Causes(&error), "failed to cut an unfinished record off");
                }
                Err(error)
            }
        }
    }

    fn begin(&self) -> io::Result<Active> {
        let (number, nonce) = (self.log.next_number(), rand::random());
        let head = format::segment_head(nonce, &Layout::current());
        let file = self.log.folder.create(number, &head)?;
        let end = head.len() as u64;
        self.log.extend(number, end);
        Ok(Active { number, nonce, file, end })
    }
}

impl Active {
    /// Appends behind the last good record, and returns the new end.
    fn append(&mut self, entries: &[Entry]) -> io::Result<u64> {
        self.file.seek(SeekFrom::Start(self.end))?;
        let mut writer = BufWriter::with_capacity(WRITE, &self.file);
        let mut end = self.end;
        for entry in entries {
            let (head, tables) = format::record(self.nonce, &entry.rows);
            writer.write_all(&head)?;
            end += head.len() as u64;
            for bytes in tables {
                writer.write_all(bytes)?;
                end += bytes.len() as u64;
            }
        }
        writer.flush()?;
        drop(writer);
        self.file.sync_data()?;
        Ok(end)
    }
}

fn answer(entries: Vec<Entry>, outcome: Result<Stored, Unavailable>) {
    for Entry { rows, ack, reservation, span: _ } in entries {
        drop(rows);
        drop(reservation);
        ack.resolve(outcome);
    }
}
