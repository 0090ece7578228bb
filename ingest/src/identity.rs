//! Who a distinct id is, and what an event says about persons.
//!
//! Nothing is looked up and nothing is read back: an event becomes small facts that ClickHouse merges in any order, so
//! replicas, retries and late deliveries cannot disagree. The views of `migrations/0001_product.sql` resolve the facts.
//! They answer as one process would that had handled every event alone and in order, and the scenario `identity`
//! compares them with such a process. The order is (time of the event, id of the event), never that of arrival.
//!
//! # Properties
//! - One event acts in the order `$set_once`, `$set`, `$unset`. `$set_once` fills a key that is absent (a stored null is
//!   present), `$set` overwrites, `$unset` removes, and a later `$set_once` may fill the key again.
//! - In PostHog's dialect any event may carry them, except `$exception` and `$$heatmap`; in the seed's only `$identify`
//!   and `$set`. `$process_person_profile: false` takes everything about persons away, links included.
//! - A person has what all its ids were told, in the one order: joining two ids never loses an operation.
//!
//! # Links
//! A link says that an id (the anonymous id, the alias: the *source*) is the person of another id (the *target*):
//!
//! - Never said: links of an id to itself, and links from or to ids that clients send for everybody.
//! - An id is *known* from the moment at which an `$identify` names it or a link names it as target, whether or not that
//!   link is then refused: it stands for somebody. `$identify` and `$create_alias` fold their source into the target
//!   when it is not known before and no link named it as source before; else they are refused. So two people who were
//!   both identified stay two, a device that two people share stays with the first, and an id is folded once.
//! - `$merge_dangerously` is never refused: it folds its source, with all that was folded into it, into the target,
//!   whatever the source was folded into before. Of several merges of one source the last counts.
//! - A person is all ids that accepted folds lead to the same end, however long the way. The id at the end, which was
//!   never folded, names the person; in a circle, which only merges can make, the smallest person id of it does.
//!
//! A source that is not known is a person of one id, so nothing but its own facts decides about a link of it. That is
//! why acceptance needs no history, and why a late fact changes only what it is about.

mod entries;
mod nobody;

use std::borrow::Cow;

use serde_json::value::RawValue;
use sha1::Digest as _;
use sha1::Sha1;
use uuid::Uuid;

use self::entries::entries;
use self::entries::keys;
use self::nobody::is_nobody;
use crate::event::Dialect;
use crate::event::Fact;
use crate::event::LinkKind;

/// The person of a distinct id alone: SHA-1 of its bytes in the shape of a version 5 UUID, without a namespace.
pub fn person_id(distinct_id: &str) -> Uuid {
    let digest = Sha1::digest(distinct_id.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_sha1_bytes(bytes).into_uuid()
}

/// What an event says about persons.
#[derive(Debug, Default)]
pub(crate) struct Claims<'a> {
    pub(crate) dialect: Dialect,
    /// `$set`, `$set_once` and `$unset` of the properties.
    pub(crate) set: Option<&'a RawValue>,
    pub(crate) set_once: Option<&'a RawValue>,
    pub(crate) unset: Option<&'a RawValue>,
    /// The same beside the properties; each key of these beats that of the properties.
    pub(crate) top_set: Option<&'a RawValue>,
    pub(crate) top_set_once: Option<&'a RawValue>,
    pub(crate) top_unset: Option<&'a RawValue>,
    /// `$process_person_profile`, as written.
    pub(crate) process_person_profile: Option<&'a RawValue>,
    pub(crate) anonymous_id: Option<Cow<'a, str>>,
    pub(crate) alias: Option<Cow<'a, str>>,
}

impl Claims<'_> {
    fn has_operations(&self) -> bool {
        let Self { set, set_once, unset, top_set, top_set_once, top_unset, .. } = self;
        [set, set_once, unset, top_set, top_set_once, top_unset].into_iter().any(Option::is_some)
    }
}

/// The facts of one event; properties of the event itself stay in its JSON.
pub(crate) fn facts<'a>(event: &str, distinct_id: &str, claims: Claims<'a>) -> Vec<Fact<'a>> {
    let is_personless = claims.process_person_profile.is_some_and(|value| value.get() == "false");
    if claims.dialect == Dialect::Posthog && is_personless {
        return Vec::new();
    }
    let is_identified = event == "$identify";
    let is_asked = claims.has_operations() && may_have_operations(event, claims.dialect);
    let mut operations = if is_asked { operations(&claims) } else { Vec::new() };
    let mut facts = Vec::new();
    facts.extend(link(event, distinct_id, claims));
    if matches!(event, "$identify" | "$set") || !operations.is_empty() {
        facts.push(Fact::Person { is_identified });
    }
    facts.append(&mut operations);
    facts
}

fn may_have_operations(event: &str, dialect: Dialect) -> bool {
    match dialect {
        Dialect::Seed => matches!(event, "$identify" | "$set"),
        Dialect::Posthog => !matches!(event, "$exception" | "$$heatmap"),
    }
}

fn operations<'a>(claims: &Claims<'a>) -> Vec<Fact<'a>> {
    let set = entries(claims.set, claims.top_set).map(|(key, value)| Fact::Set { key, value });
    let set_once =
        entries(claims.set_once, claims.top_set_once).map(|(key, value)| Fact::SetOnce { key, value });
    let unset = keys(claims.unset, claims.top_unset).map(|key| Fact::Unset { key });
    set.chain(set_once).chain(unset).collect()
}

fn link<'a>(event: &str, distinct_id: &str, claims: Claims<'a>) -> Option<Fact<'a>> {
    let (linked_id, kind) = match event {
        "$identify" => (claims.anonymous_id, LinkKind::Identify),
        "$create_alias" => (claims.alias, LinkKind::Alias),
        "$merge_dangerously" if claims.dialect == Dialect::Posthog => (claims.alias, LinkKind::Merge),
        _ => return None,
    };
    let linked_id = linked_id.filter(|linked_id| may_link(distinct_id, linked_id))?;
    Some(Fact::Link { linked_id, kind })
}

fn may_link(one: &str, other: &str) -> bool {
    one != other && !is_nobody(one) && !is_nobody(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[test]
    fn the_person_id_is_the_seeds() {
        assert_eq!(person_id("u1").to_string(), "c5ea7155-4c77-5daf-bfab-320fc3476afc");
    }

    fn raw(json: &str) -> &RawValue {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn identify_links_and_sets() {
        let claims = Claims {
            set: Some(raw(r#"{"plan": "team", "n": 1}"#)),
            set_once: Some(raw(r#"{"first":null}"#)),
            anonymous_id: Some("anon-1".into()),
            alias: Some("ignored".into()),
            ..Claims::default()
        };
        let expected = vec![
            Fact::Link { linked_id: "anon-1".into(), kind: LinkKind::Identify },
            Fact::Person { is_identified: true },
            Fact::Set { key: "n".into(), value: "1" },
            Fact::Set { key: "plan".into(), value: "\"team\"" },
            Fact::SetOnce { key: "first".into(), value: "null" },
        ];
        assert_eq!(facts("$identify", "u1", claims), expected);
    }

    #[rstest]
    #[case("u1", "u1")]
    #[case("u1", " ")]
    #[case("u1", "Undefined")]
    #[case("null", "anon")]
    #[case("u1", "'None'")]
    #[case("\"guest\"", "anon")]
    #[case("u1", "00000000-0000-0000-0000-000000000000")]
    fn an_id_for_everybody_is_not_linked(#[case] distinct_id: &str, #[case] alias: &str) {
        let claims = Claims { alias: Some(alias.into()), ..Claims::default() };
        assert_eq!(facts("$create_alias", distinct_id, claims), vec![]);
    }

    #[test]
    fn properties_beyond_the_limit_are_left_to_the_event() {
        let object: serde_json::Map<_, _> =
            (0..=entries::MAX_PROPERTIES).map(|key| (format!("k{key}"), true.into())).collect();
        let json = serde_json::Value::Object(object).to_string();
        let claims = Claims { set: Some(raw(&json)), ..Claims::default() };
        assert_eq!(facts("$set", "u1", claims).len(), 1 + entries::MAX_PROPERTIES);
    }

    #[test]
    fn set_that_is_no_object_says_nothing() {
        let claims = Claims { set: Some(raw("[1]")), ..Claims::default() };
        assert_eq!(facts("$set", "u1", claims), vec![Fact::Person { is_identified: false }]);
    }

    #[test]
    fn any_event_of_posthog_may_change_a_person_and_one_without_a_profile_changes_none() {
        let claims = |profile| Claims {
            dialect: Dialect::Posthog,
            top_set_once: Some(raw(r#"{"a":1}"#)),
            unset: Some(raw(r#"["b"]"#)),
            process_person_profile: Some(raw(profile)),
            alias: Some("other".into()),
            ..Claims::default()
        };
        let expected = vec![
            Fact::Person { is_identified: false },
            Fact::SetOnce { key: "a".into(), value: "1" },
            Fact::Unset { key: "b".into() },
        ];
        assert_eq!(facts("bought", "u1", claims("true")), expected);
        let merge = facts("$merge_dangerously", "u1", claims("\"odd\""));
        assert_eq!(merge[0], Fact::Link { linked_id: "other".into(), kind: LinkKind::Merge });
        for event in ["bought", "$identify", "$create_alias", "$merge_dangerously", "$set"] {
            assert_eq!(facts(event, "u1", claims("false")), vec![]);
        }
        assert_eq!(facts("$exception", "u1", claims("true")), vec![]);
    }

    #[test]
    fn in_the_seeds_dialect_other_events_change_no_person() {
        let claims = Claims { set: Some(raw(r#"{"a":1}"#)), alias: Some("x".into()), ..Claims::default() };
        assert_eq!(facts("$merge_dangerously", "u1", claims), vec![]);
    }
}
