//! Who a distinct id is, as a pure function, and what an event says about persons.
//!
//! Nothing is looked up: facts are small rows that ClickHouse merges in any order, so replicas, retries and
//! late deliveries cannot disagree.

use std::borrow::Cow;
use std::fmt;

use serde::de::Deserialize;
use serde::de::Deserializer;
use serde::de::IgnoredAny;
use serde::de::MapAccess;
use serde::de::Visitor;
use serde_json::value::RawValue;
use sha1::Digest as _;
use sha1::Sha1;
use uuid::Uuid;

use crate::decode::Text;
use crate::decode::json;
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

/// The facts of one event. `$set` and `$set_once` on other events stay in their JSON, as in the seed.
pub(crate) fn facts<'a>(event: &str, distinct_id: &str, claims: Claims<'a>) -> Vec<Fact<'a>> {
    let mut facts = Vec::new();
    let is_personless = claims.process_person_profile.is_some_and(|value| value.get() == "false");
    if claims.dialect == Dialect::Posthog && is_personless {
        return facts;
    }
    let (link, kind) = match event {
        "$identify" => (claims.anonymous_id, LinkKind::Identify),
        "$create_alias" => (claims.alias, LinkKind::Alias),
        _ => (None, LinkKind::Identify),
    };
    if let Some(linked_id) = link.filter(|linked_id| may_link(distinct_id, linked_id)) {
        facts.push(Fact::Link { linked_id, kind });
    }
    if matches!(event, "$identify" | "$set") {
        facts.push(Fact::Person { is_identified: event == "$identify" });
        facts.extend(entries(claims.set).map(|(key, value)| Fact::Set { key, value }));
        facts.extend(entries(claims.set_once).map(|(key, value)| Fact::SetOnce { key, value }));
    }
    facts
}

/// Ids that broken clients send for everybody. A link to one of them would join all their users into one person.
const NOBODY: [&str; 18] = [
    "",
    "0",
    "-1",
    "anonymous",
    "distinct_id",
    "email",
    "false",
    "guest",
    "id",
    "nan",
    "nil",
    "none",
    "not_authenticated",
    "null",
    "true",
    "undefined",
    "[object object]",
    "00000000-0000-0000-0000-000000000000",
];

fn may_link(one: &str, other: &str) -> bool {
    one != other && !is_nobody(one) && !is_nobody(other)
}

fn is_nobody(distinct_id: &str) -> bool {
    let distinct_id = distinct_id.trim();
    NOBODY.iter().any(|nobody| distinct_id.eq_ignore_ascii_case(nobody))
}

/// Properties of a person that one event can set with one operation. Each becomes a row many times as long as its
/// text, so their number bounds memory; the event's own row keeps whatever is beyond.
const MAX_PROPERTIES: usize = 1000;

/// The first entries of a JSON object; none when it is something else.
fn entries<'a>(object: Option<&'a RawValue>) -> impl Iterator<Item = (Cow<'a, str>, &'a str)> {
    let parsed = object.and_then(|object| json::from_str::<Entries<'a>>(object.get()).ok());
    parsed.map(|entries| entries.0).unwrap_or_default().into_iter()
}

struct Entries<'a>(Vec<(Cow<'a, str>, &'a str)>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Entries<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<'de>, A::Error> {
        let mut entries = Vec::new();
        while entries.len() < MAX_PROPERTIES {
            let Some((key, value)) = map.next_entry::<Text<'de>, &'de RawValue>()? else {
                return Ok(Entries(entries));
            };
            entries.push((key.0, value.get()));
        }
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Entries(entries))
    }
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
            Fact::Set { key: "plan".into(), value: "\"team\"" },
            Fact::Set { key: "n".into(), value: "1" },
            Fact::SetOnce { key: "first".into(), value: "null" },
        ];
        assert_eq!(facts("$identify", "u1", claims), expected);
    }

    #[rstest]
    #[case("u1", "u1")]
    #[case("u1", " ")]
    #[case("u1", "Undefined")]
    #[case("null", "anon")]
    #[case("u1", "00000000-0000-0000-0000-000000000000")]
    fn an_id_for_everybody_is_not_linked(#[case] distinct_id: &str, #[case] alias: &str) {
        let claims = Claims { alias: Some(alias.into()), ..Claims::default() };
        assert_eq!(facts("$create_alias", distinct_id, claims), vec![]);
    }

    #[test]
    fn properties_beyond_the_limit_are_left_to_the_event() {
        let object: serde_json::Map<_, _> =
            (0..=MAX_PROPERTIES).map(|key| (format!("k{key}"), true.into())).collect();
        let json = serde_json::Value::Object(object).to_string();
        let claims = Claims { set: Some(raw(&json)), ..Claims::default() };
        assert_eq!(facts("$set", "u1", claims).len(), 1 + MAX_PROPERTIES);
    }

    #[test]
    fn set_that_is_no_object_says_nothing() {
        let claims = Claims { set: Some(raw("[1]")), ..Claims::default() };
        assert_eq!(facts("$set", "u1", claims), vec![Fact::Person { is_identified: false }]);
    }
}
