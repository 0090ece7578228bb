//! Events and facts to RowBinary, straight into the block of their table.
//!
//! The column lists here and the order of the writes below are one decision; a contract test reads rows back.

mod head;

use uuid::Uuid;

use crate::batch::Rows;
use crate::event::EventRow;
use crate::event::Fact;
use crate::event::Reception;
use crate::identity::person_id;
use crate::table::Table;

pub(crate) use head::EventHead;
pub(crate) use head::head;

/// Columns of each table, in the order in which they are encoded.
pub fn columns(table: Table) -> &'static str {
    match table {
        Table::Events => {
            "uuid, api_key, event, distinct_id, person_id, session_id, window_id, elements_chain, timestamp, \
             client_day, inserted_at, ip, user_agent, current_url, host, properties"
        }
        Table::Properties => "person_id, key, set_v, once_v, unset_by",
        Table::SetOnce => "person_id, key, at, event_id, value",
        Table::Persons => "person_id, distinct_id, created_at, updated_at, identified_by",
        Table::Links => "distinct_id, linked_id, kind, person_id, linked_person_id, linked_by",
    }
}

/// 1900-01-01: what `set_v` and `unset_by` hold when nothing was set or unset, as in their column defaults.
const EARLIEST: i64 = -2_208_988_800_000_000;
/// The last microsecond of 2299: what `once_v` and `identified_by` hold when nothing was, as in their column defaults.
const LATEST: i64 = 10_413_791_999_999_999;

/// Encodes one event and its facts.
pub fn encode(rows: &mut Rows, reception: &Reception<'_>, event: &EventRow<'_>, facts: &[Fact<'_>]) {
    encode_event(rows.table_mut(Table::Events), reception, event);
    for fact in facts {
        match fact {
            Fact::Person { is_identified } => {
                encode_person(rows.table_mut(Table::Persons), event, *is_identified);
            }
            Fact::Set { key, value } => {
                encode_property(rows, event, key, &Operation { set: Some(value), ..Operation::default() });
            }
            Fact::SetOnce { key, value } => {
                encode_property(
                    rows,
                    event,
                    key,
                    &Operation { set_once: Some(value), ..Operation::default() },
                );
                encode_set_once(rows.table_mut(Table::SetOnce), event, key, value);
            }
            Fact::Unset { key } => {
                encode_property(rows, event, key, &Operation { is_unset: true, ..Operation::default() });
            }
            Fact::Link { linked_id, kind } => {
                let block = rows.table_mut(Table::Links);
                put_text(block, &event.distinct_id);
                put_text(block, linked_id);
                block.push(*kind as u8);
                put_uuid(block, event.person_id);
                put_uuid(block, person_id(linked_id));
                put_order(block, event.timestamp, event.uuid);
            }
        }
    }
    rows.finish_event();
}

fn encode_event(block: &mut Vec<u8>, reception: &Reception<'_>, event: &EventRow<'_>) {
    block.reserve(event.properties.len() + reception.user_agent.len() + 512);
    put_uuid(block, event.uuid);
    put_text(block, &reception.project.key_name);
    put_text(block, event.event);
    put_text(block, &event.distinct_id);
    put_uuid(block, event.person_id);
    put_text(block, &event.promoted.session_id);
    put_text(block, &event.promoted.window_id);
    put_text(block, &event.promoted.elements_chain);
    put_time(block, event.timestamp);
    block.extend_from_slice(&event.client_day.to_le_bytes());
    put_time(block, reception.received_at);
    put_text(block, &event.ip);
    put_text(block, reception.user_agent);
    put_text(block, &event.promoted.current_url);
    put_text(block, &event.promoted.host);
    put_text(block, &event.properties);
}

fn encode_person(block: &mut Vec<u8>, event: &EventRow<'_>, is_identified: bool) {
    put_uuid(block, event.person_id);
    put_text(block, &event.distinct_id);
    put_time(block, event.timestamp);
    put_time(block, event.timestamp);
    if is_identified {
        put_order(block, event.timestamp, event.uuid);
    } else {
        put_order(block, LATEST, Uuid::max());
    }
}

/// One operation on a property; the others are neutral in its row.
#[derive(Default)]
struct Operation<'a> {
    set: Option<&'a str>,
    set_once: Option<&'a str>,
    is_unset: bool,
}

fn encode_property(rows: &mut Rows, event: &EventRow<'_>, key: &str, operation: &Operation<'_>) {
    let Operation { set, set_once, is_unset } = operation;
    let block = rows.table_mut(Table::Properties);
    put_uuid(block, event.person_id);
    put_text(block, key);
    match set {
        Some(value) => put_value(block, event.timestamp, event.uuid, value),
        None => put_value(block, EARLIEST, Uuid::nil(), ""),
    }
    match set_once {
        Some(value) => put_value(block, event.timestamp, event.uuid, value),
        None => put_value(block, LATEST, Uuid::max(), ""),
    }
    if *is_unset {
        put_order(block, event.timestamp, event.uuid);
    } else {
        put_order(block, EARLIEST, Uuid::nil());
    }
}

fn encode_set_once(block: &mut Vec<u8>, event: &EventRow<'_>, key: &str, value: &str) {
    put_uuid(block, event.person_id);
    put_text(block, key);
    put_value(block, event.timestamp, event.uuid, value);
}

/// The tuple (time, id, value) by which ClickHouse chooses the first or the last value.
fn put_value(block: &mut Vec<u8>, timestamp: i64, uuid: Uuid, value: &str) {
    put_order(block, timestamp, uuid);
    put_text(block, value);
}

/// The pair (time, id) that orders operations, whoever stored them first.
fn put_order(block: &mut Vec<u8>, timestamp: i64, uuid: Uuid) {
    put_time(block, timestamp);
    put_uuid(block, uuid);
}

/// Microseconds since 1970.
pub(crate) fn put_time(block: &mut Vec<u8>, microseconds: i64) {
    block.extend_from_slice(&microseconds.to_le_bytes());
}

/// Two halves, each with its least byte first.
pub(crate) fn put_uuid(block: &mut Vec<u8>, uuid: Uuid) {
    let (high, low) = uuid.as_u64_pair();
    block.extend_from_slice(&high.to_le_bytes());
    block.extend_from_slice(&low.to_le_bytes());
}

/// As bytes.
pub(crate) fn put_text(block: &mut Vec<u8>, text: &str) {
    put_bytes(block, text.as_bytes());
}

/// Length in seven-bit groups, then the bytes.
pub(crate) fn put_bytes(block: &mut Vec<u8>, bytes: &[u8]) {
    let mut rest = bytes.len();
    while rest >= 0x80 {
        block.push(low_byte(rest) | 0x80);
        rest >>= 7;
    }
    block.push(low_byte(rest));
    block.extend_from_slice(bytes);
}

fn low_byte(value: usize) -> u8 {
    value.to_le_bytes()[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_in_seven_bit_groups() {
        for (length, prefix) in [(0, vec![0]), (127, vec![127]), (128, vec![128, 1]), (300, vec![172, 2])] {
            let mut block = Vec::new();
            put_text(&mut block, &"x".repeat(length));
            assert_eq!(block[..prefix.len()], prefix);
            assert_eq!(block.len(), prefix.len() + length);
        }
    }

    #[test]
    fn the_head_of_an_encoded_event_can_be_read_back() {
        let project = crate::event::Project { key_name: "web".into() };
        let reception = Reception {
            project: &project,
            dialect: crate::event::Dialect::Seed,
            credential: "",
            received_at: 1_700_000_000_000_001,
            sent_at: None,
            ip: "::1",
            user_agent: "agent",
            nonce: [0; 16],
        };
        let event = EventRow {
            uuid: Uuid::from_u128(7),
            event: "clicked",
            distinct_id: "u1".into(),
            person_id: person_id("u1"),
            timestamp: 5,
            client_day: 7,
            ip: "::1".into(),
            promoted: crate::event::Promoted::default(),
            properties: "{}".into(),
        };
        let mut rows = Rows::default();
        encode(&mut rows, &reception, &event, &[]);
        let row = std::mem::take(rows.table_mut(Table::Events));
        let expected = EventHead {
            uuid: event.uuid,
            api_key: "web".into(),
            event: "clicked".into(),
            distinct_id: "u1".into(),
            inserted_at: reception.received_at,
        };
        let columns = columns(Table::Events);
        assert_eq!(head(columns, &row), Some(expected));
        assert_eq!(head(columns, &row[..row.len() - 1]), None);
    }

    #[test]
    fn uuids_are_two_little_endian_halves() {
        let mut block = Vec::new();
        put_uuid(&mut block, Uuid::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff));
        assert_eq!(hex::encode(block), "7766554433221100ffeeddccbbaa9988");
    }
}
