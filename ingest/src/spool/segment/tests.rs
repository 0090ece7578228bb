//! Segment files that were cut, damaged, or written by somebody else.

use std::path::PathBuf;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use proptest::prelude::*;

use super::super::format::Section;
use super::*;

const NONCE: u64 = 0x0123_4567_89ab_cdef;

/// A file that goes away with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn with(bytes: &[u8]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("weir-segment-{}-{number}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

fn rows(events: &[(&[u8], &[u8])]) -> Rows {
    let mut rows = Rows::default();
    for (event, link) in events {
        rows.table_mut(Table::Events).extend_from_slice(event);
        rows.table_mut(Table::Links).extend_from_slice(link);
        rows.finish_event();
    }
    rows
}

fn record(rows: &Rows) -> Vec<u8> {
    let (head, tables) = format::record(NONCE, rows);
    [&head[..], &tables.concat()].concat()
}

fn segment(records: &[Rows]) -> Vec<u8> {
    let mut bytes = format::segment_head(NONCE, &Layout::current());
    for rows in records {
        bytes.extend(record(rows));
    }
    bytes
}

/// Everything that is found from the start to the end.
fn found(bytes: &[u8]) -> Vec<Found> {
    let scratch = Scratch::with(bytes);
    let segment = Segment::open(&scratch.0).unwrap().unwrap();
    let (mut at, end, mut all) = (segment.start, bytes.len() as u64, Vec::new());
    loop {
        let next = segment.read(at, end).unwrap();
        match &next {
            Found::Record(_, next) | Found::Damage(next) => at = *next,
            Found::Torn => at = end,
            Found::End => return all,
        }
        all.push(next);
    }
}

fn records(found: Vec<Found>) -> Vec<Rows> {
    found
        .into_iter()
        .filter_map(|each| if let Found::Record(rows, _) = each { Some(rows) } else { None })
        .collect()
}

#[test]
fn a_last_record_that_is_cut_at_any_byte_is_no_record_and_takes_no_other_with_it() {
    let written = [rows(&[(b"one", b"x"), (b"two", b"")]), rows(&[(b"three", b"yz")])];
    let (whole, first) = (segment(&written), segment(&written[..1]));
    for cut in first.len()..whole.len() {
        let found = found(&whole[..cut]);
        assert!(!found.iter().any(|each| matches!(each, Found::Damage(_))), "cut at {cut}: {found:?}");
        assert_eq!(records(found), written[..1], "cut at {cut}");
    }
    assert_eq!(records(found(&whole)), written);
}

#[test]
fn an_end_of_zeros_is_torn_as_well() {
    let written = [rows(&[(b"one", b"x")])];
    let mut bytes = segment(&written);
    bytes.extend([0; 5000]);
    let found = found(&bytes);
    assert_eq!(found.last(), Some(&Found::Torn));
    assert_eq!(records(found), written);
}

#[test]
fn a_byte_that_changed_costs_the_record_that_it_is_in_and_no_other() {
    let written = [rows(&[(b"one", b"x")]), rows(&[(b"two", b"yz")]), rows(&[(b"three", b"")])];
    let whole = segment(&written);
    let (from, to) = (segment(&written[..1]).len(), segment(&written[..2]).len());
    for at in from..to {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x40;
        let found = found(&bytes);
        assert_eq!(found[1], Found::Damage(to as u64), "byte {at}");
        assert_eq!(records(found), [written[0].clone(), written[2].clone()], "byte {at}");
    }
}

#[test]
fn a_record_that_a_client_sent_as_an_event_is_found_only_as_that_event() {
    let other = rows(&[(b"forged", b"")]);
    let (head, tables) = format::record(NONCE + 1, &other);
    let forged = [&head[..], &tables.concat()].concat();
    let written = [rows(&[(&forged, b"")]), rows(&[(b"behind", b"")])];
    let mut bytes = segment(&written);
    let start = segment(&[]).len();
    bytes[start + RECORD_HEAD] ^= 1;
    assert_eq!(records(found(&bytes)), written[1..]);
}

#[test]
fn a_damaged_head_is_said_and_an_empty_file_is_nothing() {
    assert!(Segment::open(&Scratch::with(b"").0).unwrap().is_none());
    let whole = segment(&[]);
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        let opened = Segment::open(&Scratch::with(&bytes).0);
        assert!(matches!(opened, Err(Error::Unreadable(_))), "byte {at}");
    }
}

#[test]
fn rows_of_an_earlier_version_keep_their_columns() {
    let mut layout = Layout::current();
    layout.0[0].columns = "uuid, event".into();
    layout.0.reverse();
    let mut bytes = format::segment_head(NONCE, &layout);
    // The payload lists the tables as the layout does.
    let tables = layout.tables().unwrap();
    let sizes: Vec<_> = tables.iter().map(|table| u32::from(*table == Table::Events) * 3).collect();
    let numbers = [1].into_iter().chain(sizes.clone()).chain(sizes);
    let payload: Vec<u8> = numbers.flat_map(u32::to_le_bytes).chain(*b"one").collect();
    let record = [&forge_head(&payload)[..], &payload].concat();
    bytes.extend(record);
    let read = records(found(&bytes)).remove(0);
    assert_eq!(read.table(Table::Events), b"one");
    assert_eq!(read.maybe_columns.unwrap()[Table::Events as usize], "uuid, event");
}

#[test]
fn rows_of_an_unknown_table_stop_the_program_from_reading_on() {
    let layout = Layout(vec![Section { table: "later".into(), columns: "x".into() }]);
    let opened = Segment::open(&Scratch::with(&format::segment_head(NONCE, &layout)).0);
    assert!(matches!(opened, Err(error) if !error.is_damage()));
}

/// The head of a record with this payload, made as the format says and not by the program.
fn forge_head(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap();
    let mut head = RECORD_MAGIC.to_vec();
    head.extend(length.to_le_bytes());
    head.extend(crc32c::crc32c(payload).to_le_bytes());
    let own = crc32c::crc32c(&[&NONCE.to_le_bytes()[..], &head].concat());
    head.extend(own.to_le_bytes());
    head
}

proptest! {
    #[test]
    fn a_segment_cut_anywhere_yields_the_records_that_are_whole(
        lengths in prop::collection::vec(prop::collection::vec((0..300_usize, 0..9_usize), 1..5), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let of = |events: &Vec<(usize, usize)>| {
            let events: Vec<_> = events.iter().map(|(one, other)| (vec![7; *one], vec![9; *other])).collect();
            let events: Vec<_> = events.iter().map(|(one, other)| (&one[..], &other[..])).collect();
            rows(&events)
        };
        let written: Vec<_> = lengths.iter().map(of).collect();
        let whole = segment(&written);
        let start = segment(&[]).len();
        let cut = start + cut.index(whole.len() - start + 1);
        let complete = (0..=written.len()).rev().find(|count| segment(&written[..*count]).len() <= cut).unwrap();
        prop_assert_eq!(records(found(&whole[..cut])), &written[..complete]);
    }
}
