//! LZ-string in base64, as posthog-js sent it until 2020 (`compression=lz64`).
//!
//! The format is a dictionary coder over UTF-16 units, written in groups of six bits. Every entry of the dictionary is a
//! piece of the output followed by the unit after it, so the dictionary holds places and no text. Its output can be
//! quadratic in its input: the cap is checked with each code.

use super::Refused;
use super::expand::Grant;

const INVALID: Refused = Refused::Invalid("lz64");

/// Codes that stand for no entry: a new unit of 8 bits, one of 16, and the end.
const NEW_BYTE: usize = 0;
const NEW_UNIT: usize = 1;
const END: usize = 2;
/// Code of the first entry.
const FIRST: usize = 3;

/// Expands `body` into at most `max_bytes` of UTF-8. `grant` is asked for memory before it is used.
pub(super) fn expand(body: &[u8], max_bytes: usize, grant: &mut Grant<'_>) -> Result<Vec<u8>, Refused> {
    let mut output = Output::new(body, max_bytes, grant);
    let mut bits = Bits { body: body.iter(), value: 0, left: 0 };
    let mut width = 2;
    // Entries that are still made before codes need one more bit.
    let mut spare = 4_u32;
    let mut previous: Option<Place> = None;
    loop {
        let code = bits.read(width)?;
        let place = match code {
            END => return Ok(output.finish()),
            NEW_BYTE | NEW_UNIT => {
                let unit = bits.read(if code == NEW_BYTE { 8 } else { 16 })?;
                let place = output.unit(unit)?;
                output.remember(place)?;
                if previous.is_some() {
                    spare -= 1;
                    widen(&mut spare, &mut width);
                }
                place
            }
            code => output.repeat(code - FIRST, previous)?,
        };
        if let Some(previous) = previous {
            // The entry is the previous piece and the first unit of this one, which stands right behind it.
            output
                .remember(Place { length: previous.length + output.unit_length(place.start), ..previous })?;
            spare -= 1;
            widen(&mut spare, &mut width);
        } else {
            width = 3;
        }
        previous = Some(place);
    }
}

fn widen(spare: &mut u32, width: &mut u32) {
    if *spare == 0 {
        *spare = 1_u32.checked_shl(*width).unwrap_or(u32::MAX);
        *width += 1;
    }
}

/// A piece of the output.
#[derive(Debug, Clone, Copy)]
struct Place {
    start: usize,
    length: usize,
}

/// What was read so far and the dictionary over it. Units are kept as three bytes or fewer each, halves of a pair
/// included, so that pieces can begin at any of them; [`Output::finish`] joins the halves.
struct Output<'g, 'f> {
    bytes: Vec<u8>,
    places: Vec<(u32, u32)>,
    granted_places: usize,
    max_bytes: usize,
    granted: usize,
    grant: &'g mut Grant<'f>,
}

/// Bytes, and places, that are granted at once.
const STEP: usize = 16 * 1024;

impl<'g, 'f> Output<'g, 'f> {
    /// Takes address space for all that can come, so that nothing has to move when it grows.
    fn new(body: &[u8], max_bytes: usize, grant: &'g mut Grant<'f>) -> Self {
        // Six bits of the body are spent on each entry, but for the first few.
        let places = Vec::with_capacity(body.len() + 64);
        let bytes = Vec::with_capacity(max_bytes);
        Self { bytes, places, granted_places: 0, max_bytes, granted: 0, grant }
    }

    fn reserve(&mut self, more: usize) -> Result<(), Refused> {
        let needed = self.bytes.len() + more;
        if needed > self.max_bytes {
            return Err(Refused::TooLarge);
        }
        if needed > self.granted {
            let step = (needed - self.granted).next_multiple_of(STEP);
            (self.grant)(step).map_err(Refused::Memory)?;
            self.granted += step;
        }
        Ok(())
    }

    fn remember(&mut self, place: Place) -> Result<(), Refused> {
        if self.places.len() == self.granted_places {
            (self.grant)(STEP * size_of::<(u32, u32)>()).map_err(Refused::Memory)?;
            self.granted_places += STEP;
        }
        let place = (u32::try_from(place.start), u32::try_from(place.length));
        let (Ok(start), Ok(length)) = place else { return Err(Refused::TooLarge) };
        self.places.push((start, length));
        Ok(())
    }

    /// Appends a unit that was never seen.
    fn unit(&mut self, unit: usize) -> Result<Place, Refused> {
        let start = self.bytes.len();
        self.reserve(3)?;
        let low = |shift: u32| (unit >> shift).to_le_bytes()[0];
        match unit {
            0..0x80 => self.bytes.push(low(0)),
            0x80..0x800 => self.bytes.extend([0xc0 | low(6), 0x80 | low(0) & 0x3f]),
            _ => self.bytes.extend([0xe0 | low(12), 0x80 | low(6) & 0x3f, 0x80 | low(0) & 0x3f]),
        }
        Ok(Place { start, length: self.bytes.len() - start })
    }

    /// Appends an entry of the dictionary; the one that is about to be made is the previous piece and its first unit.
    fn repeat(&mut self, index: usize, previous: Option<Place>) -> Result<Place, Refused> {
        let start = self.bytes.len();
        if let Some((from, length)) = self.places.get(index) {
            self.append(*from as usize, *length as usize)?;
        } else {
            let previous = previous.filter(|_| index == self.places.len()).ok_or(INVALID)?;
            self.append(previous.start, previous.length)?;
            self.append(previous.start, self.unit_length(previous.start))?;
        }
        Ok(Place { start, length: self.bytes.len() - start })
    }

    fn append(&mut self, from: usize, length: usize) -> Result<(), Refused> {
        self.reserve(length)?;
        self.bytes.extend_from_within(from..from + length);
        Ok(())
    }

    fn unit_length(&self, start: usize) -> usize {
        match self.bytes.get(start) {
            Some(0..0x80) | None => 1,
            Some(0x80..0xe0) => 2,
            Some(_) => 3,
        }
    }

    /// Joins halves of pairs, and replaces those that are alone.
    fn finish(self) -> Vec<u8> {
        let mut bytes = self.bytes;
        let mut filled = 0;
        let mut at = 0;
        while at < bytes.len() {
            let mut length = 1;
            if let Some(high) = half(&bytes, at, 0xa0) {
                length = 3;
                if let Some(low) = half(&bytes, at + 3, 0xb0) {
                    let code = 0x1_0000 + (high << 10) + low;
                    let mut buffer = [0; 4];
                    char::from_u32(code).unwrap_or('\u{fffd}').encode_utf8(&mut buffer);
                    bytes[filled..filled + 4].copy_from_slice(&buffer);
                    (filled, at) = (filled + 4, at + 6);
                    continue;
                }
                bytes[at..at + 3].copy_from_slice("\u{fffd}".as_bytes());
            } else if half(&bytes, at, 0xb0).is_some() {
                length = 3;
                bytes[at..at + 3].copy_from_slice("\u{fffd}".as_bytes());
            }
            bytes.copy_within(at..at + length, filled);
            (filled, at) = (filled + length, at + length);
        }
        bytes.truncate(filled);
        bytes
    }
}

/// Ten bits of half a pair; `kind` is the second byte of the least high or low half.
fn half(bytes: &[u8], at: usize, kind: u8) -> Option<u32> {
    match bytes.get(at..at + 3)? {
        [0xed, second, third] if second & 0xf0 == kind => {
            Some(u32::from(second & 0x0f) << 6 | u32::from(third & 0x3f))
        }
        _ => None,
    }
}

/// Bits of the body, the least of each number first.
struct Bits<'a> {
    body: std::slice::Iter<'a, u8>,
    value: u8,
    left: u32,
}

impl Bits<'_> {
    fn read(&mut self, width: u32) -> Result<usize, Refused> {
        let mut number = 0;
        for position in 0..width {
            if self.left == 0 {
                self.value = self.body.find_map(|byte| value(*byte)).ok_or(INVALID)?;
                self.left = 6;
            }
            self.left -= 1;
            number |= usize::from(self.value >> self.left & 1) << position;
        }
        Ok(number)
    }
}

/// What a character of base64 stands for; `+` may have become a space, and anything else is skipped.
fn value(byte: u8) -> Option<u8> {
    Some(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' | b' ' => 62,
        b'/' => 63,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Denied;
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    use proptest::prelude::*;
    use rstest::rstest;

    fn expanded(body: &str, max_bytes: usize) -> Result<String, Refused> {
        expand(body.as_bytes(), max_bytes, &mut |_| Ok(())).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    // Made with LZString.compressToBase64 of the npm package lz-string 1.5.0.
    #[rstest]
    #[case("IZA=", "a")]
    #[case("Q===", "")]
    #[case("N4IgpgbmB2AuIC4QEMQBoQBMCWBnW20AxrAPraaIgCuIAvkA", r#"{"event":"a","distinct_id":"u"}"#)]
    #[case(
        "N4IgpgbmB2AuIC4QEvC8G4AD2QBoQBMCWAzrPtAMawD6 uiIArtiNHQIbsedfc  cgBfIA==",
        r#"{"event":"é😀","distinct_id":"u","n":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}"#
    )]
    #[case("DYewdgpgBIvBtQFgQ2AMyA==", "lone \u{fffd} half")]
    fn what_lz_string_wrote_is_read(#[case] body: &str, #[case] expected: &str) {
        assert_eq!(expanded(body, 1000).unwrap(), expected);
    }

    #[test]
    fn a_bomb_stops_at_the_cap_and_takes_no_more_memory() {
        let mut granted = 0;
        // Every code repeats the piece before it and one unit more.
        let bomb = bomb(2000);
        let outcome = expand(bomb.as_bytes(), 100_000, &mut |bytes| {
            granted += bytes;
            Ok(())
        });
        assert_eq!(outcome, Err(Refused::TooLarge));
        assert!(granted <= 100_000 + 2 * STEP * 8, "{granted}");
    }

    #[test]
    fn a_refused_grant_and_a_cut_end_it() {
        let denied = expand(b"IZA=", 100, &mut |_| Err(Denied::Full));
        assert_eq!(denied, Err(Refused::Memory(Denied::Full)));
        assert_eq!(expanded("", 10), Err(INVALID));
        assert_eq!(expanded("N4IgpgbmB2Au", 100), Err(INVALID));
    }

    /// What the coder writes for very many times the same letter: each code is the entry that it is about to make.
    fn bomb(codes: usize) -> String {
        let mut bits = Vec::new();
        let mut put = |number: usize, width: u32| bits.extend((0..width).map(|at| number >> at & 1 == 1));
        put(0, 2);
        put(usize::from(b'a'), 8);
        let (mut width, mut spare) = (3, 4);
        for code in 4..4 + codes {
            put(code, width);
            spare -= 1;
            widen(&mut spare, &mut width);
        }
        let sextets = bits.chunks(6).map(|chunk| {
            chunk.iter().enumerate().fold(0_usize, |value, (at, bit)| value | usize::from(*bit) << (5 - at))
        });
        sextets.map(|sextet| char::from(ALPHABET[sextet])).collect()
    }

    proptest! {
        #[test]
        fn no_body_panics_or_passes_the_cap(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(bytes) = expand(&body, 5000, &mut |_| Ok(())) {
                prop_assert!(bytes.len() <= 5000 && std::str::from_utf8(&bytes).is_ok());
            }
        }

        #[test]
        fn no_text_of_the_alphabet_panics(body in "[A-Za-z0-9+/]{0,300}") {
            drop(expanded(&body, 5000));
        }
    }
}
