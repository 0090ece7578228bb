//! (origin, credential, key snapshot, now) → `Project`, or a refusal.
//!
//! A browser is known by its origin, which a page cannot forge; everything else by a key. A key without origins of its
//! own may be used from every origin of the service.

use std::sync::Arc;

use crate::event::Project;
use crate::event::RawBatch;
use crate::keys::Entry;
use crate::keys::KeySnapshot;
use crate::keys::Scope;

/// Scope that a key needs to send events.
pub const CAPTURE: &str = "capture";
/// Scope that a key needs to send OpenTelemetry's signals.
pub const OTLP: &str = "otlp";

/// What a request shows to be let in.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// Origin of the page that sends it, as browsers say it.
    pub origin: Option<&'a str>,
    /// Text of a key.
    pub credential: Option<&'a str>,
    /// What it wants to send.
    pub scope: Scope,
}

/// Who was let in.
#[derive(Debug, Clone)]
pub struct Admitted {
    /// Whom the request writes for.
    pub project: Project,
    /// The key that it was let in by; none for a listed origin without one.
    pub maybe_key: Option<Arc<Entry>>,
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
        None if keys.entries().is_empty() => Err(Refusal::Key),
        None => Ok(()),
    }
}

/// Whether a browser on this origin may talk to the service at all.
pub fn is_listed(origin: &str, origins: &[String], keys: &KeySnapshot) -> bool {
    contains(origins, origin) || keys.lists(origin)
}

/// Whether the service itself lists the origin, so that requests from it need no key.
pub fn is_own(origin: &str, origins: &[String]) -> bool {
    contains(origins, origin)
}

/// Decides for whom a request writes.
pub fn authenticate(
    claim: Claim<'_>,
    origins: &[String],
    keys: &KeySnapshot,
    now: i64,
) -> Result<Admitted, Refusal> {
    let Claim { origin, credential, scope } = claim;
    precheck(origin, origins, keys)?;
    let Some(credential) = credential else {
        return match origin {
            Some(origin) if contains(origins, origin) && scope == Scope::Capture => {
                Ok(Admitted { project: Project { key_name: "".into() }, maybe_key: None })
            }
            _ => Err(Refusal::Key),
        };
    };
    let entry = keys.find(credential, scope, now).ok_or(Refusal::Key)?;
    let allowed = if entry.key.origins.is_empty() { origins } else { &entry.key.origins };
    if origin.is_some_and(|origin| !contains(allowed, origin)) {
        return Err(Refusal::Origin);
    }
    let project = Project { key_name: Arc::clone(&entry.key.name) };
    Ok(Admitted { project, maybe_key: Some(Arc::clone(entry)) })
}

fn contains(origins: &[String], origin: &str) -> bool {
    origins.iter().any(|listed| listed == origin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::RawEvent;
    use crate::keys::Key;
    use rstest::rstest;
    use sha2::Digest as _;
    use sha2::Sha256;

    const APP: &str = "https://app.example";
    const NOW: i64 = 1_000;

    fn key(name: &str, secret: &str) -> Key {
        Key {
            name: name.into(),
            generation: 1,
            sha256: Sha256::digest(secret.as_bytes()).into(),
            scopes: vec![Scope::Capture],
            origins: Vec::new(),
            valid_from: None,
            valid_until: None,
            maybe_rate: None,
        }
    }

    fn snapshot() -> KeySnapshot {
        let keys = vec![
            key("open", "open-key"),
            Key { origins: vec!["https://shop.example".into()], ..key("shop", "shop-key") },
            Key { valid_until: Some(NOW), ..key("old", "old-key") },
            Key { valid_from: Some(NOW + 1), ..key("next", "next-key") },
            Key { scopes: vec![Scope::Otlp], ..key("otlp", "otlp-key") },
        ];
        KeySnapshot::new(1, keys, None, &KeySnapshot::default())
    }

    fn check(scope: Scope, origin: Option<&str>, credential: Option<&str>) -> Result<String, Refusal> {
        let claim = Claim { origin, credential, scope };
        authenticate(claim, &[APP.to_owned()], &snapshot(), NOW)
            .map(|admitted| admitted.project.key_name.to_string())
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
        assert_eq!(check(Scope::Capture, origin, credential), expected.map(str::to_owned));
    }

    #[test]
    fn signals_need_a_key_of_their_scope_and_an_origin_is_none() {
        assert_eq!(check(Scope::Otlp, None, Some("otlp-key")), Ok("otlp".to_owned()));
        assert_eq!(check(Scope::Otlp, None, Some("open-key")), Err(Refusal::Key));
        assert_eq!(check(Scope::Otlp, Some(APP), None), Err(Refusal::Key));
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
