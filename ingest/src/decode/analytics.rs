//! The body of PostHog's v1 endpoint, judged event by event and rewritten as the envelope that the older paths take.
//!
//! v1 is strict where the older wire guesses: each event needs its own id and a time in RFC 3339, and gets its own
//! answer. Values that its clients lift out of the properties are put back, so that both wires store the same.

use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::Deserializer;
use serde::de::IgnoredAny;
use serde::de::MapAccess;
use serde::de::Visitor;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::Events;
use super::Text;
use super::string;

/// What becomes of one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is stored.
    Accepted,
    /// It is stored, but says nothing about persons, for this reason.
    Warned(&'static str),
    /// It is not stored, for this reason.
    Dropped(&'static str),
}

/// A body, judged.
#[derive(Debug, Default)]
pub struct Judged {
    /// Each event's id as it was sent, in order.
    pub verdicts: Vec<(Uuid, Verdict)>,
    /// The accepted events as an envelope; empty when there is none.
    pub envelope: Vec<u8>,
}

/// Why a body is refused as a whole. The text is ours and safe to show.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No JSON of this shape.
    #[error("the body is not a valid batch: {0}")]
    Shape(String),
    /// No event.
    #[error("batch must hold at least one event")]
    Empty,
    /// More events than allowed.
    #[error("the batch holds too many events")]
    TooMany,
    /// An event without a valid id, to which no answer could be given.
    #[error("event {0} has no valid uuid")]
    BadUuid(usize),
    /// Two events with one id, which one answer could not tell apart.
    #[error("event {0} repeats the uuid of another")]
    RepeatedUuid(usize),
}

/// What the request says besides its body.
#[derive(Debug, Clone, Copy)]
pub struct Sender<'a> {
    /// `PostHog-Sdk-Info`: name and version of the library.
    pub sdk: &'a str,
    /// `PostHog-Request-Timestamp`.
    pub sent_at: &'a str,
}

/// Characters of a name, and bytes of a distinct id.
const MAX_NAME: usize = 200;
const MAX_DISTINCT_ID: usize = 200;

/// What an event may take in the envelope beyond its own text.
pub const OVERHEAD: usize = 512;

/// Judges a body of at most `max_events` events.
pub fn judge(body: &[u8], sender: Sender<'_>, max_events: usize) -> Result<Judged, Refused> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let batch = (&mut json).deserialize_map(EnvelopeVisitor { max_events }).map_err(shape)?;
    json.end().map_err(shape)?;
    if batch.is_excessive {
        return Err(Refused::TooMany);
    }
    if batch.events.is_empty() {
        return Err(Refused::Empty);
    }
    let mut writer =
        Writer::new(body.len() + batch.events.len() * OVERHEAD, sender, batch.historical_migration);
    let mut verdicts = Vec::with_capacity(batch.events.len());
    let mut seen = HashSet::new();
    for (index, text) in batch.events.iter().enumerate() {
        let event: Sent<'_> = serde_json::from_str(text.get()).map_err(shape)?;
        let uuid = event.uuid.and_then(string).and_then(|text| Uuid::try_parse(&text).ok());
        let uuid = uuid.ok_or(Refused::BadUuid(index))?;
        if !seen.insert(uuid) {
            return Err(Refused::RepeatedUuid(index));
        }
        let verdict = match Checked::new(&event) {
            Ok(checked) => {
                writer.write(uuid, &event, &checked);
                if checked.is_nobody {
                    Verdict::Warned("person_processing_disabled")
                } else {
                    Verdict::Accepted
                }
            }
            Err(reason) => Verdict::Dropped(reason),
        };
        verdicts.push((uuid, verdict));
    }
    Ok(Judged { verdicts, envelope: writer.finish() })
}

#[expect(clippy::needless_pass_by_value, reason = "called by map_err")]
fn shape(error: serde_json::Error) -> Refused {
    Refused::Shape(error.to_string().chars().take(200).collect())
}

#[derive(Default)]
struct Envelope<'a> {
    events: Vec<&'a RawValue>,
    is_excessive: bool,
    historical_migration: bool,
}

struct EnvelopeVisitor {
    max_events: usize,
}

impl<'de> Visitor<'de> for EnvelopeVisitor {
    type Value = Envelope<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a batch array")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Envelope<'de>, A::Error> {
        let mut envelope = Envelope::default();
        while let Some(field) = map.next_key::<Text<'de>>()? {
            match &*field.0 {
                "batch" => {
                    let seed = Events::<&'de RawValue, &'de RawValue>::new(self.max_events);
                    let (events, excess) = map.next_value_seed(seed)?;
                    envelope.events = events;
                    envelope.is_excessive = excess > 0;
                }
                "historical_migration" => {
                    envelope.historical_migration = map.next_value::<&'de RawValue>()?.get() == "true";
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(envelope)
    }
}

#[derive(Deserialize)]
struct Sent<'a> {
    #[serde(borrow, default)]
    uuid: Option<&'a RawValue>,
    #[serde(borrow, default)]
    event: Option<&'a RawValue>,
    #[serde(borrow, default)]
    distinct_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    timestamp: Option<&'a RawValue>,
    #[serde(borrow, default)]
    session_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    window_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    options: Option<&'a RawValue>,
    #[serde(borrow, default)]
    properties: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Options {
    cookieless_mode: Option<bool>,
    disable_skew_correction: Option<bool>,
    process_person_profile: Option<bool>,
    product_tour_id: Option<String>,
}

/// What is known of an event that is accepted.
struct Checked {
    distinct_id: String,
    is_nobody: bool,
    options: Options,
}

impl Checked {
    fn new(event: &Sent<'_>) -> Result<Self, &'static str> {
        let name = event.event.and_then(string).filter(|name| !name.trim().is_empty());
        let name = name.ok_or("missing_event_name")?;
        if name.chars().nth(MAX_NAME).is_some() {
            return Err("event_name_too_long");
        }
        let distinct_id = event.distinct_id.and_then(string).unwrap_or_default();
        let distinct_id = distinct_id.trim();
        if distinct_id.is_empty() {
            return Err("missing_distinct_id");
        }
        if distinct_id.len() > MAX_DISTINCT_ID {
            return Err("distinct_id_too_large");
        }
        let timestamp = event.timestamp.and_then(string);
        if timestamp.is_none_or(|text| text.parse::<jiff::Timestamp>().is_err()) {
            return Err("invalid_event_timestamp");
        }
        if event.properties.is_some_and(|properties| !properties.get().starts_with('{')) {
            return Err("malformed_event_properties");
        }
        let options = event.options.map_or("{}", RawValue::get);
        let is_object = options.starts_with('{');
        let options =
            is_object.then(|| serde_json::from_str(options).ok()).flatten().ok_or("invalid_options")?;
        Ok(Self { distinct_id: distinct_id.to_owned(), is_nobody: is_nobody(distinct_id), options })
    }
}

/// Ids of broken clients, which must not become persons; the list of PostHog's v1.
fn is_nobody(distinct_id: &str) -> bool {
    const NOBODY: [&str; 20] = [
        "0",
        "00000000-0000-0000-0000-000000000000",
        "[object object]",
        "anonymous",
        "anonymous-user",
        "backend",
        "distinct_id",
        "distinctid",
        "email",
        "false",
        "guest",
        "id",
        "nan",
        "none",
        "not_authenticated",
        "null",
        "system",
        "true",
        "undefined",
        "user",
    ];
    NOBODY.iter().any(|nobody| distinct_id.eq_ignore_ascii_case(nobody))
}

/// Writes the envelope.
struct Writer<'a> {
    text: String,
    sender: Sender<'a>,
    is_empty: bool,
}

impl<'a> Writer<'a> {
    fn new(capacity: usize, sender: Sender<'a>, historical_migration: bool) -> Self {
        let mut text = String::with_capacity(capacity + sender.sdk.len() + sender.sent_at.len());
        text.push_str(r#"{"sent_at":"#);
        push_string(&mut text, sender.sent_at);
        text.push_str(if historical_migration { r#","historical_migration":true,"# } else { "," });
        text.push_str(r#""batch":["#);
        Self { text, sender, is_empty: true }
    }

    fn write(&mut self, uuid: Uuid, event: &Sent<'_>, checked: &Checked) {
        if !std::mem::replace(&mut self.is_empty, false) {
            self.text.push(',');
        }
        self.text.push_str(r#"{"uuid":""#);
        self.text.push_str(uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()));
        self.text.push_str(r#"","distinct_id":"#);
        push_string(&mut self.text, &checked.distinct_id);
        for (name, value) in [("event", event.event), ("timestamp", event.timestamp)] {
            if let Some(value) = value {
                push_member(&mut self.text, name, value.get());
            }
        }
        self.write_properties(event, checked);
        self.text.push('}');
    }

    fn write_properties(&mut self, event: &Sent<'_>, checked: &Checked) {
        let own = event.properties.map_or("{}", RawValue::get);
        let own = own.strip_suffix('}').unwrap_or(own).trim_end();
        self.text.push_str(r#","properties":"#);
        self.text.push_str(own);
        let (library, version) = self.sender.sdk.split_once('/').unwrap_or((self.sender.sdk, ""));
        let options = &checked.options;
        let text = |flag: bool| if flag { "true" } else { "false" };
        let profile = if checked.is_nobody { Some(false) } else { options.process_person_profile };
        let members = [
            ("$session_id", event.session_id.map(|value| value.get().to_owned())),
            ("$window_id", event.window_id.map(|value| value.get().to_owned())),
            ("$cookieless_mode", options.cookieless_mode.map(|flag| text(flag).to_owned())),
            ("$ignore_sent_at", options.disable_skew_correction.map(|flag| text(flag).to_owned())),
            ("$process_person_profile", profile.map(|flag| text(flag).to_owned())),
            ("$product_tour_id", options.product_tour_id.as_deref().map(quoted)),
            ("$lib", (!own.contains("\"$lib\"")).then(|| quoted(library))),
            ("$lib_version", (!own.contains("\"$lib_version\"")).then(|| quoted(version))),
        ];
        let is_bare = own.ends_with('{');
        for (index, (name, value)) in members.into_iter().filter_map(|(n, v)| v.map(|v| (n, v))).enumerate() {
            if index > 0 || !is_bare {
                self.text.push(',');
            }
            self.text.push('"');
            self.text.push_str(name);
            self.text.push_str("\":");
            self.text.push_str(&value);
        }
        self.text.push('}');
    }

    fn finish(mut self) -> Vec<u8> {
        if self.is_empty {
            return Vec::new();
        }
        self.text.push_str("]}");
        self.text.into_bytes()
    }
}

fn push_member(text: &mut String, name: &str, value: &str) {
    text.push_str(",\"");
    text.push_str(name);
    text.push_str("\":");
    text.push_str(value);
}

fn push_string(text: &mut String, value: &str) {
    text.push_str(&quoted(value));
}

fn quoted(value: &str) -> String {
    serde_json::Value::from(value).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    const UUID: &str = "019a0f2e-7c10-7b3a-9d41-5f0c2a77e001";
    const SENDER: Sender<'_> = Sender { sdk: "posthog-node/5.70.0", sent_at: "2026-05-06T09:30:01Z" };

    fn event(changes: &[(&str, &str)]) -> String {
        let mut members = vec![
            ("uuid", format!("\"{UUID}\"")),
            ("event", "\"a\"".to_owned()),
            ("distinct_id", "\"u\"".to_owned()),
            ("timestamp", "\"2026-05-06T09:30:00Z\"".to_owned()),
        ];
        for (name, value) in changes {
            members.retain(|(known, _)| known != name);
            members.push((name, (*value).to_owned()));
        }
        let members: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", members.join(","))
    }

    fn judged(events: &[String]) -> Result<Judged, Refused> {
        judge(format!(r#"{{"batch":[{}],"created_at":"x"}}"#, events.join(",")).as_bytes(), SENDER, 3)
    }

    fn verdict(changes: &[(&str, &str)]) -> Verdict {
        judged(&[event(changes)]).unwrap().verdicts[0].1
    }

    #[test]
    fn lifted_values_are_put_back_into_the_properties() {
        let event = event(&[
            ("session_id", "\"s\""),
            ("window_id", "\"w\""),
            (
                "options",
                r#"{"disable_skew_correction":true,"process_person_profile":false,"product_tour_id":"t"}"#,
            ),
            ("properties", r#"{"n":1}"#),
            ("distinct_id", "\" u \""),
        ]);
        let judged = judged(&[event]).unwrap();
        assert_eq!(judged.verdicts, [(UUID.parse().unwrap(), Verdict::Accepted)]);
        let expected = format!(
            r#"{{"sent_at":"2026-05-06T09:30:01Z","batch":[{{"uuid":"{UUID}","distinct_id":"u","event":"a","timestamp":"2026-05-06T09:30:00Z","properties":{{"n":1,"$session_id":"s","$window_id":"w","$ignore_sent_at":true,"$process_person_profile":false,"$product_tour_id":"t","$lib":"posthog-node","$lib_version":"5.70.0"}}}}]}}"#
        );
        assert_eq!(String::from_utf8(judged.envelope).unwrap(), expected);
    }

    #[rstest]
    #[case("event", "null", "missing_event_name")]
    #[case("event", "\" \"", "missing_event_name")]
    #[case("distinct_id", "7", "missing_distinct_id")]
    #[case("timestamp", "\"2026-05-06\"", "invalid_event_timestamp")]
    #[case("timestamp", "1778059800", "invalid_event_timestamp")]
    #[case("properties", "[]", "malformed_event_properties")]
    #[case("options", "[]", "invalid_options")]
    #[case("options", r#"{"cookieless_mode":"yes"}"#, "invalid_options")]
    fn a_bad_event_is_dropped_for_its_reason(
        #[case] name: &str,
        #[case] value: &str,
        #[case] reason: &'static str,
    ) {
        assert_eq!(verdict(&[(name, value)]), Verdict::Dropped(reason));
    }

    #[test]
    fn lengths_are_limited_and_ids_of_nobody_warned_of() {
        let long = format!("\"{}\"", "é".repeat(201));
        assert_eq!(verdict(&[("event", &long)]), Verdict::Dropped("event_name_too_long"));
        assert_eq!(verdict(&[("distinct_id", &long)]), Verdict::Dropped("distinct_id_too_large"));
        assert_eq!(verdict(&[("distinct_id", "\"NULL\"")]), Verdict::Warned("person_processing_disabled"));
    }

    #[test]
    fn what_no_answer_could_name_is_refused_whole() {
        let good = event(&[]);
        assert_eq!(judged(&[event(&[("uuid", "\"x\"")])]).unwrap_err(), Refused::BadUuid(0));
        assert_eq!(judged(&[good.clone(), good.clone()]).unwrap_err(), Refused::RepeatedUuid(1));
        assert_eq!(judged(&[]).unwrap_err(), Refused::Empty);
        assert_eq!(judged(&vec![good; 4]).unwrap_err(), Refused::TooMany);
        assert!(matches!(judged(&["7".into()]).unwrap_err(), Refused::Shape(_)));
        assert!(matches!(judge(b"[]", SENDER, 3).unwrap_err(), Refused::Shape(_)));
    }

    #[test]
    fn without_an_accepted_event_there_is_no_envelope() {
        assert_eq!(judged(&[event(&[("event", "null")])]).unwrap().envelope, b"");
    }

    proptest! {
        #[test]
        fn no_body_panics_and_every_envelope_is_read(
            name in any::<String>(), id in any::<String>(), properties in proptest::collection::btree_map(any::<String>(), any::<String>(), 0..4), garbage in ".{0,40}",
        ) {
            drop(judge(garbage.as_bytes(), SENDER, 3));
            let properties = serde_json::to_string_pretty(&properties).unwrap();
            let event = event(&[("event", &quoted(&name)), ("distinct_id", &quoted(&id)), ("properties", &properties)]);
            let judged = judged(&[event]).unwrap();
            if !judged.envelope.is_empty() {
                let batch = crate::decode::posthog::decode(&judged.envelope, 3).unwrap();
                prop_assert_eq!(batch.events.len(), 1);
                prop_assert_eq!(batch.events[0].event.as_deref(), Some(&*name));
            }
        }
    }
}
