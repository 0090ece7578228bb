//! Operations on properties out of JSON: which keys with which values. Pure.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::Deserialize;
use serde::de::Deserializer;
use serde::de::IgnoredAny;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::Visitor;
use serde_json::value::RawValue;

use crate::decode::Text;
use crate::decode::json;

/// Properties of a person that one event can change with one operation. Each becomes a row many times as long as its
/// text, so their number bounds memory; the event's own row keeps whatever is beyond.
pub(super) const MAX_PROPERTIES: usize = 1000;

/// The entries of two JSON objects, each key once: those of the second win, and of one object the last. What is no
/// object has none.
pub(super) fn entries<'a>(
    object: Option<&'a RawValue>,
    winner: Option<&'a RawValue>,
) -> impl Iterator<Item = (Cow<'a, str>, &'a str)> {
    let parsed = |object: &'a RawValue| json::from_str::<Entries<'a>>(object.get()).ok();
    let both = [object, winner].into_iter().flatten().filter_map(parsed).flat_map(|entries| entries.0);
    // Sorted by key: the same event gives the same rows in the same order.
    let sorted: BTreeMap<_, _> = both.collect();
    sorted.into_iter().take(MAX_PROPERTIES)
}

/// The keys that two values of `$unset` name: a list of keys, or the keys of an object.
pub(super) fn keys<'a>(
    one: Option<&'a RawValue>,
    other: Option<&'a RawValue>,
) -> impl Iterator<Item = Cow<'a, str>> {
    let parsed = |value: &'a RawValue| json::from_str::<Keys<'a>>(value.get()).ok();
    let both = [one, other].into_iter().flatten().filter_map(parsed).flat_map(|keys| keys.0);
    let sorted: BTreeSet<_> = both.collect();
    sorted.into_iter().take(MAX_PROPERTIES)
}

struct Keys<'a>(Vec<Cow<'a, str>>);

impl<'de> Deserialize<'de> for Keys<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KeysVisitor)
    }
}

struct KeysVisitor;

impl<'de> Visitor<'de> for KeysVisitor {
    type Value = Keys<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of keys or an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Keys<'de>, A::Error> {
        Ok(Keys(EntriesVisitor.visit_map(map)?.0.into_iter().map(|(key, _)| key).collect()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Keys<'de>, A::Error> {
        let mut keys = Vec::new();
        while let Some(value) = list.next_element::<&'de RawValue>()? {
            // What is no text names no key.
            if keys.len() < MAX_PROPERTIES
                && let Ok(key) = json::from_str::<Text<'de>>(value.get())
            {
                keys.push(key.0);
            }
        }
        Ok(Keys(keys))
    }
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

    fn raw(json: &str) -> &RawValue {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn each_key_comes_once_and_the_winner_wins() {
        let found: Vec<_> = entries(Some(raw(r#"{"b":1,"a":1,"a":2}"#)), Some(raw(r#"{"b":3}"#))).collect();
        assert_eq!(found, [("a".into(), "2"), ("b".into(), "3")]);
    }

    #[test]
    fn keys_are_those_of_lists_and_objects() {
        let found: Vec<_> = keys(Some(raw(r#"["b",1,"a"]"#)), Some(raw(r#"{"c":null,"a":{}}"#))).collect();
        assert_eq!(found, ["a", "b", "c"]);
        assert_eq!(keys(Some(raw("\"a\"")), Some(raw("null"))).count(), 0);
    }
}
