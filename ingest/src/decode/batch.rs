//! The body of `POST /batch/`: `{"api_key": …, "batch": [event, …]}`.
//!
//! A wrong type of a known field anywhere is an error of the whole request; unknown fields are skipped; of repeated
//! fields the last wins. Properties stay as text, so numbers keep every digit; those
//! that ClickHouse could not read are reported, and quoted before the events are stored.

use std::fmt;

use serde::de::Deserialize;
use serde::de::Deserializer;
use serde::de::Error;
use serde::de::IgnoredAny;
use serde::de::MapAccess;
use serde::de::Visitor;
use serde_json::value::RawValue;

use super::Events;
use super::Malformed;
use super::Text;
use super::json::Json;
use super::properties::Given;
use super::string;
use crate::event::Properties;
use crate::event::RawBatch;
use crate::event::RawEvent;

/// Decodes a body; at most `max_events` events are kept, the others are counted.
pub fn decode(body: &[u8], max_events: usize) -> Result<RawBatch<'_>, Malformed> {
    let text = std::str::from_utf8(body).map_err(|_| Malformed::NotUtf8)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut json = Json::new(text);
    let mut batch = Deserializer::deserialize_map(&mut json, BatchVisitor { max_events })?;
    json.end()?;
    batch.has_unreadable_numbers = json.has_unreadable_numbers();
    if batch.events.is_empty() { Err(Malformed::Empty) } else { Ok(batch) }
}

struct BatchVisitor {
    max_events: usize,
}

impl<'de> Visitor<'de> for BatchVisitor {
    type Value = RawBatch<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a batch array")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawBatch<'de>, A::Error> {
        let mut api_key = None;
        let mut batch = None;
        while let Some(field) = map.next_key::<Text<'de>>()? {
            match &*field.0 {
                "api_key" => api_key = Some(map.next_value::<Text<'de>>()?.0),
                "historical_migration" => drop(map.next_value::<bool>()?),
                "batch" => {
                    let events = Events::<RawEvent<'de>, RawEvent<'de>>::new(self.max_events);
                    batch = Some(map.next_value_seed(events)?);
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        let (events, excess) = batch.ok_or_else(|| A::Error::missing_field("batch"))?;
        Ok(RawBatch { api_key, events, excess, ..RawBatch::default() })
    }
}

impl<'de> Deserialize<'de> for RawEvent<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EventVisitor)
    }
}

struct EventVisitor;

impl<'de> Visitor<'de> for EventVisitor {
    type Value = RawEvent<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawEvent<'de>, A::Error> {
        let mut event = RawEvent::default();
        while let Some(field) = map.next_key::<Text<'de>>()? {
            match &*field.0 {
                "event" => event.event = Some(map.next_value::<Text<'de>>()?.0),
                "distinct_id" => event.distinct_id = Some(map.next_value::<Text<'de>>()?.0),
                "timestamp" => event.timestamp = Some(map.next_value::<Text<'de>>()?.0),
                "api_key" => event.api_key = Some(map.next_value::<Text<'de>>()?.0),
                // Not part of the seed's contract, so no type of it is an error; only a string is used.
                "uuid" => event.uuid = string(map.next_value::<&'de RawValue>()?),
                "properties" => event.properties = Some(object(map.next_value()?)?),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(event)
    }
}

fn object<E: Error>(given: Given<'_>) -> Result<Properties<'_>, E> {
    match given {
        Given::Object(properties) => Ok(properties),
        Given::Other(_) => Err(E::custom("properties must be an object")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[test]
    fn an_event_is_read_with_its_properties_as_written() {
        let body = br#"{"api_key":"k","sent_at":"x","batch":[{"event":"a","distinct_id":"u","library":"l",
            "properties":{"n": 12345678901234567890, "e":1e400}}]}"#;
        let batch = decode(body, 10).unwrap();
        assert_eq!(batch.api_key.as_deref(), Some("k"));
        assert_eq!(batch.events.len(), 1);
        let properties = batch.events[0].properties.as_ref().unwrap().text;
        assert_eq!(properties, r#"{"n": 12345678901234567890, "e":1e400}"#);
    }

    #[rstest]
    #[case::bare_event(r#"{"event":"a","distinct_id":"u"}"#)]
    #[case::bare_array(r#"[{"event":"a"}]"#)]
    #[case::null("null")]
    #[case::broken("{\"batch\":[")]
    #[case::trailing(r#"{"batch":[{}]} x"#)]
    #[case::empty_text("")]
    #[case::empty_batch(r#"{"batch":[]}"#)]
    #[case::batch_object(r#"{"batch":{}}"#)]
    #[case::null_event(r#"{"batch":[null]}"#)]
    #[case::name_number(r#"{"batch":[{"event":1}]}"#)]
    #[case::name_null(r#"{"batch":[{"event":null}]}"#)]
    #[case::timestamp_number(r#"{"batch":[{"timestamp":1700000000}]}"#)]
    #[case::properties_array(r#"{"batch":[{"properties":[]}]}"#)]
    #[case::properties_null(r#"{"batch":[{"properties":null}]}"#)]
    #[case::key_number(r#"{"api_key":1,"batch":[{}]}"#)]
    #[case::migration_text(r#"{"historical_migration":"no","batch":[{}]}"#)]
    fn another_shape_is_malformed(#[case] body: &str) {
        assert!(decode(body.as_bytes(), 10).is_err());
    }

    #[test]
    fn events_beyond_the_limit_are_counted_and_not_kept() {
        let batch = decode(br#"{"batch":[{},{},{},{}],"api_key":"after"}"#, 2).unwrap();
        assert_eq!((batch.events.len(), batch.excess), (2, 2));
        assert_eq!(batch.api_key.as_deref(), Some("after"));
    }

    #[test]
    fn byte_order_mark_last_repeated_field_and_odd_uuid_are_accepted() {
        let batch =
            decode("\u{feff}{\"batch\":[{\"event\":\"a\",\"event\":\"b\",\"uuid\":7}]}".as_bytes(), 9);
        let batch = batch.unwrap();
        assert_eq!(batch.events[0].event.as_deref(), Some("b"));
        assert_eq!(batch.events[0].uuid, None);
    }

    #[test]
    fn deep_nesting_in_properties_is_only_text() {
        let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
        let body = format!(r#"{{"batch":[{{"event":"a","properties":{{"d":{deep}}}}}]}}"#);
        assert!(decode(body.as_bytes(), 1).is_ok());
    }

    proptest! {
        #[test]
        fn no_body_panics(body in proptest::collection::vec(any::<u8>(), 0..256)) {
            drop(decode(&body, 3));
        }

        #[test]
        fn strings_survive(event in any::<String>(), distinct_id in any::<String>()) {
            let body = serde_json::json!({"batch": [{"event": &event, "distinct_id": &distinct_id}]}).to_string();
            let batch = decode(body.as_bytes(), 1).unwrap();
            prop_assert_eq!(batch.events[0].event.as_deref(), Some(&*event));
            prop_assert_eq!(batch.events[0].distinct_id.as_deref(), Some(&*distinct_id));
        }
    }
}
