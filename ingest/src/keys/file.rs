//! The format of the keys file. Pure.
//!
//! ```json
//! {
//!   "generation": 3,
//!   "keys": [
//!     {
//!       "name": "web",
//!       "generation": 2,
//!       "sha256": "64 hexadecimal digits of the key's SHA-256",
//!       "scopes": ["capture", "otlp"],
//!       "origins": ["https://app.example"],
//!       "validFrom": "2026-05-06T00:00:00Z",
//!       "validUntil": "2026-06-06T00:00:00Z",
//!       "rateLimit": {"eventsPerSecond": 100, "burst": 2000}
//!     }
//!   ]
//! }
//! ```
//!
//! Several entries may have one name: those are the generations that overlap in a rotation. A key without `scopes` may
//! do nothing, one without `origins` may be used from every origin of the service, and `burst` is ten seconds' worth
//! when absent.

use std::io;

use serde::Deserialize;

use super::snapshot::Key;
use super::snapshot::Scope;
use crate::admission::pace::Rate;
use crate::authenticate::CAPTURE;
use crate::authenticate::OTLP;

/// Why the keys file is not used. No variant quotes the file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not readable.
    #[error("failed to read the keys file")]
    Read(#[source] io::Error),
    /// No JSON of the right shape.
    #[error("the keys file is not valid at line {line}, column {column}")]
    Shape {
        /// Line of the fault.
        line: usize,
        /// Column of the fault.
        column: usize,
    },
    /// A hash is not 64 hexadecimal digits.
    #[error("the hash of key {0:?} is not 64 hexadecimal digits")]
    Hash(String),
}

impl Error {
    /// Word for reports.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Read(_) => "read",
            Self::Shape { .. } => "shape",
            Self::Hash(_) => "hash",
        }
    }
}

/// What a file holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) generation: u64,
    pub(super) keys: Vec<Key>,
}

#[derive(Deserialize)]
struct File {
    generation: u64,
    keys: Vec<FileKey>,
}

/// Unknown fields are skipped, so that a newer operator can add some.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FileKey {
    name: String,
    #[serde(default)]
    generation: u64,
    sha256: String,
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default)]
    origins: Vec<String>,
    valid_from: Option<jiff::Timestamp>,
    valid_until: Option<jiff::Timestamp>,
    rate_limit: Option<Rate>,
}

/// Parses the file.
pub(super) fn parse(text: &[u8]) -> Result<Content, Error> {
    let file: File = serde_json::from_slice(text)
        .map_err(|error| Error::Shape { line: error.line(), column: error.column() })?;
    let keys = file.keys.into_iter().map(key).collect::<Result<_, _>>()?;
    Ok(Content { generation: file.generation, keys })
}

fn key(key: FileKey) -> Result<Key, Error> {
    let mut sha256 = [0; 32];
    if hex::decode_to_slice(&key.sha256, &mut sha256).is_err() {
        return Err(Error::Hash(key.name));
    }
    Ok(Key {
        name: key.name.into(),
        generation: key.generation,
        sha256,
        scopes: key.scopes.iter().filter_map(|scope| scope_of(scope)).collect(),
        origins: key.origins,
        valid_from: key.valid_from.map(jiff::Timestamp::as_microsecond),
        valid_until: key.valid_until.map(jiff::Timestamp::as_microsecond),
        maybe_rate: key.rate_limit,
    })
}

/// A scope that only a newer binary knows gives no right here.
fn scope_of(text: &str) -> Option<Scope> {
    match text {
        CAPTURE => Some(Scope::Capture),
        OTLP => Some(Scope::Otlp),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_as_the_operator_writes_it_is_read() {
        let text = br#"{"generation": 3, "keys": [{"name": "web", "generation": 1,
            "sha256": "00000000000000000000000000000000000000000000000000000000000000ff",
            "scopes": ["capture", "replay"], "origins": ["https://a.example"], "validUntil": "1970-01-01T00:00:01Z",
            "rateLimit": {"eventsPerSecond": 100, "burst": 2000}, "note": "unknown fields are skipped"}]}"#;
        let content = parse(text).unwrap();
        let mut sha256 = [0; 32];
        sha256[31] = 255;
        let expected = Key {
            name: "web".into(),
            generation: 1,
            sha256,
            scopes: vec![Scope::Capture],
            origins: vec!["https://a.example".into()],
            valid_from: None,
            valid_until: Some(1_000_000),
            maybe_rate: "100:2000".parse().ok(),
        };
        assert_eq!(content, Content { generation: 3, keys: vec![expected] });
    }

    #[test]
    fn a_bad_file_is_refused_without_being_quoted() {
        let error = parse(br#"{"generation": "secret-looking"}"#).unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
        let short = br#"{"generation": 1, "keys": [{"name": "web", "sha256": "abc"}]}"#;
        assert_eq!(
            parse(short).unwrap_err().to_string(),
            "the hash of key \"web\" is not 64 hexadecimal digits"
        );
        let stopped = br#"{"generation": 1, "keys": [{"name": "web", "sha256": "", "rateLimit": {"eventsPerSecond": 0}}]}"#;
        assert!(
            matches!(parse(stopped), Err(Error::Shape { .. })),
            "no rate stops a key: it is left out instead"
        );
    }
}
