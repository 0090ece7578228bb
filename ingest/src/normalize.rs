//! (`RawEvent`, `Reception`) → (`EventRow`, facts), or why the event is dropped.
//!
//! Pure: the time and the client's address are arguments.

mod properties;
mod timestamp;

use std::borrow::Cow;

use sha2::Digest as _;
use sha2::Sha256;
use uuid::Uuid;

use crate::event::Dropped;
use crate::event::EventRow;
use crate::event::Fact;
use crate::event::RawEvent;
use crate::event::Reception;
use crate::identity;

pub use timestamp::BadTimestamp;

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

/// Normalizes the events of one request and keeps what they share.
#[derive(Debug)]
pub struct Normalizer<'a> {
    reception: &'a Reception<'a>,
    digest: Option<[u8; 32]>,
}

impl<'a> Normalizer<'a> {
    /// Starts with the facts of one request.
    pub fn new(reception: &'a Reception<'a>) -> Self {
        Self { reception, digest: None }
    }

    /// Normalizes the event at `index`; an unreadable time is an error of the whole request.
    pub fn normalize(
        &mut self,
        index: usize,
        event: &'a RawEvent<'a>,
    ) -> Result<Normalized<'a>, BadTimestamp> {
        let Some(name) = present(event.event.as_deref()) else {
            return Ok(Normalized::Dropped(Dropped::NoName));
        };
        let said = properties::read(event.properties, name);
        let own = present(event.distinct_id.as_deref()).map(Cow::Borrowed);
        let Some(distinct_id) = own.or(said.distinct_id) else {
            return Ok(Normalized::Dropped(Dropped::NoDistinctId));
        };
        let given = event.timestamp.as_deref().filter(|text| !text.is_empty());
        let timestamp = match given {
            Some(text) => timestamp::clamp(timestamp::parse(text)?, self.reception.received_at),
            None => self.reception.received_at,
        };
        let facts = identity::facts(name, &distinct_id, said.claims);
        let row = EventRow {
            uuid: self.uuid(index, event.uuid.as_deref(), given.is_some()),
            event: name,
            person_id: identity::person_id(&distinct_id),
            distinct_id,
            timestamp,
            promoted: said.promoted,
            properties: event.properties.map_or("{}", |properties| properties.get()),
        };
        Ok(Normalized::Row(row, facts))
    }

    /// The client's id, or one that a repetition of the same request gets again.
    ///
    /// A client that sends neither id nor time has no means to say that two equal requests are two events or one
    /// event sent twice; losing the second would be worse than keeping it, so such events get a new id each time.
    fn uuid(&mut self, index: usize, given: Option<&str>, has_timestamp: bool) -> Uuid {
        if let Some(uuid) = given.and_then(|text| Uuid::try_parse(text).ok()).filter(|uuid| !uuid.is_nil()) {
            return uuid;
        }
        let body = self.reception.body;
        let digest = self.digest.get_or_insert_with(|| Sha256::digest(body).into());
        let mut hasher = Sha256::new();
        hasher.update(&digest[..]);
        hasher.update(index.to_le_bytes());
        if !has_timestamp {
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
