//! The nouns of the path: what a client sent, what is stored, and why an event is dropped.

mod properties;

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::value::RawValue;
use uuid::Uuid;

pub use properties::Known;
pub use properties::Properties;

/// Which wire a request speaks, and so what costs the request and what costs only one event.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// The seed's: a wrong type or an unreadable time anywhere costs the request.
    #[default]
    Seed,
    /// That of PostHog's SDKs: what is wrong with one event costs that event at most.
    Posthog,
}

/// One decoded request body, borrowed from its bytes.
#[derive(Debug, Default)]
pub struct RawBatch<'a> {
    /// Wire that the body was read as.
    pub dialect: Dialect,
    /// Key of the whole request.
    pub api_key: Option<Cow<'a, str>>,
    /// When the client sent the request by its own clock, as text; only PostHog's wire has it.
    pub sent_at: Option<Cow<'a, str>>,
    /// Whether the body was an object with a batch in it.
    pub is_envelope: bool,
    /// Whether the client says that it moves old events.
    pub historical_migration: bool,
    /// Events in the order they were sent, at most as many as the limit.
    pub events: Vec<RawEvent<'a>>,
    /// Events beyond the limit: counted, not kept.
    pub excess: usize,
    /// Whether ClickHouse could not read one of the numbers in the body.
    pub has_unreadable_numbers: bool,
}

/// One event as it was sent. Only the types are known to be right.
#[derive(Debug, Default)]
pub struct RawEvent<'a> {
    /// Why it cannot be stored whatever else it says; only in PostHog's dialect.
    pub fault: Option<Dropped>,
    /// Id that the client chose.
    pub uuid: Option<Cow<'a, str>>,
    /// Name.
    pub event: Option<Cow<'a, str>>,
    /// Who did it; may also be in the properties.
    pub distinct_id: Option<Cow<'a, str>>,
    /// When, as text; a JSON number is the text of its digits.
    pub timestamp: Option<Cow<'a, str>>,
    /// How many milliseconds before it was sent it happened.
    pub offset: Option<i64>,
    /// Key (token) of this event; covers the request.
    pub api_key: Option<Cow<'a, str>>,
    /// Properties; none when there is no object.
    pub properties: Option<Properties<'a>>,
    /// `$set` beside the properties.
    pub set: Option<&'a RawValue>,
    /// `$set_once` beside the properties.
    pub set_once: Option<&'a RawValue>,
    /// `$unset` beside the properties.
    pub unset: Option<&'a RawValue>,
}

/// Whom a request writes for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// Name of the key; empty when the origin was the only credential.
    pub key_name: Arc<str>,
}

/// What is the same for all events of a request.
#[derive(Debug)]
pub struct Reception<'a> {
    /// Whom the request writes for.
    pub project: &'a Project,
    /// Wire of the request.
    pub dialect: Dialect,
    /// The key that was given, so that it is not stored; empty when there was none.
    pub credential: &'a str,
    /// When the request was read, in microseconds since 1970.
    pub received_at: i64,
    /// When the client sent it by its own clock, in microseconds since 1970, when it said so credibly.
    pub sent_at: Option<i64>,
    /// Address of the client; empty when unknown.
    pub ip: &'a str,
    /// User-Agent header.
    pub user_agent: &'a str,
    /// Different for every request: makes ids of events that nothing else tells apart.
    pub nonce: [u8; 16],
}

/// One event as it is stored.
#[derive(Debug, PartialEq, Eq)]
pub struct EventRow<'a> {
    /// Id; the same whenever the same event is sent again.
    pub uuid: Uuid,
    /// Name.
    pub event: &'a str,
    /// Who did it.
    pub distinct_id: Cow<'a, str>,
    /// Person of this distinct id alone.
    pub person_id: Uuid,
    /// When, in microseconds since 1970, corrected and clamped.
    pub timestamp: i64,
    /// Day since 1970 of the time as the client sent it, uncorrected, so that each repetition of an event has the same;
    /// else of the time in its version 7 id; else of its arrival.
    pub client_day: u16,
    /// Address of whom the event is about; empty when unknown.
    pub ip: Cow<'a, str>,
    /// Columns that are copied out of the properties.
    pub promoted: Promoted<'a>,
    /// The JSON object, as it was written but for the key and for numbers that ClickHouse could not read, which are
    /// strings of the same digits.
    pub properties: Cow<'a, str>,
}

/// Columns that are copied out of the properties; empty when absent.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Promoted<'a> {
    /// Session.
    pub session_id: Cow<'a, str>,
    /// Window.
    pub window_id: Cow<'a, str>,
    /// Chain of page elements.
    pub elements_chain: Cow<'a, str>,
    /// Page.
    pub current_url: Cow<'a, str>,
    /// Host of the page.
    pub host: Cow<'a, str>,
}

/// What an event says about persons, besides itself. Order and repetition of facts do not matter.
#[derive(Debug, PartialEq, Eq)]
pub enum Fact<'a> {
    /// The person has a profile.
    Person {
        /// Whether the event identified it.
        is_identified: bool,
    },
    /// A property of the person; the last in event time wins.
    Set {
        /// Name of the property.
        key: Cow<'a, str>,
        /// Value as JSON text.
        value: &'a str,
    },
    /// A property of the person; the first in event time wins.
    SetOnce {
        /// Name of the property.
        key: Cow<'a, str>,
        /// Value as JSON text.
        value: &'a str,
    },
    /// The person loses a property, with what was said of it before.
    Unset {
        /// Name of the property.
        key: Cow<'a, str>,
    },
    /// Another distinct id is the same person.
    Link {
        /// The other distinct id.
        linked_id: Cow<'a, str>,
        /// What asked for it.
        kind: LinkKind,
    },
}

/// What asked for a link; the numbers are those of the column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkKind {
    /// `$identify` with an anonymous id.
    Identify = 1,
    /// `$create_alias`.
    Alias = 2,
    /// `$merge_dangerously`.
    Merge = 3,
}

/// Why one event is not stored although its request is fine. Sending it again will not help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// The name is missing or blank.
    NoName,
    /// No distinct id in any of its places.
    NoDistinctId,
    /// No JSON object.
    NotAnObject,
    /// The properties are no JSON object.
    BadProperties,
    /// The id is none.
    BadUuid,
    /// More bytes of properties than one event may have.
    TooLarge,
    /// Properties within properties, too far down.
    TooDeep,
    /// More members named as places of keys than any client writes.
    TooManyKeys,
}

impl Dropped {
    /// Word for metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::NoName => "no_name",
            Self::NoDistinctId => "no_distinct_id",
            Self::NotAnObject => "not_an_object",
            Self::BadProperties => "bad_properties",
            Self::BadUuid => "bad_uuid",
            Self::TooLarge => "too_large",
            Self::TooDeep => "too_deep",
            Self::TooManyKeys => "too_many_keys",
        }
    }
}
