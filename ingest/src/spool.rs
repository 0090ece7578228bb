//! The optional log on disk: a request is answered once its rows are synced here, and ClickHouse gets them afterwards.
//!
//! ```text
//! requests ─Buffer─► writer ─one sync for many─► segment files ─► reader ─Buffer─► gatherer ─► ClickHouse
//!              answered ◄─┘                            └─ removed once all their rows are confirmed
//! ```
//! - Nothing that was answered is lost by a crash of the process or of the machine; a torn end was never answered.
//! - Replay is in order. What was inserted and not yet marked is inserted again; it stays one row for readers.
//! - A damaged stretch is kept aside in the folder, counted and logged; what lies behind it is read.
//! - Without room, on the disk or below the bound, requests are refused with 503 until there is some again.

mod command;
mod folder;
mod format;
mod log;
mod reader;
mod segment;
mod writer;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use tokio::sync::watch;

use crate::budget::Budget;
use crate::buffer;
use crate::buffer::Buffer;
use crate::buffer::Full;
use crate::metrics::Metrics;
use crate::settings::SpoolSettings;
use log::Log;
use reader::Reader;
use writer::Writer;

pub use command::run;
pub use folder::Error as FolderError;
pub(crate) use folder::try_out;
pub use format::Unreadable;
pub use log::OpenError;
pub use segment::Error as SegmentError;

/// A spool that is open and not yet running.
#[derive(Debug)]
pub(crate) struct Spool {
    writer: Writer,
    reader: Reader,
}

/// What a spool needs besides its settings.
#[derive(Debug)]
pub(crate) struct Parts {
    /// Where rows go from the disk.
    pub(crate) buffer: Buffer,
    pub(crate) budget: Arc<Budget>,
    /// Bytes that may be on their way from the disk to ClickHouse.
    pub(crate) max_held: usize,
    pub(crate) metrics: Arc<Metrics>,
}

/// Takes the folder; returns the buffer for requests as well.
pub(crate) fn open(settings: &SpoolSettings, parts: Parts) -> Result<(Buffer, Spool), OpenError> {
    let Parts { buffer, budget, max_held, metrics } = parts;
    let full = Full::default();
    let log = Arc::new(Log::open(&settings.dir, settings.max_bytes, full.clone(), metrics)?);
    let (entrance, receiver) = buffer::channel(full);
    let writer = Writer::new(receiver, Arc::clone(&log));
    let reader = Reader::new(log, buffer, budget, max_held);
    Ok((entrance, Spool { writer, reader }))
}

impl Spool {
    /// Runs until no request can come any more and all rows are confirmed. From the moment that `is_safe` is set, all
    /// that was answered is on disk, and this may be dropped.
    pub(crate) async fn run(self, is_safe: &AtomicBool) {
        let (close, closing) = watch::channel(false);
        let writing = async {
            self.writer.run().await;
            is_safe.store(true, Ordering::Relaxed);
            close.send_replace(true);
        };
        tokio::join!(writing, self.reader.run(closing));
    }
}
