//! What the known properties of an event say: the values that have a column, and those that speak of persons or of time.

use std::borrow::Cow;
use std::net::IpAddr;

use serde_json::value::RawValue;

use super::distinct_id::tidy;
use crate::decode::posthog::text_of_any;
use crate::decode::string;
use crate::event::Dialect;
use crate::event::Known;
use crate::event::Promoted;
use crate::event::Properties;
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
}

/// Reads what the properties of an event of this name say, and what stands beside them.
pub(super) fn read<'a>(event: &'a RawEvent<'a>, name: &str, dialect: Dialect) -> Said<'a> {
    let found = Found::of(event.properties.as_ref());
    Said {
        claims: claims(event, &found, name, dialect),
        distinct_id: match dialect {
            Dialect::Seed => found.first(Known::DistinctId, Known::DollarDistinctId),
            Dialect::Posthog => any_text(found.value(Known::DistinctId))
                .or_else(|| any_text(found.value(Known::DollarDistinctId))),
        },
        promoted: Promoted {
            session_id: found.first(Known::DollarSessionId, Known::SessionId).unwrap_or_default(),
            window_id: found.first(Known::DollarWindowId, Known::WindowId).unwrap_or_default(),
            elements_chain: found.first(Known::DollarElementsChain, Known::ElementsChain).unwrap_or_default(),
            current_url: found.first(Known::DollarCurrentUrl, Known::CurrentUrl).unwrap_or_default(),
            host: found.first(Known::DollarHost, Known::Host).unwrap_or_default(),
        },
        ip: text(found.value(Known::Ip)).filter(|ip| ip.parse::<IpAddr>().is_ok()),
        ignores_sent_at: found.value(Known::IgnoreSentAt).is_some_and(|value| value.get() == "true"),
    }
}

fn claims<'a>(event: &'a RawEvent<'a>, found: &Found<'a>, name: &str, dialect: Dialect) -> Claims<'a> {
    let id = |value: Option<Cow<'a, str>>| if dialect == Dialect::Posthog { value.map(tidy) } else { value };
    let links = matches!(name, "$identify" | "$create_alias" | "$merge_dangerously");
    let anonymous_id = || found.first(Known::DollarAnonDistinctId, Known::AnonDistinctId);
    Claims {
        dialect,
        set: found.value(Known::Set),
        set_once: found.value(Known::SetOnce),
        unset: found.value(Known::Unset),
        top_set: event.set,
        top_set_once: event.set_once,
        top_unset: event.unset,
        process_person_profile: found.value(Known::ProcessPersonProfile),
        anonymous_id: if links { id(anonymous_id()) } else { None },
        alias: if links { id(text(found.value(Known::Alias))) } else { None },
    }
}

/// The text of any value but `null` and blank ones.
fn any_text(value: Option<&RawValue>) -> Option<Cow<'_, str>> {
    let value = value.filter(|value| value.get() != "null")?;
    Some(text_of_any(value)).filter(|text| !text.trim().is_empty())
}

fn text(value: Option<&RawValue>) -> Option<Cow<'_, str>> {
    value.and_then(string).filter(|text| !text.trim().is_empty())
}

/// The values of interest, still as JSON.
struct Found<'a>([Option<&'a RawValue>; Known::COUNT]);

impl<'a> Found<'a> {
    fn of(properties: Option<&Properties<'a>>) -> Self {
        let mut values = [None; Known::COUNT];
        for (name, value) in properties.map(|properties| &*properties.known).unwrap_or_default() {
            values[*name as usize] = Some(*value);
        }
        Self(values)
    }

    fn value(&self, name: Known) -> Option<&'a RawValue> {
        self.0[name as usize]
    }

    /// The first of two values that is a string and not blank.
    fn first(&self, one: Known, other: Known) -> Option<Cow<'a, str>> {
        text(self.value(one)).or_else(|| text(self.value(other)))
    }
}
