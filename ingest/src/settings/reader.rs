//! Turns one given text into one checked value and remembers what was wrong.

use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;

use url::Url;

use super::Invalid;
use super::LogLevel;
use super::Network;
use crate::admission::pace::Rate;
use crate::args::env;

/// Collects problems while values are read.
#[derive(Default)]
pub(super) struct Reader {
    problems: Vec<String>,
}

/// The text, unless it is absent or blank: an empty variable means its default.
pub(super) fn given(text: Option<&String>) -> Option<&str> {
    text.map(|text| text.trim()).filter(|text| !text.is_empty())
}

/// The parts of a comma list, trimmed, without blanks.
pub(super) fn list(text: Option<&String>) -> impl Iterator<Item = &str> {
    text.into_iter().flat_map(|text| text.split(',')).map(str::trim).filter(|part| !part.is_empty())
}

/// A path, when one is given.
pub(super) fn path(text: Option<&String>) -> Option<PathBuf> {
    given(text).map(PathBuf::from)
}

impl Reader {
    pub(super) fn problem(&mut self, problem: String) {
        self.problems.push(problem);
    }

    /// Gives the value when nothing was wrong.
    pub(super) fn finish<T>(self, value: T) -> Result<T, Invalid> {
        if self.problems.is_empty() { Ok(value) } else { Err(Invalid(self.problems)) }
    }

    /// Parses the text, or the default, which must parse.
    pub(super) fn parsed<T: FromStr>(
        &mut self,
        name: &str,
        text: Option<&String>,
        default: &str,
        wanted: impl Display,
    ) -> T {
        if let Some(text) = given(text) {
            if let Ok(value) = text.parse() {
                return value;
            }
            self.problem(format!("{name} must be {wanted}, not {text:?}"));
        }
        let Ok(value) = default.parse() else { unreachable!("the default of {name} parses") };
        value
    }

    pub(super) fn port(&mut self, name: &str, text: Option<&String>, default: u16) -> u16 {
        self.parsed(name, text, &default.to_string(), "a port number")
    }

    pub(super) fn positive(&mut self, name: &str, text: Option<&String>, default: u32) -> u64 {
        let value: u32 = self.parsed(name, text, &default.to_string(), "a whole number");
        if value == 0 {
            self.problem(format!("{name} must be greater than 0"));
        }
        u64::from(value)
    }

    pub(super) fn size(&mut self, name: &str, text: Option<&String>, default: u32) -> usize {
        usize::try_from(self.positive(name, text, default)).unwrap_or(usize::MAX)
    }

    /// A rate, when one is given.
    pub(super) fn rate(&mut self, name: &str, text: Option<&String>) -> Option<Rate> {
        let text = given(text)?;
        let rate = text.parse().ok();
        if rate.is_none() {
            self.problem(format!("{name} must be events a second, such as 100 or 100:2000, not {text:?}"));
        }
        rate
    }

    /// A size that may be larger than any memory.
    pub(super) fn bytes(&mut self, name: &str, text: Option<&String>, default: u64) -> u64 {
        let value = self.parsed(name, text, &default.to_string(), "a number of bytes");
        if value == 0 {
            self.problem(format!("{name} must be greater than 0"));
        }
        value
    }

    pub(super) fn log_level(&mut self, text: Option<&String>) -> LogLevel {
        match given(text) {
            None | Some("warn") => LogLevel::Warn,
            Some("silent") => LogLevel::Silent,
            Some("fatal" | "error") => LogLevel::Error,
            Some("info") => LogLevel::Info,
            Some("debug") => LogLevel::Debug,
            Some("trace") => LogLevel::Trace,
            Some(other) => {
                self.problem(format!(
                    "{} must be silent, fatal, error, warn, info, debug or trace, not {other:?}",
                    env::LOG_LEVEL
                ));
                LogLevel::Warn
            }
        }
    }

    pub(super) fn networks(&mut self, text: Option<&String>) -> Vec<Network> {
        let mut networks = Vec::new();
        for part in list(text) {
            match part.parse() {
                Ok(network) => networks.push(network),
                Err(_) => self.problem(format!(
                    "{} must list networks such as 10.0.0.0/8, not {part:?}",
                    env::WEIR_TRUSTED_PROXIES
                )),
            }
        }
        networks
    }

    /// Credentials in a URL are refused: URLs are logged.
    pub(super) fn endpoints(&mut self, text: Option<&String>) -> Vec<Url> {
        let text = given(text).unwrap_or("http://localhost:8123").to_owned();
        let mut endpoints = Vec::new();
        for (index, part) in list(Some(&text)).enumerate() {
            match part.parse::<Url>() {
                Ok(url) if !url.username().is_empty() || url.password().is_some() => self.problem(format!(
                    "{} number {} must not hold a user or password",
                    env::CLICKHOUSE_URL,
                    index + 1
                )),
                Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => endpoints.push(url),
                Ok(_) | Err(_) => self.problem(format!(
                    "{} number {} must be an http or https URL",
                    env::CLICKHOUSE_URL,
                    index + 1
                )),
            }
        }
        endpoints
    }

    /// A name that needs no quoting anywhere.
    pub(super) fn identifier(&mut self, name: &str, text: Option<&String>) -> Option<String> {
        let text = given(text)?;
        let starts = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
        if !starts || !text.chars().all(|each| each.is_ascii_alphanumeric() || each == '_') {
            self.problem(format!("{name} must be letters, digits and underscores, not {text:?}"));
        }
        Some(text.to_owned())
    }
}
