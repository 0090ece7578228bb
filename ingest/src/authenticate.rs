//! (origin, credential, key snapshot, now) → `Project`, or a refusal.
//!
//! A browser is known by its origin, which a page cannot forge; everything else by a key. Keys are compared as hashes,
//! in constant time, against all that are known, so neither content nor position shows in the time taken.

use std::sync::Arc;

use sha2::Digest as _;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::event::Project;
use crate::event::RawBatch;

/// Scope that a key needs to send events.
pub const CAPTURE: &str = "capture";

/// The keys that are known at one moment.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct KeySnapshot {
    /// Generation of the file; 0 without one.
    pub generation: u64,
    /// Keys of the environment, then those of the file.
    pub keys: Vec<Key>,
}

/// One key, known by its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Name that is stored with each event.
    pub name: Arc<str>,
    /// SHA-256 of the key.
    pub sha256: [u8; 32],
    /// Whether it may send events.
    pub may_capture: bool,
    /// Origins that may use it; any when empty. Requests without an origin may always use it.
    pub origins: Vec<String>,
    /// First moment, in microseconds since 1970.
    pub valid_from: Option<i64>,
    /// Moment from which it is refused, in microseconds since 1970.
    pub valid_until: Option<i64>,
}

/// Why a request is not authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The events name more than one key.
    #[error("a request must not hold more than one api_key")]
    MixedKeys,
    /// The origin may not send.
    #[error("the origin is not allowed")]
    Origin,
    /// No key, or one that is not known (any more).
    #[error("a valid api_key is required")]
    Key,
}

/// The one key of a request; values are trimmed and blanks are no keys.
pub fn credential<'a>(batch: &'a RawBatch<'a>) -> Result<Option<&'a str>, Refusal> {
    let mut found = None;
    for given in batch.events.iter().map(|event| &event.api_key).chain([&batch.api_key]) {
        let Some(key) = given.as_deref().map(str::trim).filter(|key| !key.is_empty()) else { continue };
        match found {
            None => found = Some(key),
            Some(other) if other == key => {}
            Some(_) => return Err(Refusal::MixedKeys),
        }
    }
    Ok(found)
}

/// What is known before the body is read: the origin, and whether any key could help.
///
/// An origin that neither the service nor any key lists is refused, and so is a request that could only be let in by a
/// key when there is none.
pub fn precheck(origin: Option<&str>, origins: &[String], keys: &KeySnapshot) -> Result<(), Refusal> {
    match origin {
        Some(origin) if is_listed(origin, origins, keys) => Ok(()),
        Some(_) => Err(Refusal::Origin),
        None if keys.keys.is_empty() => Err(Refusal::Key),
        None => Ok(()),
    }
}

/// Whether a browser on this origin may talk to the service at all.
pub fn is_listed(origin: &str, origins: &[String], keys: &KeySnapshot) -> bool {
    contains(origins, origin) || keys.keys.iter().any(|key| contains(&key.origins, origin))
}

/// Decides for whom a request writes.
pub fn authenticate(
    origin: Option<&str>,
    credential: Option<&str>,
    origins: &[String],
    keys: &KeySnapshot,
    now: i64,
) -> Result<Project, Refusal> {
    precheck(origin, origins, keys)?;
    let Some(credential) = credential else {
        return match origin {
            Some(origin) if contains(origins, origin) => Ok(Project { key_name: "".into() }),
            _ => Err(Refusal::Key),
        };
    };
    let key = find(credential, keys, now).ok_or(Refusal::Key)?;
    match origin {
        Some(origin) if !key.origins.is_empty() && !contains(&key.origins, origin) => Err(Refusal::Origin),
        // Listed only by another key: this one does not open it.
        Some(origin) if key.origins.is_empty() && !contains(origins, origin) => Err(Refusal::Origin),
        _ => Ok(Project { key_name: Arc::clone(&key.name) }),
    }
}

fn find<'k>(credential: &str, keys: &'k KeySnapshot, now: i64) -> Option<&'k Key> {
    let hash = Sha256::digest(credential.as_bytes());
    let mut found = None;
    for key in &keys.keys {
        let is_equal = bool::from(key.sha256[..].ct_eq(&hash[..]));
        if is_equal && key.is_usable(now) && found.is_none() {
            found = Some(key);
        }
    }
    found
}

impl Key {
    fn is_usable(&self, now: i64) -> bool {
        self.may_capture
            && self.valid_from.is_none_or(|from| from <= now)
            && self.valid_until.is_none_or(|until| now < until)
    }
}

fn contains(origins: &[String], origin: &str) -> bool {
    origins.iter().any(|listed| listed == origin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::RawEvent;
    use rstest::rstest;

    const APP: &str = "https://app.example";
    const NOW: i64 = 1_000;

    fn key(name: &str, secret: &str) -> Key {
        Key {
            name: name.into(),
            sha256: Sha256::digest(secret.as_bytes()).into(),
            may_capture: true,
            origins: Vec::new(),
            valid_from: None,
            valid_until: None,
        }
    }

    fn snapshot() -> KeySnapshot {
        let keys = vec![
            key("open", "open-key"),
            Key { origins: vec!["https://shop.example".into()], ..key("shop", "shop-key") },
            Key { valid_until: Some(NOW), ..key("old", "old-key") },
            Key { valid_from: Some(NOW + 1), ..key("next", "next-key") },
            Key { may_capture: false, ..key("otlp", "otlp-key") },
        ];
        KeySnapshot { generation: 1, keys }
    }

    fn check(origin: Option<&str>, credential: Option<&str>) -> Result<String, Refusal> {
        let origins = [APP.to_owned()];
        authenticate(origin, credential, &origins, &snapshot(), NOW)
            .map(|project| project.key_name.to_string())
    }

    #[rstest]
    #[case(Some(APP), None, Ok(""))]
    #[case(Some(APP), Some("open-key"), Ok("open"))]
    #[case(Some(APP), Some("wrong"), Err(Refusal::Key))]
    #[case(Some("http://app.example"), Some("open-key"), Err(Refusal::Origin))]
    #[case(Some("https://app.example:444"), None, Err(Refusal::Origin))]
    #[case(Some("null"), Some("open-key"), Err(Refusal::Origin))]
    #[case(None, Some("open-key"), Ok("open"))]
    #[case(None, None, Err(Refusal::Key))]
    #[case(None, Some("wrong"), Err(Refusal::Key))]
    #[case(None, Some("shop-key"), Ok("shop"))]
    #[case(Some("https://shop.example"), Some("shop-key"), Ok("shop"))]
    #[case(Some("https://shop.example"), Some("open-key"), Err(Refusal::Origin))]
    #[case(Some("https://shop.example"), None, Err(Refusal::Key))]
    #[case(Some(APP), Some("shop-key"), Err(Refusal::Origin))]
    #[case(None, Some("old-key"), Err(Refusal::Key))]
    #[case(None, Some("next-key"), Err(Refusal::Key))]
    #[case(None, Some("otlp-key"), Err(Refusal::Key))]
    fn origin_and_key_decide(
        #[case] origin: Option<&str>,
        #[case] credential: Option<&str>,
        #[case] expected: Result<&str, Refusal>,
    ) {
        assert_eq!(check(origin, credential), expected.map(str::to_owned));
    }

    #[test]
    fn without_keys_and_origin_nothing_is_read() {
        assert_eq!(precheck(None, &[], &KeySnapshot::default()), Err(Refusal::Key));
        assert_eq!(precheck(Some(APP), &[], &snapshot()), Err(Refusal::Origin));
        assert_eq!(precheck(None, &[], &snapshot()), Ok(()));
    }

    #[test]
    fn one_key_may_be_repeated_and_two_are_refused() {
        let event = |key: &'static str| RawEvent { api_key: Some(key.into()), ..RawEvent::default() };
        let batch = |top: Option<&'static str>, events| RawBatch {
            api_key: top.map(Into::into),
            events,
            ..RawBatch::default()
        };
        let same = batch(Some(" k "), vec![event("k"), event(" ")]);
        assert_eq!(credential(&same), Ok(Some("k")));
        assert_eq!(credential(&batch(Some("j"), vec![event("k")])), Err(Refusal::MixedKeys));
        assert_eq!(credential(&batch(Some(""), vec![])), Ok(None));
    }
}
