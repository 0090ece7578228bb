//! Bodies of PostHog's SDKs, once unpacked: an array of events, an envelope around one, or a lone event.
//!
//! Whatever is wrong within one event costs that event: it is kept with its fault, so that it can be counted. Only a
//! body that is no JSON, or JSON without any event, is an error of the request. `null` is the same as absent, unknown
//! fields are skipped, of repeated fields the last wins.

use std::borrow::Cow;
use std::fmt;

use serde::de::Deserialize;
use serde::de::Deserializer;
use serde::de::IgnoredAny;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::Visitor;
use serde_json::value::RawValue;

use super::Events;
use super::Malformed;
use super::Text;
use super::json::Json;
use super::properties::Given;
use super::string;
use crate::event::Dialect;
use crate::event::Dropped;
use crate::event::RawBatch;
use crate::event::RawEvent;

/// Decodes a body; at most `max_events` events are kept, the others are counted.
pub fn decode(body: &[u8], max_events: usize) -> Result<RawBatch<'_>, Malformed> {
    let text = std::str::from_utf8(body).map_err(|_| Malformed::NotUtf8)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut json = Json::new(text);
    let mut batch = Deserializer::deserialize_any(&mut json, BatchVisitor { max_events })?;
    json.end()?;
    batch.has_unreadable_numbers = json.has_unreadable_numbers();
    if batch.events.is_empty() { Err(Malformed::Empty) } else { Ok(batch) }
}

/// Decodes what is sent to `/engage`: an update of a person, of which many have no name. A batch is no engage.
pub fn decode_engage(body: &[u8], max_events: usize) -> Result<RawBatch<'_>, Malformed> {
    let mut batch = decode(body, max_events)?;
    if batch.is_envelope {
        return Err(Malformed::NotABatch("engage takes no batch".into()));
    }
    for event in &mut batch.events {
        event.event.get_or_insert(Cow::Borrowed("$identify"));
    }
    Ok(batch)
}

struct BatchVisitor {
    max_events: usize,
}

impl<'de> Visitor<'de> for BatchVisitor {
    type Value = RawBatch<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event, an array of events or an object with a batch array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<RawBatch<'de>, A::Error> {
        let (events, excess) = Events::<Lenient<'de>, RawEvent<'de>>::new(self.max_events).visit_seq(seq)?;
        Ok(RawBatch { dialect: Dialect::Posthog, events, excess, ..RawBatch::default() })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawBatch<'de>, A::Error> {
        let mut batch = RawBatch { dialect: Dialect::Posthog, ..RawBatch::default() };
        let mut lone = Lenient::default();
        while let Some(field) = map.next_key::<Text<'de>>()? {
            match &*field.0 {
                "batch" => {
                    batch.is_envelope = true;
                    let events = Events::<Lenient<'de>, RawEvent<'de>>::new(self.max_events);
                    (batch.events, batch.excess) = map.next_value_seed(events)?;
                }
                "sent_at" => batch.sent_at = string(map.next_value()?),
                "historical_migration" => {
                    batch.historical_migration = map.next_value::<&'de RawValue>()?.get() == "true";
                }
                field => lone.place(field, &mut map)?,
            }
        }
        batch.api_key = lone.0.api_key.take();
        if !batch.is_envelope {
            batch.events.push(lone.0);
        }
        Ok(batch)
    }
}

/// An event of which no field can be an error.
#[derive(Default)]
struct Lenient<'a>(RawEvent<'a>);

impl<'a> From<Lenient<'a>> for RawEvent<'a> {
    fn from(event: Lenient<'a>) -> Self {
        event.0
    }
}

impl<'de> Deserialize<'de> for Lenient<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EventVisitor)
    }
}

struct EventVisitor;

impl<'de> Visitor<'de> for EventVisitor {
    type Value = Lenient<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Lenient<'de>, A::Error> {
        let mut event = Lenient::default();
        while let Some(field) = map.next_key::<Text<'de>>()? {
            event.place(&field.0, &mut map)?;
        }
        Ok(event)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Lenient<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(no_object())
    }

    fn visit_unit<E>(self) -> Result<Lenient<'de>, E> {
        Ok(no_object())
    }

    fn visit_bool<E>(self, _: bool) -> Result<Lenient<'de>, E> {
        Ok(no_object())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Lenient<'de>, E> {
        Ok(no_object())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Lenient<'de>, E> {
        Ok(no_object())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Lenient<'de>, E> {
        Ok(no_object())
    }

    fn visit_str<E>(self, _: &str) -> Result<Lenient<'de>, E> {
        Ok(no_object())
    }
}

fn no_object<'a>() -> Lenient<'a> {
    Lenient(RawEvent { fault: Some(Dropped::NotAnObject), ..RawEvent::default() })
}

impl<'de> Lenient<'de> {
    /// Reads the value of one field into its place.
    fn place<A: MapAccess<'de>>(&mut self, field: &str, map: &mut A) -> Result<(), A::Error> {
        let event = &mut self.0;
        if field == "properties" {
            match map.next_value()? {
                Given::Object(properties) => event.properties = Some(properties),
                Given::Other(value) if value.get() == "null" => {}
                Given::Other(_) => event.fault = Some(Dropped::BadProperties),
            }
            return Ok(());
        }
        let value = map.next_value::<&'de RawValue>()?;
        if value.get() == "null" {
            return Ok(());
        }
        match field {
            "event" => event.event = string(value),
            "distinct_id" => event.distinct_id = Some(text_of_any(value)),
            // What engage calls it.
            "$distinct_id" => {
                event.distinct_id = event.distinct_id.take().or_else(|| Some(text_of_any(value)));
            }
            "uuid" => match string(value) {
                Some(uuid) => event.uuid = Some(uuid),
                None => event.fault = Some(Dropped::BadUuid),
            },
            "timestamp" => event.timestamp = string(value).or_else(|| number(value)),
            "offset" => event.offset = milliseconds(value),
            "api_key" | "token" | "$token" => event.api_key = string(value).or_else(|| event.api_key.take()),
            "$set" => event.set = Some(value),
            "$set_once" => event.set_once = Some(value),
            "$unset" => event.unset = Some(value),
            _ => {}
        }
        Ok(())
    }
}

/// The string, or the JSON text of anything else.
pub(crate) fn text_of_any(value: &RawValue) -> Cow<'_, str> {
    string(value).unwrap_or(Cow::Borrowed(value.get()))
}

fn number(value: &RawValue) -> Option<Cow<'_, str>> {
    let starts = |first: char| first.is_ascii_digit() || first == '-';
    value.get().starts_with(starts).then_some(Cow::Borrowed(value.get()))
}

/// A whole number of milliseconds; a fraction is cut off.
fn milliseconds(value: &RawValue) -> Option<i64> {
    value.get().split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    fn decoded(body: &str) -> RawBatch<'_> {
        decode(body.as_bytes(), 10).unwrap()
    }

    #[test]
    fn an_envelope_an_array_and_a_lone_event_hold_the_same_event() {
        let event = r#"{"event":"a","distinct_id":"u","token":"k","properties":{"n":1e400}}"#;
        for body in [event.to_owned(), format!("[{event}]"), format!(r#"{{"batch":[{event}]}}"#)] {
            let batch = decoded(&body);
            assert_eq!(batch.events.len(), 1, "{body}");
            assert_eq!(batch.events[0].event.as_deref(), Some("a"));
            assert_eq!(batch.events[0].properties.as_ref().unwrap().text, r#"{"n":1e400}"#);
            let key = batch.api_key.as_deref().or(batch.events[0].api_key.as_deref());
            assert_eq!(key, Some("k"), "{body}");
        }
    }

    #[test]
    fn the_envelope_is_read_in_any_order() {
        let body =
            r#"{"batch":[{},{}],"historical_migration":true,"sent_at":"t","sentAt":"x","api_key":"k"}"#;
        let batch = decoded(body);
        assert_eq!((batch.events.len(), batch.excess), (2, 0));
        assert!(batch.historical_migration);
        assert_eq!((batch.sent_at.as_deref(), batch.api_key.as_deref()), (Some("t"), Some("k")));
    }

    #[rstest]
    #[case("null", Dropped::NotAnObject)]
    #[case("7", Dropped::NotAnObject)]
    #[case("[[1],2]", Dropped::NotAnObject)]
    #[case("\"x\"", Dropped::NotAnObject)]
    #[case(r#"{"event":"a","uuid":7}"#, Dropped::BadUuid)]
    #[case(r#"{"event":"a","properties":[]}"#, Dropped::BadProperties)]
    fn a_fault_costs_its_event_only(#[case] event: &str, #[case] fault: Dropped) {
        let body = format!(r#"{{"batch":[{event},{{"event":"b"}}]}}"#);
        let batch = decoded(&body);
        assert_eq!(batch.events[0].fault, Some(fault));
        assert_eq!((batch.events[1].fault, batch.events[1].event.as_deref()), (None, Some("b")));
    }

    #[test]
    fn fields_of_other_types_are_read_as_what_they_can_mean() {
        let body = r#"[{"event":5,"distinct_id":{"a":[1]},"timestamp":1700000000.5,"offset":12.9,"uuid":null,
            "properties":null,"api_key":8},{"distinct_id":null,"$distinct_id":7,"timestamp":[],"offset":"x"}]"#;
        let batch = decoded(body);
        let (one, other) = (&batch.events[0], &batch.events[1]);
        assert_eq!((one.event.as_deref(), one.distinct_id.as_deref()), (None, Some(r#"{"a":[1]}"#)));
        assert_eq!((one.timestamp.as_deref(), one.offset), (Some("1700000000.5"), Some(12)));
        assert!(
            one.fault.is_none() && one.uuid.is_none() && one.properties.is_none() && one.api_key.is_none()
        );
        assert_eq!(
            (other.distinct_id.as_deref(), other.timestamp.as_deref(), other.offset),
            (Some("7"), None, None)
        );
    }

    #[test]
    fn person_properties_beside_the_properties_are_kept() {
        let batch = decoded(r#"[{"$set":{"a":1},"$set_once":{"b":2},"$unset":["c"]}]"#);
        let event = &batch.events[0];
        let texts = [event.set, event.set_once, event.unset].map(|value| value.unwrap().get());
        assert_eq!(texts, [r#"{"a":1}"#, r#"{"b":2}"#, r#"["c"]"#]);
    }

    #[rstest]
    #[case::nothing("")]
    #[case::null("null")]
    #[case::text("\"x\"")]
    #[case::broken("[{]")]
    #[case::not_a_number(r#"[{"event":"a","properties":{"n":NaN}}]"#)]
    #[case::trailing("[{}] x")]
    #[case::empty_array("[]")]
    #[case::empty_batch(r#"{"batch":[]}"#)]
    #[case::batch_object(r#"{"batch":{}}"#)]
    fn another_shape_is_malformed(#[case] body: &str) {
        assert!(decode(body.as_bytes(), 10).is_err());
    }

    #[test]
    fn an_update_of_a_person_needs_no_name_and_a_batch_is_none() {
        let engage = br#"{"$token":"k","$distinct_id":"u","$set":{"plan":"x"}}"#;
        let batch = decode_engage(engage, 9).unwrap();
        let event = &batch.events[0];
        assert_eq!((event.event.as_deref(), event.distinct_id.as_deref()), (Some("$identify"), Some("u")));
        assert_eq!((batch.api_key.as_deref(), event.set.unwrap().get()), (Some("k"), r#"{"plan":"x"}"#));
        assert_eq!(
            decode_engage(br#"[{"event":"own"}]"#, 9).unwrap().events[0].event.as_deref(),
            Some("own")
        );
        assert!(decode_engage(br#"{"batch":[{}]}"#, 9).is_err());
    }

    #[test]
    fn events_beyond_the_limit_are_counted_and_lone_surrogates_read() {
        let batch = decode(br#"[{"event":"\ud83d"},{},{}]"#, 2).unwrap();
        assert_eq!((batch.events.len(), batch.excess), (2, 1));
        assert!(batch.events[0].event.as_deref().unwrap().starts_with('\u{fffd}'));
    }

    proptest! {
        #[test]
        fn no_body_panics(body in proptest::collection::vec(any::<u8>(), 0..256)) {
            drop(decode(&body, 3));
        }

        #[test]
        fn no_json_like_body_panics(body in r#"[\[\]{}",:0-9.eE\\untrfalsbhdi_$-]{0,80}"#) {
            drop(decode(body.as_bytes(), 3));
        }
    }
}
