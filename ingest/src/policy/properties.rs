//! Takes denied properties out of the JSON text of an event, also out of what it sets on its person.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::Deserialize;
use serde::de::Deserializer;
use serde::de::MapAccess;
use serde::de::Visitor;
use serde_json::value::RawValue;

use crate::decode::Text;
use crate::decode::json;

/// Properties whose members are properties of the person.
const PERSON: [&str; 2] = ["$set", "$set_once"];

/// Names of properties that are not kept.
#[derive(Debug)]
pub(super) struct Denied {
    names: HashSet<String>,
    quoted: Vec<String>,
}

impl Denied {
    pub(super) fn new(names: impl Iterator<Item = String>) -> Self {
        let names: HashSet<_> = names.collect();
        let quoted = names.iter().map(|name| format!("\"{name}\"")).collect();
        Self { names, quoted }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// The object without denied members; `None` when it has none.
    pub(super) fn without(&self, object: &str) -> Option<String> {
        // With an escape, a name may be written in many ways.
        let may_hold = |quoted: &String| object.contains(quoted.as_str());
        if !object.contains('\\') && !self.quoted.iter().any(may_hold) {
            return None;
        }
        self.rebuilt(object, true)
    }

    fn rebuilt(&self, object: &str, is_event: bool) -> Option<String> {
        let Members(members) = json::from_str(object).ok()?;
        let mut kept = String::with_capacity(object.len());
        let mut is_changed = false;
        for (name, value) in &members {
            if self.contains(name) {
                is_changed = true;
                continue;
            }
            let inner = if is_event && PERSON.contains(&&**name) && value.get().starts_with('{') {
                self.rebuilt(value.get(), false)
            } else {
                None
            };
            is_changed |= inner.is_some();
            kept.push(if kept.is_empty() { '{' } else { ',' });
            kept.push_str(&serde_json::to_string(name).ok()?);
            kept.push(':');
            kept.push_str(inner.as_deref().unwrap_or(value.get()));
        }
        kept.push_str(if kept.is_empty() { "{}" } else { "}" });
        is_changed.then_some(kept)
    }
}

/// The members of an object, in their order, repeated ones included.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some(name) = map.next_key::<Text<'de>>()? {
            members.push((name.0, map.next_value()?));
        }
        Ok(Members(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;
    use std::collections::BTreeMap;

    fn denied(names: &[&str]) -> Denied {
        Denied::new(names.iter().map(|name| (*name).to_owned()))
    }

    #[rstest]
    #[case(r#"{"email":"a@b","n":1.0}"#, Some(r#"{"n":1.0}"#))]
    #[case(r#"{"email":1}"#, Some("{}"))]
    #[case(r#"{"\u0065mail":1,"n":2}"#, Some(r#"{"n":2}"#))]
    #[case(
        r#"{"a":1,"$set":{"email":"x","b":2},"$set_once":{"email":3}}"#,
        Some(r#"{"a":1,"$set":{"b":2},"$set_once":{}}"#)
    )]
    #[case(r#"{"deep":{"email":1}}"#, None)]
    #[case(r#"{"a":"email","b":"\"email\""}"#, None)]
    #[case("{}", None)]
    fn denied_members_go_and_the_rest_stays_as_written(#[case] object: &str, #[case] expected: Option<&str>) {
        assert_eq!(denied(&["email", "größe"]).without(object).as_deref(), expected);
    }

    #[test]
    fn a_name_is_found_however_it_is_escaped() {
        let kept = denied(&["größe"]).without(r#"{"gr\u00f6\u00dfe":1,"größe":2,"a":3}"#);
        assert_eq!(kept.as_deref(), Some(r#"{"a":3}"#));
    }

    proptest! {
        #[test]
        fn exactly_the_denied_are_missing(mut members in proptest::collection::btree_map(".{0,6}", any::<Option<String>>(), 0..8)) {
            members.insert("email".into(), Some("x".into()));
            let whole = serde_json::to_string(&members).unwrap();
            members.remove("email");
            let kept = denied(&["email"]).without(&whole).unwrap();
            prop_assert_eq!(serde_json::from_str::<BTreeMap<String, Option<String>>>(&kept).unwrap(), members);
        }
    }
}
