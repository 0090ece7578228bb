//! The format of the keys file. Pure.

use std::io;

use serde::Deserialize;

use crate::authenticate::CAPTURE;
use crate::authenticate::Key;
use crate::authenticate::KeySnapshot;

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
    sha256: String,
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default)]
    origins: Vec<String>,
    valid_from: Option<jiff::Timestamp>,
    valid_until: Option<jiff::Timestamp>,
}

/// Parses the file.
pub(super) fn parse(text: &[u8]) -> Result<KeySnapshot, Error> {
    let file: File = serde_json::from_slice(text)
        .map_err(|error| Error::Shape { line: error.line(), column: error.column() })?;
    let keys = file.keys.into_iter().map(key).collect::<Result<_, _>>()?;
    Ok(KeySnapshot { generation: file.generation, keys })
}

fn key(key: FileKey) -> Result<Key, Error> {
    let mut sha256 = [0; 32];
    if hex::decode_to_slice(&key.sha256, &mut sha256).is_err() {
        return Err(Error::Hash(key.name));
    }
    Ok(Key {
        name: key.name.into(),
        sha256,
        may_capture: key.scopes.iter().any(|scope| scope == CAPTURE),
        origins: key.origins,
        valid_from: key.valid_from.map(jiff::Timestamp::as_microsecond),
        valid_until: key.valid_until.map(jiff::Timestamp::as_microsecond),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_as_the_operator_writes_it_is_read() {
        let text = br#"{"generation": 3, "keys": [{"name": "web", "generation": 1,
            "sha256": "00000000000000000000000000000000000000000000000000000000000000ff",
            "scopes": ["capture"], "origins": ["https://a.example"], "validUntil": "1970-01-01T00:00:01Z"}]}"#;
        let snapshot = parse(text).unwrap();
        let mut sha256 = [0; 32];
        sha256[31] = 255;
        let expected = Key {
            name: "web".into(),
            sha256,
            may_capture: true,
            origins: vec!["https://a.example".into()],
            valid_from: None,
            valid_until: Some(1_000_000),
        };
        assert_eq!(snapshot, KeySnapshot { generation: 3, keys: vec![expected] });
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
    }
}
