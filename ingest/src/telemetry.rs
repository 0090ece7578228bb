//! The log: JSON lines on standard error, quiet by default.

use std::fmt::Display;
use std::io::Write as _;

use tracing_subscriber::filter::LevelFilter;

use crate::settings::LogLevel;

/// Installs the subscriber of the process; a second call changes nothing.
pub fn install(level: LogLevel) {
    let installed = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_max_level(filter(level))
        .with_writer(std::io::stderr)
        .try_init();
    // Only a test that runs two services in one process installs twice.
    drop(installed);
}

/// Says on standard error why the process cannot start, before there is a log.
pub fn complain(error: impl Display) {
    let written = writeln!(std::io::stderr(), "weir-ingest: {error}");
    // Nobody is left to tell when standard error is closed.
    drop(written);
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Silent => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}
