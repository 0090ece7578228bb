//! The log: JSON lines on standard error, quiet by default.

use std::error::Error;
use std::fmt;
use std::fmt::Display;
use std::io::Write as _;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use tracing_subscriber::filter::LevelFilter;

use crate::settings::LogLevel;

/// Installs the subscriber of the process; a second call changes nothing.
pub fn install(level: LogLevel) {
    let installed = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        // Spans exist only at debug, where they tie lines to requests and flushes.
        .with_current_span(true)
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

/// How often one class of trouble is told while it lasts.
const SAY_EVERY: Duration = Duration::from_mins(1);
/// How long a trouble that ended is not told again, so that one that comes and goes does not fill the log.
const PAUSE: Duration = Duration::from_secs(5);

/// Keeps a log quiet: one class of trouble is told when it begins, once a minute while it lasts, and when it ends.
///
/// Only what is about to be logged asks, so that the lock is off the path of requests that go well.
#[derive(Debug, Default)]
pub struct Pacer(Mutex<Said>);

#[derive(Debug, Default)]
struct Said {
    maybe_last: Option<Instant>,
    unsaid: u64,
    lasts: bool,
}

impl Pacer {
    /// One that has told nothing yet.
    pub const fn new() -> Self {
        Self(Mutex::new(Said { maybe_last: None, unsaid: 0, lasts: false }))
    }

    /// Whether to tell it now, and then how often it was left unsaid before.
    pub fn may_say(&self) -> Option<u64> {
        self.may_say_at(Instant::now())
    }

    fn may_say_at(&self, now: Instant) -> Option<u64> {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pause = if said.lasts { SAY_EVERY } else { PAUSE };
        if said.maybe_last.is_some_and(|last| now.duration_since(last) < pause) {
            said.unsaid += 1;
            return None;
        }
        said.maybe_last = Some(now);
        said.lasts = true;
        Some(std::mem::take(&mut said.unsaid))
    }

    /// The trouble is over; says whether that is to be told, since its beginning was.
    pub fn end(&self) -> bool {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).lasts)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_told_when_it_begins_and_once_a_minute() {
        let pacer = Pacer::new();
        let start = Instant::now();
        let told: Vec<_> =
            (0..150).filter_map(|second| pacer.may_say_at(start + Duration::from_secs(second))).collect();
        assert_eq!(told, [0, 59, 59]);
        assert!(pacer.end());
        assert!(!pacer.end());
        assert_eq!(pacer.may_say_at(start + Duration::from_secs(150)), Some(29), "a new beginning is told");
    }

    #[test]
    fn trouble_that_comes_and_goes_is_told_now_and_then() {
        let pacer = Pacer::new();
        let start = Instant::now();
        let told = (0..600).filter(|step| {
            pacer.end();
            pacer.may_say_at(start + Duration::from_millis(100 * step)).is_some()
        });
        assert_eq!(told.count(), 12);
    }
}
