//! The properties of an event, read in the pass that checks them.

use std::fmt;

use serde::de::Deserialize;
use serde::de::Deserializer;
use serde::de::IgnoredAny;
use serde::de::MapAccess;
use serde::de::Visitor;
use serde_json::value::RawValue;

use super::Text;
use super::json::OBJECT;
use crate::event::Known;
use crate::event::Properties;

/// Properties of most events that are known, so that their list grows once.
const MOST: usize = 8;

/// What stands in the place of properties.
#[derive(Debug)]
pub(crate) enum Given<'a> {
    /// Properties.
    Object(Properties<'a>),
    /// Anything but an object.
    Other(&'a RawValue),
}

impl<'de> Deserialize<'de> for Given<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(OBJECT, GivenVisitor)
    }
}

struct GivenVisitor;

impl<'de> Visitor<'de> for GivenVisitor {
    type Value = Given<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("properties")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Given<'de>, A::Error> {
        let mut properties = Properties { known: Vec::with_capacity(MOST), ..Properties::default() };
        while let Some(key) = map.next_key::<Text<'de>>()? {
            match Known::named(&key.0) {
                Some(name) => properties.put(name, map.next_value()?),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        properties.text = map.next_value()?;
        Ok(Given::Object(properties))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Given<'de>, D::Error> {
        <&RawValue>::deserialize(deserializer).map(Given::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::json;
    use proptest::prelude::*;
    use rstest::rstest;

    fn properties(text: &str) -> Properties<'_> {
        match json::from_str(text).unwrap() {
            Given::Object(properties) => properties,
            Given::Other(other) => panic!("{other}"),
        }
    }

    fn known(text: &str) -> Vec<(Known, String)> {
        let known = properties(text).known.into_iter();
        known.map(|(name, value)| (name, value.get().to_owned())).collect()
    }

    #[test]
    fn the_text_is_whole_and_of_repeated_members_the_last_counts_unless_they_hold_keys() {
        let text =
            r#"{"token":"a", "$host":{"host":1}, "n":[{"alias":2}], "\u0024host":3, "token":4, "api_key":5}"#;
        assert_eq!(properties(text).text, text);
        let expected =
            [(Known::Token, "\"a\""), (Known::DollarHost, "3"), (Known::Token, "4"), (Known::ApiKey, "5")];
        assert_eq!(known(text), expected.map(|(name, value)| (name, value.to_owned())));
        assert_eq!(properties(text).token().unwrap().get(), "4");
    }

    #[test]
    fn places_of_keys_beyond_those_of_any_client_are_not_listed() {
        let text = format!(r#"{{{}"$host":"h"}}"#, r#""token":"a","api_key":"b","#.repeat(1_000));
        let properties = properties(&text);
        assert_eq!(properties.known.len(), 9, "eight places of keys, and the host");
        assert!(properties.has_surplus_keys);
    }

    #[rstest]
    #[case("null")]
    #[case("[{}]")]
    #[case("\"{}\"")]
    #[case("1e400")]
    fn what_is_no_object_is_kept_as_text(#[case] text: &str) {
        let Ok(Given::Other(value)) = json::from_str(text) else { panic!("{text}") };
        assert_eq!(value.get(), text);
    }

    proptest! {
        #[test]
        fn any_text_is_an_object_to_this_reader_when_it_is_one_to_serde_json(
            text in r#"\{[\[\]{}",: 0-9.eE+\\untrfalsbhdi_$-]{0,30}\}"#
        ) {
            let theirs = serde_json::from_str::<&RawValue>(&text).is_ok();
            prop_assert_eq!(json::from_str::<Given<'_>>(&text).is_ok(), theirs, "{}", text);
        }
    }
}
