//! `weir-ingest spool`: how much lies on disk, and bringing all of it to ClickHouse before the disk goes.

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;

use super::folder;
use super::folder::Place;
use super::segment::Found;
use super::segment::Segment;
use crate::args::SpoolAction;
use crate::clickhouse::Client;
use crate::metrics::Metrics;
use crate::service::storage;
use crate::settings::Settings;
use crate::telemetry;

/// What lies on disk.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    segments: usize,
    bytes: u64,
    /// Requests that ClickHouse has not confirmed.
    waiting_requests: usize,
    /// Their events.
    waiting_events: usize,
    /// Bytes in the way that are no records.
    damaged_bytes: u64,
    /// Files that are kept aside.
    damaged_files: usize,
}

/// Runs one action to its end.
pub async fn run(settings: &Settings, action: SpoolAction) -> ExitCode {
    let ended = match action {
        SpoolAction::Status => status(settings).map(|_| ExitCode::SUCCESS),
        SpoolAction::Drain { timeout_seconds } => drain(settings, Duration::from_secs(timeout_seconds)).await,
    };
    ended.unwrap_or_else(|error| {
        telemetry::complain(format_args!("{error:#}"));
        ExitCode::FAILURE
    })
}

/// Prints what lies on disk, as JSON; a running service is not disturbed.
fn status(settings: &Settings) -> anyhow::Result<Status> {
    let folder = &settings.spool.as_ref().context("WEIR_SPOOL_DIR is not set")?.dir;
    let status = match look(folder) {
        Ok(status) => status,
        // Nothing was ever spooled.
        Err(error) if is_missing(&error) => Status::default(),
        Err(error) => return Err(error.context("failed to read the spool")),
    };
    say(&serde_json::to_string(&status)?);
    Ok(status)
}

/// Inserts everything, and fails when something is left after a time.
async fn drain(settings: &Settings, timeout: Duration) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(settings.spool.is_some(), "WEIR_SPOOL_DIR is not set");
    let client = Client::new(&settings.clickhouse)?;
    let parts = storage::Parts {
        client,
        budget: crate::budget::Budget::new(settings.buffer.max_bytes),
        metrics: std::sync::Arc::new(Metrics::default()),
    };
    let (entrance, storage) = storage::open(settings, parts)?;
    drop(entrance);
    if tokio::time::timeout(timeout, storage.run(&AtomicBool::default())).await.is_err() {
        telemetry::complain("not everything could be inserted in time; the rest is still on disk");
    }
    let left = status(settings)?;
    Ok(if left.waiting_requests == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn look(path: &Path) -> anyhow::Result<Status> {
    let glance = folder::glance(path)?;
    let mut status =
        Status { segments: glance.segments.len(), damaged_files: glance.damaged, ..Status::default() };
    for (number, bytes) in glance.segments {
        status.bytes += bytes;
        if number >= glance.confirmed.segment {
            count(&folder::segment_in(path, number), number, bytes, glance.confirmed, &mut status)?;
        }
    }
    Ok(status)
}

fn count(path: &Path, number: u64, end: u64, confirmed: Place, status: &mut Status) -> anyhow::Result<()> {
    let segment = match Segment::open(path) {
        Ok(Some(segment)) => segment,
        Ok(None) => return Ok(()),
        // It was confirmed in this moment.
        Err(super::SegmentError::Io(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let mut at = if number == confirmed.segment { confirmed.at.max(segment.start) } else { segment.start };
    loop {
        match segment.read(at, end)? {
            Found::Record(rows, next) => {
                status.waiting_requests += 1;
                status.waiting_events += rows.len();
                at = next;
            }
            Found::Damage(next) => {
                status.damaged_bytes += next - at;
                at = next;
            }
            Found::Torn | Found::End => return Ok(()),
        }
    }
}

fn is_missing(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
}

#[expect(clippy::print_stdout, reason = "the output is the answer of this subcommand")]
fn say(text: &str) {
    println!("{text}");
}
