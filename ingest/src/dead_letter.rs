//! Events that ClickHouse refuses for their content, as rows of the table that keeps them. Pure, but for the command.
//!
//! A letter holds the refused rows byte for byte with the columns that they were written for, so that they can be
//! inserted again, and enough of the event in columns of its own to be found, judged and erased.

mod command;

use crate::clickhouse;
use crate::encode::EventHead;
use crate::encode::put_text;
use crate::encode::put_time;
use crate::encode::put_uuid;

pub use command::run;

/// The table.
pub const TABLE: &str = "dead_letters";

/// Columns of the table, in the order in which they are encoded.
pub const COLUMNS: &str =
    "uuid, table_name, api_key, event, distinct_id, received_at, code, reason, detail, columns, rows";

/// One event that a table refused.
#[derive(Debug)]
pub(crate) struct DeadLetter {
    pub(crate) table: &'static str,
    pub(crate) columns: String,
    pub(crate) head: EventHead,
    pub(crate) reason: Reason,
    pub(crate) rows: Vec<u8>,
}

/// Why ClickHouse refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reason {
    pub(crate) code: i32,
    pub(crate) name: String,
    pub(crate) detail: String,
}

impl Reason {
    /// What a refusal says of its reason.
    pub(crate) fn of(error: &clickhouse::Error) -> Self {
        Self {
            code: error.code().unwrap_or_default(),
            name: error.name().unwrap_or_default().to_owned(),
            detail: error.detail().unwrap_or_default().to_owned(),
        }
    }
}

/// Encodes letters as RowBinary.
pub(crate) fn encode(letters: &[DeadLetter]) -> Vec<u8> {
    let mut block = Vec::new();
    for DeadLetter { table, columns, head, reason, rows } in letters {
        put_uuid(&mut block, head.uuid);
        put_text(&mut block, table);
        put_text(&mut block, &head.api_key);
        put_text(&mut block, &head.event);
        put_text(&mut block, &head.distinct_id);
        put_time(&mut block, head.inserted_at);
        block.extend_from_slice(&reason.code.to_le_bytes());
        put_text(&mut block, &reason.name);
        put_text(&mut block, &reason.detail);
        put_text(&mut block, columns);
        crate::encode::put_bytes(&mut block, rows);
    }
    block
}
