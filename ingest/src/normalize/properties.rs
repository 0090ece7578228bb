//! One pass over the properties of an event: the values that have a column, speak of persons or of time, or are keys.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use serde::de::Deserialize;
use serde::de::Deserializer;
use serde::de::MapAccess;
use serde::de::Visitor;
use serde_json::value::RawValue;

use super::distinct_id::tidy;
use crate::decode::Text;
use crate::decode::json;
use crate::decode::posthog::text_of_any;
use crate::decode::string;
use crate::event::Dialect;
use crate::event::Promoted;
use crate::event::RawEvent;
use crate::identity::Claims;

/// What an event says beyond the text of its properties.
#[derive(Debug, Default)]
pub(super) struct Said<'a> {
    pub(super) distinct_id: Option<Cow<'a, str>>,
    pub(super) promoted: Promoted<'a>,
    pub(super) claims: Claims<'a>,
    /// `$ip`, when it is an address.
    pub(super) ip: Option<Cow<'a, str>>,
    /// Whether the client asks not to correct its clock.
    pub(super) ignores_sent_at: bool,
    /// Values in whose places keys are sent, in the order of the text.
    pub(super) keys: Vec<&'a RawValue>,
}

/// Reads the properties of an event of this name, and what stands beside them.
pub(super) fn read<'a>(event: &'a RawEvent<'a>, name: &str, dialect: Dialect) -> Said<'a> {
    let found = event.properties.and_then(|text| json::from_str::<Found<'a>>(text.get()).ok());
    let found = found.unwrap_or_default();
    Said {
        claims: claims(event, &found, name, dialect),
        distinct_id: match dialect {
            Dialect::Seed => first(found.distinct_id, found.dollar_distinct_id),
            Dialect::Posthog => any_text(found.distinct_id).or_else(|| any_text(found.dollar_distinct_id)),
        },
        promoted: Promoted {
            session_id: first(found.dollar_session_id, found.session_id).unwrap_or_default(),
            window_id: first(found.dollar_window_id, found.window_id).unwrap_or_default(),
            elements_chain: first(found.dollar_elements_chain, found.elements_chain).unwrap_or_default(),
            current_url: first(found.dollar_current_url, found.current_url).unwrap_or_default(),
            host: first(found.dollar_host, found.host).unwrap_or_default(),
        },
        ip: text(found.ip).filter(|ip| ip.parse::<IpAddr>().is_ok()),
        ignores_sent_at: found.ignore_sent_at.is_some_and(|value| value.get() == "true"),
        keys: found.keys,
    }
}

fn claims<'a>(event: &'a RawEvent<'a>, found: &Found<'a>, name: &str, dialect: Dialect) -> Claims<'a> {
    let id = |value: Option<Cow<'a, str>>| if dialect == Dialect::Posthog { value.map(tidy) } else { value };
    let links = matches!(name, "$identify" | "$create_alias" | "$merge_dangerously");
    let anonymous_id = || first(found.dollar_anon_distinct_id, found.anon_distinct_id);
    Claims {
        dialect,
        set: found.set,
        set_once: found.set_once,
        unset: found.unset,
        top_set: event.set,
        top_set_once: event.set_once,
        top_unset: event.unset,
        process_person_profile: found.process_person_profile,
        anonymous_id: if links { id(anonymous_id()) } else { None },
        alias: if links { id(text(found.alias)) } else { None },
    }
}

/// The text of any value but `null` and blank ones.
fn any_text(value: Option<&RawValue>) -> Option<Cow<'_, str>> {
    let value = value.filter(|value| value.get() != "null")?;
    Some(text_of_any(value)).filter(|text| !text.trim().is_empty())
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
    unset: Option<&'a RawValue>,
    process_person_profile: Option<&'a RawValue>,
    ignore_sent_at: Option<&'a RawValue>,
    ip: Option<&'a RawValue>,
    keys: Vec<&'a RawValue>,
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
            "$unset" => &mut self.unset,
            "$process_person_profile" => &mut self.process_person_profile,
            "$ignore_sent_at" => &mut self.ignore_sent_at,
            "$ip" => &mut self.ip,
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
            } else if matches!(&*key.0, "token" | "api_key") {
                found.keys.push(value);
            }
        }
        Ok(found)
    }
}
