//! How rows lie in a segment file. Pure. Numbers are little-endian; checksums are CRC-32C.
//!
//! ```text
//! segment = "WEIRSP" version:u16  nonce:u64  length:u32  checksum:u32  layout  record*
//! record  = 0xFF "WR" 0xFE  length:u32  checksum of the payload:u32  checksum of nonce and the 12 bytes before:u32  payload
//! payload = events:u32  length of each table's rows:u32*  (end of each event's rows in each table:u32*)*  rows of each table
//! ```
//!
//! The layout is JSON: the tables in the order of the payload, each with the columns that its rows were written for, so
//! that a later version of the program inserts them as what they are. The nonce is random, so that nobody can send an
//! event whose bytes look like a record of the segment that it comes to lie in.

use serde::Deserialize;
use serde::Serialize;

use crate::batch::Columns;
use crate::batch::Rows;
use crate::table::Table;

/// Version of the format, in the head of each segment.
const VERSION: u16 = 1;

const SEGMENT_MAGIC: &[u8; 6] = b"WEIRSP";
/// Bytes before the layout.
pub(super) const SEGMENT_HEAD: usize = 24;

/// No UTF-8 text holds it.
pub(super) const RECORD_MAGIC: &[u8; 4] = b"\xFFWR\xFE";
/// Bytes before the payload.
pub(super) const RECORD_HEAD: usize = 16;

/// The columns of each table's rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Layout(pub(super) Vec<Section>);

/// One table of a layout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Section {
    pub(super) table: String,
    pub(super) columns: String,
}

/// Why bytes are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The head of a segment is cut off or damaged.
    #[error("the head of the segment is damaged")]
    Head,
    /// A later program wrote it.
    #[error("the segment has format {0}, this program reads {VERSION}")]
    Version(u16),
    /// A table that this program does not write.
    #[error("the segment holds rows of {0:?}, which this program does not know")]
    UnknownTable(String),
    /// The payload contradicts itself.
    #[error("a record has a good checksum and no sense")]
    Payload,
}

/// What the head of a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordHead {
    pub(super) length: u32,
    pub(super) checksum: u32,
}

impl Layout {
    /// The layout of rows that this program writes.
    pub(super) fn current() -> Self {
        let section = |table: Table| Section {
            table: table.name().to_owned(),
            columns: crate::encode::columns(table).to_owned(),
        };
        Self(Table::ALL.into_iter().map(section).collect())
    }

    /// The columns of each table, when they are not those that this program writes.
    pub(super) fn columns(&self) -> Option<Columns> {
        let of = |table: Table| {
            let section = self.0.iter().find(|section| section.table == table.name());
            section.map_or_else(String::new, |section| section.columns.clone())
        };
        (*self != Self::current()).then(|| Columns::new(Table::ALL.map(of)))
    }

    /// Each section's table.
    pub(super) fn tables(&self) -> Result<Vec<Table>, Unreadable> {
        let find = |section: &Section| {
            let known = Table::ALL.into_iter().find(|table| table.name() == section.table);
            known.ok_or_else(|| Unreadable::UnknownTable(section.table.clone()))
        };
        self.0.iter().map(find).collect()
    }
}

/// The beginning of a segment.
pub(super) fn segment_head(nonce: u64, layout: &Layout) -> Vec<u8> {
    let layout = serde_json::to_vec(layout).expect("names are JSON");
    let mut head = Vec::with_capacity(SEGMENT_HEAD + layout.len());
    head.extend_from_slice(SEGMENT_MAGIC);
    head.extend_from_slice(&VERSION.to_le_bytes());
    head.extend_from_slice(&nonce.to_le_bytes());
    head.extend_from_slice(&short(layout.len()).to_le_bytes());
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&head), &layout);
    head.extend_from_slice(&checksum.to_le_bytes());
    head.extend_from_slice(&layout);
    head
}

/// Length of the layout, from the first [`SEGMENT_HEAD`] bytes.
pub(super) fn layout_length(head: &[u8; SEGMENT_HEAD]) -> Result<usize, Unreadable> {
    if &head[..6] != SEGMENT_MAGIC {
        return Err(Unreadable::Head);
    }
    let version = u16::from_le_bytes([head[6], head[7]]);
    if version != VERSION {
        return Err(Unreadable::Version(version));
    }
    Ok(long(number(&head[16..20])))
}

/// Nonce and layout of a segment.
pub(super) fn parse_segment_head(
    head: &[u8; SEGMENT_HEAD],
    layout: &[u8],
) -> Result<(u64, Layout), Unreadable> {
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&head[..20]), layout);
    if checksum != number(&head[20..24]) {
        return Err(Unreadable::Head);
    }
    let nonce = u64::from(number(&head[8..12])) | u64::from(number(&head[12..16])) << 32;
    serde_json::from_slice(layout).map(|layout| (nonce, layout)).map_err(|_| Unreadable::Head)
}

/// One request's rows as the parts of a record: head with sizes, then each table's bytes.
pub(super) fn record(nonce: u64, rows: &Rows) -> (Vec<u8>, [&[u8]; Table::ALL.len()]) {
    let tables = Table::ALL.map(|table| rows.table(table));
    let sizes = 4 + 4 * Table::ALL.len() * (1 + rows.len());
    let mut head = Vec::with_capacity(RECORD_HEAD + sizes);
    head.resize(RECORD_HEAD, 0);
    head.extend_from_slice(&short(rows.len()).to_le_bytes());
    for bytes in tables {
        head.extend_from_slice(&short(bytes.len()).to_le_bytes());
    }
    for end in rows.ends().iter().flatten() {
        head.extend_from_slice(&short(*end).to_le_bytes());
    }
    let checksum = tables
        .iter()
        .fold(crc32c::crc32c(&head[RECORD_HEAD..]), |checksum, bytes| crc32c::crc32c_append(checksum, bytes));
    let length = short(sizes + tables.iter().map(|bytes| bytes.len()).sum::<usize>());
    head[..4].copy_from_slice(RECORD_MAGIC);
    head[4..8].copy_from_slice(&length.to_le_bytes());
    head[8..12].copy_from_slice(&checksum.to_le_bytes());
    let own = head_checksum(nonce, &head[..12]);
    head[12..16].copy_from_slice(&own.to_le_bytes());
    (head, tables)
}

/// The head of a record; `None` when these bytes are none.
pub(super) fn parse_record_head(nonce: u64, head: &[u8]) -> Option<RecordHead> {
    let is_head = head.len() >= RECORD_HEAD
        && &head[..4] == RECORD_MAGIC
        && head_checksum(nonce, &head[..12]) == number(&head[12..16]);
    is_head.then(|| RecordHead { length: number(&head[4..8]), checksum: number(&head[8..12]) })
}

/// Whether a payload is the one that the head speaks of.
pub(super) fn is_whole(head: RecordHead, payload: &[u8]) -> bool {
    payload.len() == long(head.length) && crc32c::crc32c(payload) == head.checksum
}

/// The rows of a payload.
pub(super) fn parse_payload(tables: &[Table], payload: &[u8]) -> Result<Rows, Unreadable> {
    let mut rest = payload;
    let mut take = |bytes: usize| {
        let (taken, tail) = rest.split_at_checked(bytes).ok_or(Unreadable::Payload)?;
        rest = tail;
        Ok::<_, Unreadable>(taken)
    };
    let events = long(number(take(4)?));
    let lengths: Vec<_> = take(4 * tables.len())?.chunks_exact(4).map(|each| long(number(each))).collect();
    let ends = take(events.checked_mul(4 * tables.len()).ok_or(Unreadable::Payload)?)?;
    let of_event = |event: &[u8]| {
        let mut of_tables = [0; Table::ALL.len()];
        for (table, end) in tables.iter().zip(event.chunks_exact(4)) {
            of_tables[*table as usize] = long(number(end));
        }
        of_tables
    };
    let ends: Vec<_> = ends.chunks_exact(4 * tables.len()).map(of_event).collect();
    let mut bytes: [Vec<u8>; Table::ALL.len()] = Default::default();
    for (table, length) in tables.iter().zip(lengths) {
        bytes[*table as usize] = take(length)?.to_vec();
    }
    if !rest.is_empty() || ends.len() != events {
        return Err(Unreadable::Payload);
    }
    Rows::from_parts(bytes, ends).ok_or(Unreadable::Payload)
}

fn head_checksum(nonce: u64, head: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&nonce.to_le_bytes()), head)
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes.try_into().expect("four bytes"))
}

/// A body is far below four gigabytes.
fn short(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn long(length: u32) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}
