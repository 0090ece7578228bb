//! (origin, credential, key snapshot, now) → `Project`, or a refusal.
//!
//! In the seed's dialect a browser is known by its origin, which a page cannot forge; everything else by a key. A key
//! without origins of its own may be used from every origin of the service.
//!
//! In PostHog's dialect everybody shows a key, which pages and apps carry openly, and an origin only limits where it may
//! be used. With origins listed at the key those count, else those of the service; where neither lists any, pages of
//! every origin may send with the key, as PostHog's own service lets them. An origin that the service lists is a
//! credential by itself there too, so that the seed's pages go on working.

use std::borrow::Cow;
use std::sync::Arc;

use crate::decode::string;
use crate::event::Dialect;
use crate::event::Project;
use crate::event::RawBatch;
use crate::event::RawEvent;
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
    /// The wire it uses.
    pub dialect: Dialect,
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
    /// The events name more than one key, and no envelope names one for all of them.
    #[error("the events of a request must not name different project keys")]
    MixedTokens,
    /// The origin may not send.
    #[error("the origin is not allowed")]
    Origin,
    /// No key where one is needed.
    #[error("a valid api_key is required, and the request names none (api_key or token)")]
    NoKey,
    /// A key that is not known (any more).
    #[error("a valid api_key is required, and this one is not known or not valid now")]
    Key,
    /// A key that PostHog gives to persons.
    #[error("a project key is required, and this is a personal key (phx_)")]
    PersonalKey,
}

/// The one key of a request; values are trimmed and blanks are no keys.
pub fn credential<'a>(batch: &'a RawBatch<'a>) -> Result<Option<Cow<'a, str>>, Refusal> {
    match batch.dialect {
        Dialect::Seed => {
            let given = batch.events.iter().map(|event| event.api_key.as_deref());
            agreed(
                given.chain([batch.api_key.as_deref()]).map(|key| key.map(Cow::Borrowed)),
                Refusal::MixedKeys,
            )
        }
        Dialect::Posthog => match present(batch.api_key.as_deref().map(Cow::Borrowed)) {
            Some(key) => Ok(Some(key)),
            None => agreed(batch.events.iter().map(token), Refusal::MixedTokens),
        },
    }
}

/// The key of one event: its own, or that of its properties.
fn token<'a>(event: &'a RawEvent<'a>) -> Option<Cow<'a, str>> {
    let own = present(event.api_key.as_deref().map(Cow::Borrowed));
    own.or_else(|| string(event.properties.as_ref()?.token()?))
}

fn agreed<'a>(
    given: impl Iterator<Item = Option<Cow<'a, str>>>,
    mixed: Refusal,
) -> Result<Option<Cow<'a, str>>, Refusal> {
    let mut found = None;
    for key in given.filter_map(present) {
        match &found {
            None => found = Some(key),
            Some(other) if *other == key => {}
            Some(_) => return Err(mixed),
        }
    }
    Ok(found)
}

/// The key without spaces around it, unless nothing is left.
fn present(key: Option<Cow<'_, str>>) -> Option<Cow<'_, str>> {
    let key = match key? {
        Cow::Borrowed(key) => Cow::Borrowed(key.trim()),
        Cow::Owned(key) => Cow::Owned(key.trim().to_owned()),
    };
    (!key.is_empty()).then_some(key)
}

/// What is known before the body is read: the origin, and whether any key could help.
///
/// An origin that can be let in by nothing is refused, and so is a request that could only be let in by a key when there
/// is none.
pub fn precheck(
    origin: Option<&str>,
    origins: &[String],
    keys: &KeySnapshot,
    dialect: Dialect,
) -> Result<(), Refusal> {
    match origin {
        Some(origin) if contains(origins, origin) => Ok(()),
        Some(origin) if !is_welcome(origin, origins, keys, dialect) => Err(Refusal::Origin),
        Some(_) | None if keys.entries().is_empty() => Err(Refusal::Key),
        Some(_) | None => Ok(()),
    }
}

/// Whether a browser on this origin may talk to the service at all.
pub fn is_welcome(origin: &str, origins: &[String], keys: &KeySnapshot, dialect: Dialect) -> bool {
    let is_open = || {
        let limits_none = keys.entries().iter().any(|entry| entry.key.origins.is_empty());
        dialect == Dialect::Posthog && origins.is_empty() && (limits_none || keys.entries().is_empty())
    };
    contains(origins, origin) || keys.lists(origin) || is_open()
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
    let Claim { origin, credential, scope, dialect } = claim;
    precheck(origin, origins, keys, dialect)?;
    let Some(credential) = credential else {
        return match origin {
            Some(origin) if contains(origins, origin) && scope == Scope::Capture => {
                Ok(Admitted { project: Project { key_name: "".into() }, maybe_key: None })
            }
            _ => Err(Refusal::NoKey),
        };
    };
    let Some(entry) = keys.find(credential, scope, now) else {
        return Err(if credential.starts_with("phx_") { Refusal::PersonalKey } else { Refusal::Key });
    };
    let allowed = if entry.key.origins.is_empty() { origins } else { &entry.key.origins };
    let is_open = dialect == Dialect::Posthog && allowed.is_empty();
    if origin.is_some_and(|origin| !is_open && !contains(allowed, origin)) {
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
        let claim = Claim { origin, credential, scope, dialect: Dialect::Seed };
        authenticate(claim, &[APP.to_owned()], &snapshot(), NOW)
            .map(|admitted| admitted.project.key_name.to_string())
    }

    fn check_posthog(
        origins: &[&str],
        origin: Option<&str>,
        credential: Option<&str>,
    ) -> Result<String, Refusal> {
        let origins: Vec<_> = origins.iter().map(|origin| (*origin).to_owned()).collect();
        let claim = Claim { origin, credential, scope: Scope::Capture, dialect: Dialect::Posthog };
        authenticate(claim, &origins, &snapshot(), NOW).map(|admitted| admitted.project.key_name.to_string())
    }

    #[rstest]
    #[case::any_page_of_an_open_service(&[], Some("https://any.example"), Some("open-key"), Ok("open"))]
    #[case::a_sandboxed_frame(&[], Some("null"), Some("open-key"), Ok("open"))]
    #[case::no_page(&[], None, Some("open-key"), Ok("open"))]
    #[case::a_key_with_a_list(&[], Some("https://any.example"), Some("shop-key"), Err(Refusal::Origin))]
    #[case::the_list_of_the_key(&[], Some("https://shop.example"), Some("shop-key"), Ok("shop"))]
    #[case::the_list_of_the_service(&[APP], Some(APP), Some("open-key"), Ok("open"))]
    #[case::not_on_that_list(&[APP], Some("https://any.example"), Some("open-key"), Err(Refusal::Origin))]
    #[case::an_origin_is_no_key(&[], Some("https://any.example"), None, Err(Refusal::NoKey))]
    #[case::a_listed_one_is(&[APP], Some(APP), None, Ok(""))]
    #[case::unknown(&[], Some("https://any.example"), Some("wrong"), Err(Refusal::Key))]
    #[case::personal(&[], None, Some("phx_x"), Err(Refusal::PersonalKey))]
    fn posthogs_keys_are_open_where_no_origin_is_listed(
        #[case] origins: &[&str],
        #[case] origin: Option<&str>,
        #[case] credential: Option<&str>,
        #[case] expected: Result<&str, Refusal>,
    ) {
        assert_eq!(check_posthog(origins, origin, credential), expected.map(str::to_owned));
    }

    #[rstest]
    #[case(r#"{"api_key":" k ","batch":[{"token":"other"}]}"#, Ok(Some("k")))]
    #[case(
        r#"[{"token":"k","properties":{"token":"other"}},{"properties":{"token":"k"}},{}]"#,
        Ok(Some("k"))
    )]
    #[case(r#"[{"token":"k"},{"properties":{"token":"j"}}]"#, Err(Refusal::MixedTokens))]
    #[case(r#"{"api_key":"","batch":[{"$token":"k"}]}"#, Ok(Some("k")))]
    #[case(r#"{"event":"a","properties":{"token":"k"}}"#, Ok(Some("k")))]
    #[case(r#"[{"properties":{"token":" "}}]"#, Ok(None))]
    fn the_envelopes_key_wins_and_others_must_agree(
        #[case] body: &str,
        #[case] expected: Result<Option<&str>, Refusal>,
    ) {
        let batch = crate::decode::posthog::decode(body.as_bytes(), 9).unwrap();
        assert_eq!(
            credential(&batch).map(|key| key.map(Cow::into_owned)),
            expected.map(|key| key.map(str::to_owned))
        );
    }

    #[rstest]
    #[case(Some(APP), None, Ok(""))]
    #[case(Some(APP), Some("open-key"), Ok("open"))]
    #[case(Some(APP), Some("wrong"), Err(Refusal::Key))]
    #[case(Some("http://app.example"), Some("open-key"), Err(Refusal::Origin))]
    #[case(Some("https://app.example:444"), None, Err(Refusal::Origin))]
    #[case(Some("null"), Some("open-key"), Err(Refusal::Origin))]
    #[case(None, Some("open-key"), Ok("open"))]
    #[case(None, None, Err(Refusal::NoKey))]
    #[case(None, Some("wrong"), Err(Refusal::Key))]
    #[case(None, Some("shop-key"), Ok("shop"))]
    #[case(Some("https://shop.example"), Some("shop-key"), Ok("shop"))]
    #[case(Some("https://shop.example"), Some("open-key"), Err(Refusal::Origin))]
    #[case(Some("https://shop.example"), None, Err(Refusal::NoKey))]
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
        assert_eq!(check(Scope::Otlp, Some(APP), None), Err(Refusal::NoKey));
    }

    #[test]
    fn without_keys_and_origin_nothing_is_read() {
        let precheck = |origin, keys: &KeySnapshot, dialect| precheck(origin, &[], keys, dialect);
        for dialect in [Dialect::Seed, Dialect::Posthog] {
            assert_eq!(precheck(None, &KeySnapshot::default(), dialect), Err(Refusal::Key));
            assert_eq!(precheck(None, &snapshot(), dialect), Ok(()));
        }
        assert_eq!(precheck(Some(APP), &snapshot(), Dialect::Seed), Err(Refusal::Origin));
        assert_eq!(precheck(Some(APP), &snapshot(), Dialect::Posthog), Ok(()));
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
        assert_eq!(credential(&same), Ok(Some("k".into())));
        assert_eq!(credential(&batch(Some("j"), vec![event("k")])), Err(Refusal::MixedKeys));
        assert_eq!(credential(&batch(Some(""), vec![])), Ok(None));
    }
}
