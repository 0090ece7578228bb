//! One pass over the properties of an event: the values that have a column or speak of persons.

use std::borrow::Cow;
use std::fmt;

use serde::de::Deserialize;
use serde::de::Deserializer;
use serde::de::MapAccess;
use serde::de::Visitor;
use serde_json::value::RawValue;

use crate::decode::Text;
use crate::decode::batch::string;
use crate::event::Promoted;
use crate::identity;
use crate::identity::Claims;

/// What the properties say beyond their text.
#[derive(Debug, Default)]
pub(super) struct Said<'a> {
    pub(super) distinct_id: Option<Cow<'a, str>>,
    pub(super) promoted: Promoted<'a>,
    pub(super) claims: Claims<'a>,
}

/// Reads the properties of an event of this name.
pub(super) fn read<'a>(properties: Option<&'a RawValue>, event: &str) -> Said<'a> {
    let found = properties.and_then(|properties| serde_json::from_str::<Found<'a>>(properties.get()).ok());
    let Some(found) = found else { return Said::default() };
    let claims = if identity::speaks_of_persons(event) {
        Claims {
            set: found.set,
            set_once: found.set_once,
            anonymous_id: first(found.dollar_anon_distinct_id, found.anon_distinct_id),
            alias: text(found.alias),
        }
    } else {
        Claims::default()
    };
    Said {
        distinct_id: first(found.distinct_id, found.dollar_distinct_id),
        promoted: Promoted {
            session_id: first(found.dollar_session_id, found.session_id).unwrap_or_default(),
            window_id: first(found.dollar_window_id, found.window_id).unwrap_or_default(),
            elements_chain: first(found.dollar_elements_chain, found.elements_chain).unwrap_or_default(),
            current_url: first(found.dollar_current_url, found.current_url).unwrap_or_default(),
            host: first(found.dollar_host, found.host).unwrap_or_default(),
        },
        claims,
    }
}

/// The first of two values that is a string and not blank.
fn first<'a>(one: Option<&'a RawValue>, other: Option<&'a RawValue>) -> Option<Cow<'a, str>> {
    text(one).or_else(|| text(other))
}

fn text(value: Option<&RawValue>) -> Option<Cow<'_, str>> {
    value.and_then(string).filter(|text| !text.trim().is_empty())
}

/// The values of interest, still as JSON.
#[derive(Default)]
struct Found<'a> {
    distinct_id: Option<&'a RawValue>,
    dollar_distinct_id: Option<&'a RawValue>,
    session_id: Option<&'a RawValue>,
    dollar_session_id: Option<&'a RawValue>,
    window_id: Option<&'a RawValue>,
    dollar_window_id: Option<&'a RawValue>,
    elements_chain: Option<&'a RawValue>,
    dollar_elements_chain: Option<&'a RawValue>,
    current_url: Option<&'a RawValue>,
    dollar_current_url: Option<&'a RawValue>,
    host: Option<&'a RawValue>,
    dollar_host: Option<&'a RawValue>,
    set: Option<&'a RawValue>,
    set_once: Option<&'a RawValue>,
    anon_distinct_id: Option<&'a RawValue>,
    dollar_anon_distinct_id: Option<&'a RawValue>,
    alias: Option<&'a RawValue>,
}

impl<'a> Found<'a> {
    fn place(&mut self, key: &str) -> Option<&mut Option<&'a RawValue>> {
        Some(match key {
            "distinct_id" => &mut self.distinct_id,
            "$distinct_id" => &mut self.dollar_distinct_id,
            "session_id" => &mut self.session_id,
            "$session_id" => &mut self.dollar_session_id,
            "window_id" => &mut self.window_id,
            "$window_id" => &mut self.dollar_window_id,
            "elements_chain" => &mut self.elements_chain,
            "$elements_chain" => &mut self.dollar_elements_chain,
            "current_url" => &mut self.current_url,
            "$current_url" => &mut self.dollar_current_url,
            "host" => &mut self.host,
            "$host" => &mut self.dollar_host,
            "$set" => &mut self.set,
            "$set_once" => &mut self.set_once,
            "anon_distinct_id" => &mut self.anon_distinct_id,
            "$anon_distinct_id" => &mut self.dollar_anon_distinct_id,
            "alias" => &mut self.alias,
            _ => return None,
        })
    }
}

impl<'de> Deserialize<'de> for Found<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FoundVisitor)
    }
}

struct FoundVisitor;

impl<'de> Visitor<'de> for FoundVisitor {
    type Value = Found<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found<'de>, A::Error> {
        let mut found = Found::default();
        while let Some(key) = map.next_key::<Text<'de>>()? {
            let value = map.next_value::<&'de RawValue>()?;
            if let Some(place) = found.place(&key.0) {
                *place = Some(value);
            }
        }
        Ok(found)
    }
}
