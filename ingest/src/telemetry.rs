//! The log: JSON lines on standard error, quiet by default.

use std::error::Error;
use std::fmt;
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

/// An error with its causes on one line; the JSON log would show the outermost alone.
#[derive(Debug)]
pub struct Causes<'a>(pub &'a dyn Error);

impl Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut maybe_cause = self.0.source();
        while let Some(cause) = maybe_cause {
            write!(f, ": {cause}")?;
            maybe_cause = cause.source();
        }
        Ok(())
    }
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
