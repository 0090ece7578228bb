//! The nouns of the path: what a client sent, what is stored, and why an event is dropped.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::value::RawValue;
use uuid::Uuid;

/// One decoded request body, borrowed from its bytes.
#[derive(Debug, Default)]
pub struct RawBatch<'a> {
    /// Key of the whole request.
    pub api_key: Option<Cow<'a, str>>,
    /// Events in the order they were sent, at most as many as the limit.
    pub events: Vec<RawEvent<'a>>,
    /// Events beyond the limit: counted, not kept.
    pub excess: usize,
}

/// One event as it was sent. Only the types are known to be right.
#[derive(Debug, Default)]
pub struct RawEvent<'a> {
    /// Id that the client chose.
    pub uuid: Option<Cow<'a, str>>,
    /// Name.
    pub event: Option<Cow<'a, str>>,
    /// Who did it; may also be in the properties.
    pub distinct_id: Option<Cow<'a, str>>,
    /// When, as text.
    pub timestamp: Option<Cow<'a, str>>,
    /// Key of this event; covers the request.
    pub api_key: Option<Cow<'a, str>>,
    /// The JSON object, as it was written.
    pub properties: Option<&'a RawValue>,
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
    /// When the request was read, in microseconds since 1970.
    pub received_at: i64,
    /// Address of the client; empty when unknown.
    pub ip: &'a str,
    /// User-Agent header.
    pub user_agent: &'a str,
    /// The body, from which ids of events without one are derived.
    pub body: &'a [u8],
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
    /// When, in microseconds since 1970, clamped.
    pub timestamp: i64,
    /// Columns that are copied out of the properties.
    pub promoted: Promoted<'a>,
    /// The JSON object, as it was written.
    pub properties: &'a str,
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
}

/// Why one event is not stored although its request is fine. Sending it again will not help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// The name is missing or blank.
    NoName,
    /// No distinct id in any of its places.
    NoDistinctId,
}

impl Dropped {
    /// Word for metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::NoName => "no_name",
            Self::NoDistinctId => "no_distinct_id",
        }
    }
}
