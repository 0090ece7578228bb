//! What an encoded event says of itself: read back only when the event has become a dead letter.

use uuid::Uuid;

/// The columns by which people find an event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct EventHead {
    pub(crate) uuid: Uuid,
    pub(crate) api_key: String,
    pub(crate) event: String,
    pub(crate) distinct_id: String,
    pub(crate) inserted_at: i64,
}

/// Reads the head of one encoded row of the events table; `None` when it is no row of these columns.
pub(crate) fn head(columns: &str, row: &[u8]) -> Option<EventHead> {
    let mut rest = row;
    let mut head = EventHead::default();
    for column in columns.split(", ") {
        match column {
            "uuid" => head.uuid = take_uuid(&mut rest)?,
            "person_id" => drop(take_uuid(&mut rest)?),
            "inserted_at" => head.inserted_at = take_time(&mut rest)?,
            "timestamp" => drop(take_time(&mut rest)?),
            "client_day" => rest = rest.get(2..)?,
            "api_key" => head.api_key = take_text(&mut rest)?,
            "event" => head.event = take_text(&mut rest)?,
            "distinct_id" => head.distinct_id = take_text(&mut rest)?,
            _ => drop(take_text(&mut rest)?),
        }
    }
    rest.is_empty().then_some(head)
}

fn take_uuid(rest: &mut &[u8]) -> Option<Uuid> {
    let high = take_time(rest)?;
    let low = take_time(rest)?;
    Some(Uuid::from_u64_pair(high.cast_unsigned(), low.cast_unsigned()))
}

fn take_time(rest: &mut &[u8]) -> Option<i64> {
    let (bytes, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(i64::from_le_bytes(*bytes))
}

fn take_text(rest: &mut &[u8]) -> Option<String> {
    let mut length = 0_usize;
    for shift in (0..35).step_by(7) {
        let (byte, tail) = rest.split_first()?;
        *rest = tail;
        length |= usize::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            let (text, tail) = rest.split_at_checked(length)?;
            *rest = tail;
            return Some(String::from_utf8_lossy(text).into_owned());
        }
    }
    None
}
