//! (`RawEvent`, `Reception`) → (`EventRow`, facts), or why the event is dropped.
//!
//! Pure: the time and the client's address are arguments.

mod clock;
mod distinct_id;
mod members;
mod properties;
mod timestamp;

use std::borrow::Cow;

use serde_json::value::RawValue;
use sha2::Digest as _;
use sha2::Sha256;
use uuid::Uuid;

use crate::decode::string;
use crate::event::Dialect;
use crate::event::Dropped;
use crate::event::EventRow;
use crate::event::Fact;
use crate::event::RawEvent;
use crate::event::Reception;
use crate::identity;

pub use clock::sent_at;
pub use clock::sent_at_milliseconds;
pub use timestamp::BadTimestamp;

/// Characters of an event's name in PostHog's dialect; the rest is cut off.
const MAX_NAME: usize = 200;

/// What became of one event.
#[derive(Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "one at a time, on the stack; a box would be an allocation per event"
)]
pub enum Normalized<'a> {
    /// To be stored.
    Row(EventRow<'a>, Vec<Fact<'a>>),
    /// Not to be stored.
    Dropped(Dropped),
}

/// Normalizes the events of one request.
#[derive(Debug)]
pub struct Normalizer<'a> {
    reception: &'a Reception<'a>,
}

impl<'a> Normalizer<'a> {
    /// Starts with the facts of one request.
    pub fn new(reception: &'a Reception<'a>) -> Self {
        Self { reception }
    }

    /// Normalizes the event at `index`. An unreadable time is an error of the whole request in the seed's dialect and
    /// the time of arrival in PostHog's.
    pub fn normalize(&self, index: usize, event: &'a RawEvent<'a>) -> Result<Normalized<'a>, BadTimestamp> {
        if let Some(fault) = event.fault {
            return Ok(Normalized::Dropped(fault));
        }
        // A key in one of the members that are not listed would be stored.
        if event.properties.as_ref().is_some_and(|properties| properties.has_surplus_keys) {
            return Ok(Normalized::Dropped(Dropped::TooManyKeys));
        }
        let Some(name) = self.name(event) else { return Ok(Normalized::Dropped(Dropped::NoName)) };
        let said = properties::read(event, name, self.reception.dialect);
        let Some(distinct_id) = self.distinct_id(event, said.distinct_id) else {
            return Ok(Normalized::Dropped(Dropped::NoDistinctId));
        };
        let Some(uuid) = self.uuid(index, event) else {
            return Ok(Normalized::Dropped(Dropped::BadUuid));
        };
        let (timestamp, sent) = self.time(event, said.ignores_sent_at)?;
        let properties = self.properties(event, &said.claims);
        let facts = identity::facts(name, &distinct_id, said.claims);
        let row = EventRow {
            uuid,
            event: name,
            person_id: identity::person_id(&distinct_id),
            distinct_id,
            timestamp,
            client_day: clock::client_day(sent, uuid, self.reception.received_at),
            ip: said.ip.filter(|_| self.is_posthog()).unwrap_or(Cow::Borrowed(self.reception.ip)),
            promoted: said.promoted,
            properties,
        };
        Ok(Normalized::Row(row, facts))
    }

    fn is_posthog(&self) -> bool {
        self.reception.dialect == Dialect::Posthog
    }

    fn name(&self, event: &'a RawEvent<'a>) -> Option<&'a str> {
        let name = present(event.event.as_deref())?;
        Some(if self.is_posthog() { distinct_id::cut(name, MAX_NAME) } else { name })
    }

    fn distinct_id(&self, event: &'a RawEvent<'a>, said: Option<Cow<'a, str>>) -> Option<Cow<'a, str>> {
        let id = present(event.distinct_id.as_deref()).map(Cow::Borrowed).or(said)?;
        Some(if self.is_posthog() { distinct_id::tidy(id) } else { id })
    }

    /// The time, and the time as it was sent.
    fn time(
        &self,
        event: &'a RawEvent<'a>,
        ignores_sent_at: bool,
    ) -> Result<(i64, Option<i64>), BadTimestamp> {
        let received_at = self.reception.received_at;
        let given = event.timestamp.as_deref().filter(|text| !text.is_empty());
        if self.is_posthog() {
            let sent_at = self.reception.sent_at.filter(|_| !ignores_sent_at);
            return Ok(clock::resolve(clock::Said {
                timestamp: given,
                offset: event.offset,
                sent_at,
                received_at,
            }));
        }
        let sent = given.map(timestamp::parse).transpose()?;
        let clamped = sent.map(|sent| timestamp::clamp(sent, received_at, timestamp::SEED_TOLERANCE));
        Ok((clamped.unwrap_or(received_at), sent))
    }

    /// The object as it is stored: without the key, with what stood beside it.
    fn properties(&self, event: &'a RawEvent<'a>, claims: &identity::Claims<'a>) -> Cow<'a, str> {
        let is_key = |value: &RawValue| {
            string(value).is_some_and(|key| !key.is_empty() && key.trim() == self.reception.credential)
        };
        let mut object = match &event.properties {
            Some(properties) => {
                members::without(properties.text, properties.keys().filter(|value| is_key(value)))
            }
            None => Cow::Borrowed("{}"),
        };
        // One that is also within the properties stays as it is there: its facts are kept either way.
        for (key, beside, within) in [
            ("$set", claims.top_set, claims.set),
            ("$set_once", claims.top_set_once, claims.set_once),
            ("$unset", claims.top_unset, claims.unset),
        ] {
            if let (Some(beside), None) = (beside, within) {
                object = members::with(object, key, beside);
            }
        }
        object
    }

    /// The client's id, or one that a repetition of the same event in the same place of a request gets again; none
    /// when what PostHog's client sent is no id.
    ///
    /// A client that sends neither id nor time has no means to say that two equal events are two or one that was sent
    /// twice; losing the second would be worse than keeping it, so such events get a new id each time.
    fn uuid(&self, index: usize, event: &RawEvent<'_>) -> Option<Uuid> {
        let given = event.uuid.as_deref().filter(|text| !text.is_empty());
        match given.map(Uuid::try_parse) {
            Some(Ok(uuid)) if !uuid.is_nil() => Some(uuid),
            Some(Err(_)) if self.is_posthog() => None,
            Some(_) | None => Some(self.derived_uuid(index, event)),
        }
    }

    fn derived_uuid(&self, index: usize, event: &RawEvent<'_>) -> Uuid {
        let offset = event.offset.map(|offset| offset.to_string());
        let timestamp = event.timestamp.as_deref().filter(|text| !text.is_empty());
        let texts = [
            event.event.as_deref(),
            event.distinct_id.as_deref(),
            timestamp,
            offset.as_deref(),
            event.properties.as_ref().map(|properties| properties.text),
            event.set.map(RawValue::get),
            event.set_once.map(RawValue::get),
            event.unset.map(RawValue::get),
        ];
        let mut hasher = Sha256::new();
        hasher.update(index.to_le_bytes());
        for text in texts {
            let text = text.unwrap_or_default();
            hasher.update(text.len().to_le_bytes());
            hasher.update(text);
        }
        if timestamp.is_none() && offset.is_none() {
            hasher.update(self.reception.nonce);
        }
        let hash = hasher.finalize();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash[..16]);
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }
}

/// The text, unless it is blank.
fn present(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.trim().is_empty())
}

#[cfg(test)]
mod tests;
