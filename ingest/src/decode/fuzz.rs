//! Mutation fuzzers over every decoder: real bodies, damaged by chance, against an independent reader where there is one.
//!
//! Each is a property of a seed, so that proptest counts them, names the seed that fails, and does more when it is told
//! to: `PROPTEST_CASES=100000 cargo test --package weir-ingest --lib fuzz`, or for a time `cargo soak -- fuzz`.
//! What holds of all: no input panics, no output passes its cap, and no memory is used that was not granted.

mod lz_string;
mod mutate;

use std::collections::BTreeMap;
use std::io::Read as _;

use proptest::prelude::*;
use serde_json::value::RawValue;

use super::*;
use crate::budget::Budget;
use crate::event::RawBatch;
use mutate::Mutator;

/// Largest output that a decoder may make here.
const CAP: usize = 20_000;
/// What any of them may ask for: the largest window is one of 16 MiB, and tables and output come on top.
const MEMORY: usize = 17 << 20;

/// What a decoder made of a body, and how much memory it was granted.
fn granted<T>(
    decode: impl FnOnce(&mut expand::Grant<'_>) -> Result<T, Refused>,
) -> (Result<T, Refused>, usize) {
    let mut sum = 0;
    let outcome = decode(&mut |bytes| {
        sum += bytes;
        Ok(())
    });
    (outcome, sum)
}

/// What a reader of flate2's makes of a body: all of it, nothing when it is broken, or too much.
fn read_all(reader: impl std::io::Read) -> Result<Vec<u8>, Refused> {
    let mut output = Vec::new();
    match reader.take(CAP as u64 + 1).read_to_end(&mut output) {
        Ok(_) if output.len() > CAP => Err(Refused::TooLarge),
        Ok(_) => Ok(output),
        Err(_) => Err(Refused::Invalid("")),
    }
}

/// The events as serde_json sees them: of repeated fields the last.
fn events(json: &str) -> Option<Vec<BTreeMap<String, &RawValue>>> {
    if let Ok(events) = serde_json::from_str(json) {
        return Some(events);
    }
    let envelope: BTreeMap<String, &RawValue> = serde_json::from_str(json).ok()?;
    match envelope.get("batch") {
        Some(batch) => serde_json::from_str(batch.get()).ok(),
        None => Some(vec![envelope]),
    }
}

/// Compares what was decoded with what serde_json sees of it.
fn agrees(batch: &RawBatch<'_>, json: &str) -> Result<(), TestCaseError> {
    prop_assert!(serde_json::from_str::<serde::de::IgnoredAny>(json).is_ok());
    let Some(events) = events(json) else { return Ok(()) };
    prop_assert_eq!(batch.events.len() + batch.excess, events.len());
    for (ours, theirs) in batch.events.iter().zip(&events) {
        let text =
            |name: &str| theirs.get(name).and_then(|value| serde_json::from_str::<String>(value.get()).ok());
        // A later null takes nothing back here, and takes all back there.
        if let Some(name) = text("event") {
            prop_assert_eq!(ours.event.as_deref(), Some(&*name));
        }
        let properties =
            theirs.get("properties").map(|value| value.get()).filter(|text| text.starts_with('{'));
        if let Some(properties) = properties {
            prop_assert_eq!(ours.properties.as_ref().map(|ours| ours.text), Some(properties));
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_wrapping_stays_within_its_cap_and_its_budget(seed: u64, is_lz: bool, is_form: bool) {
        let mut mutator = Mutator::new(seed);
        let body = mutator.damaged(Mutator::wrapped);
        let budget = Budget::new(MEMORY);
        let mut reservation = budget.open();
        reservation.grow(body.len()).unwrap();
        let unpacked = unpack::unpack(body, unpack::Hints { is_lz, is_form }, CAP, &mut reservation);
        if let Ok(unpacked) = unpacked {
            // What was never packed is as long as it was sent.
            prop_assert!(reservation.held() >= unpacked.len().min(CAP));
        }
        drop(reservation);
        prop_assert_eq!(budget.used(), 0);
    }

    #[test]
    fn an_undamaged_wrapping_holds_what_was_wrapped(seed: u64) {
        let mut mutator = Mutator::new(seed);
        let json = mutator.json();
        let (body, hints) = mutator.wrap(&json);
        let unpacked = unpack::unpack(body, hints, MEMORY, &mut Budget::new(4 * MEMORY).open());
        prop_assert_eq!(String::from_utf8(unpacked.unwrap()).unwrap(), json);
    }

    #[test]
    fn gzip_is_read_as_flate2_reads_it(seed: u64) {
        let body = Mutator::new(seed).damaged(Mutator::gzip);
        let (ours, memory) = granted(|grant| gzip::inflate(&body, CAP, grant));
        let theirs = read_all(flate2::read::MultiGzDecoder::new(&*body));
        prop_assert_eq!(ours.is_ok(), theirs.is_ok());
        if let (Ok(ours), Ok(theirs)) = (&ours, &theirs) {
            prop_assert_eq!(ours, theirs);
        }
        prop_assert!(memory <= CAP + 1);
    }

    #[test]
    fn the_codings_of_v1_are_read_as_their_libraries_read_them(seed: u64) {
        let body = Mutator::new(seed).damaged(Mutator::zlib);
        let (ours, memory) = granted(|grant| codec::Codec::Deflate.expand(body.clone(), CAP, grant));
        let theirs = [
            read_all(flate2::read::ZlibDecoder::new(&*body)).ok(),
            read_all(flate2::read::DeflateDecoder::new(&*body)).ok(),
        ];
        if let Ok(ours) = ours {
            prop_assert!(theirs.contains(&Some(ours)));
        }
        prop_assert!(memory <= CAP + 1);
        for codec in [codec::Codec::Brotli, codec::Codec::Zstd] {
            let body = Mutator::new(seed).damaged(|_| Mutator::coded(codec));
            let (output, memory) = granted(|grant| codec.expand(body, CAP, grant));
            prop_assert!(memory <= MEMORY && output.map_or(0, |output| output.len()) <= CAP);
        }
    }

    #[test]
    fn base64_is_read_digit_by_digit(seed: u64) {
        let body = Mutator::new(seed).damaged(Mutator::base64);
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut bits = String::new();
        let mut is_foreign = false;
        for byte in body.trim_ascii() {
            let byte = match byte { b'-' | b' ' => b'+', b'_' => b'/', byte => *byte };
            match alphabet.iter().position(|digit| *digit == byte) {
                Some(value) => bits.extend((0..6).rev().map(|bit| if value >> bit & 1 == 1 { '1' } else { '0' })),
                None => is_foreign |= !matches!(byte, b'=' | b'\r' | b'\n'),
            }
        }
        let octets = bits.as_bytes().chunks_exact(8).map(|octet| std::str::from_utf8(octet).unwrap());
        let theirs: Vec<u8> = octets.map(|octet| u8::from_str_radix(octet, 2).unwrap()).collect();
        let mut ours = body;
        let outcome = base64::decode(&mut ours);
        prop_assert_eq!(outcome.is_err(), is_foreign);
        if outcome.is_ok() {
            prop_assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn lz_string_is_read_as_its_library_wrote_it(seed: u64) {
        let mut mutator = Mutator::new(seed);
        let text = mutator.text();
        let packed = lz_string::compress_to_base64(&text);
        let (read, _) = granted(|grant| lz::expand(packed.as_bytes(), usize::from(u16::MAX), grant));
        prop_assert_eq!(String::from_utf8(read.unwrap()).unwrap(), text);
        let damaged = mutator.damage(packed.into_bytes());
        let (read, memory) = granted(|grant| lz::expand(&damaged, CAP, grant));
        let text = read.unwrap_or_default();
        prop_assert!(text.len() <= CAP && std::str::from_utf8(&text).is_ok());
        prop_assert!(memory <= CAP + 8 * (damaged.len() + (32 << 10)), "{} for {}", memory, damaged.len());
    }

    #[test]
    fn a_form_holds_no_more_than_its_text(seed: u64) {
        let body = Mutator::new(seed).damaged(Mutator::form);
        let form = form::parse(&body);
        let length = |field: &Option<std::borrow::Cow<'_, str>>| field.as_deref().map_or(0, str::len);
        // A byte that is no UTF-8 becomes a character of three.
        prop_assert!(length(&form.data) + length(&form.compression) <= 3 * body.len());
    }

    #[test]
    fn mended_text_is_text_and_a_second_time_the_same(seed: u64) {
        let body = Mutator::new(seed).damaged(|mutator| mutator.json().into_bytes());
        let mut once = body.clone();
        repair::text(&mut once);
        prop_assert_eq!(once.len(), body.len());
        let mut twice = once.clone();
        repair::text(&mut twice);
        prop_assert_eq!(&twice, &once);
        let text = std::str::from_utf8(&once).unwrap();
        // What ours takes, a strict reader takes too: ClickHouse is one.
        if json::from_str::<&RawValue>(text).is_ok() {
            prop_assert!(serde_json::from_str::<serde_json::Value>(&unlimited(text)).is_ok(), "{}", text);
        }
        repair::control_characters(&mut twice);
        prop_assert!(!repair::control_characters(&mut twice));
    }

    #[test]
    fn json_is_taken_or_refused_as_serde_json_does(seed: u64) {
        let body = Mutator::new(seed).damaged(|mutator| mutator.json().into_bytes());
        let text = String::from_utf8_lossy(&body);
        let ours = json::from_str::<&RawValue>(&text).map(RawValue::get).ok();
        prop_assert_eq!(ours, serde_json::from_str::<&RawValue>(&text).map(RawValue::get).ok());
    }

    #[test]
    fn quoted_numbers_leave_the_same_json_without_unreadable_ones(seed: u64) {
        let json = Mutator::new(seed).json();
        let quoted = String::from_utf8(number::quote_unreadable(json.as_bytes())).unwrap();
        prop_assert_eq!(number::quote_unreadable(quoted.as_bytes()), quoted.as_bytes());
        // serde_json keeps no number that Float64 does not hold, and so refuses those that stayed.
        prop_assert!(serde_json::from_str::<serde_json::Value>(&quoted).is_ok(), "{}", quoted);
    }

    #[test]
    fn envelopes_hold_what_serde_json_sees_in_them(seed: u64) {
        let mut mutator = Mutator::new(seed);
        let mut body = mutator.damaged(|mutator| mutator.json().into_bytes());
        repair::text(&mut body);
        let text = std::str::from_utf8(&body).unwrap();
        let max_events = mutator.below(4);
        for batch in [posthog::decode(&body, max_events), batch::decode(&body, max_events)].into_iter().flatten() {
            prop_assert!(batch.events.len() <= max_events.max(1));
            agrees(&batch, text)?;
        }
        drop(posthog::decode_engage(&body, max_events));
    }

    #[test]
    fn v1_answers_for_each_event_and_passes_on_the_accepted_ones(seed: u64) {
        let body = Mutator::new(seed).damaged(|mutator| mutator.v1().into_bytes());
        let sender = analytics::Sender { sdk: "posthog-js/1.400.0", sent_at: "2026-05-06T09:30:00Z" };
        if let Ok(judged) = analytics::judge(&body, sender, 10) {
            let is_accepted = |verdict: &analytics::Verdict| !matches!(verdict, analytics::Verdict::Dropped(_));
            let accepted = judged.verdicts.iter().filter(|(_, verdict)| is_accepted(verdict)).count();
            prop_assert!(judged.envelope.len() <= body.len() + (accepted + 1) * analytics::OVERHEAD);
            let passed_on = posthog::decode(&judged.envelope, 10).map_or(0, |batch| batch.events.len());
            prop_assert_eq!(passed_on, accepted);
        }
    }
}

/// The text without the numbers that serde_json's own values cannot hold.
fn unlimited(text: &str) -> String {
    String::from_utf8(number::quote_unreadable(text.as_bytes())).unwrap()
}
