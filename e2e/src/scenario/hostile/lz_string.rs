//! The compression of LZ-String, as very old sites use it: base64 of a bit stream over UTF-16 units.

use std::collections::{HashMap, HashSet};

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Compresses a text as `LZString.compressToBase64` does.
pub(super) fn compress_to_base64(text: &str) -> String {
    let mut packer = Packer::default();
    for unit in text.encode_utf16() {
        packer.push(unit);
    }
    packer.emit();
    packer.stream.end()
}

/// Compresses at least `count` times the same unit, phrase by phrase: unit by unit it would take seconds.
pub(super) fn compress_run_to_base64(unit: u16, count: usize) -> String {
    let mut packer = Packer::default();
    packer.push(unit);
    let mut longest = packer.open;
    let (mut done, mut length) = (1, 1);
    while done < count {
        // The dictionary knows the run up to this length, and learns one that is longer by one.
        packer.open = longest;
        packer.push(unit);
        longest = longest.and_then(|(code, first)| Some((*packer.phrases.get(&(code, unit))?, first)));
        (done, length) = (done + length, length + 1);
    }
    packer.emit();
    packer.stream.end()
}

/// The dictionary, in which a phrase is the code of a shorter one and one more unit.
#[derive(Debug, Default)]
struct Packer {
    units: HashMap<u16, u32>,
    phrases: HashMap<(u32, u16), u32>,
    /// Units that the stream has not shown yet.
    new_units: HashSet<u16>,
    /// Code of the phrase that is being extended, and its first unit.
    open: Option<(u32, u16)>,
    stream: Stream,
}

impl Packer {
    fn push(&mut self, unit: u16) {
        let code = self.next_code();
        let single = *self.units.entry(unit).or_insert_with(|| {
            self.new_units.insert(unit);
            code
        });
        let Some((phrase, first)) = self.open else {
            self.open = Some((single, unit));
            return;
        };
        if let Some(longer) = self.phrases.get(&(phrase, unit)) {
            self.open = Some((*longer, first));
            return;
        }
        self.emit();
        let code = self.next_code();
        self.phrases.insert((phrase, unit), code);
        self.open = Some((single, unit));
    }

    /// 0 to 2 stand for a new unit of 8 bits, one of 16 bits, and the end.
    fn next_code(&self) -> u32 {
        u32::try_from(self.units.len() + self.phrases.len() + 3).unwrap_or(u32::MAX)
    }

    fn emit(&mut self) {
        let Some((code, first)) = self.open else { return };
        let stream = &mut self.stream;
        if self.new_units.remove(&first) {
            let is_short = first < 256;
            stream.write(u32::from(!is_short), stream.width);
            stream.write(u32::from(first), if is_short { 8 } else { 16 });
            stream.grow();
        } else {
            stream.write(code, stream.width);
        }
        stream.grow();
    }
}

/// Bits, in units of 6 that become characters of base64; a value begins with its least significant bit.
#[derive(Debug)]
struct Stream {
    bits: Vec<bool>,
    width: u32,
    /// Codes until the width grows.
    room: u32,
}

impl Default for Stream {
    fn default() -> Self {
        Self { bits: Vec::new(), width: 2, room: 2 }
    }
}

impl Stream {
    fn grow(&mut self) {
        self.room -= 1;
        if self.room == 0 {
            self.room = 1 << self.width;
            self.width += 1;
        }
    }

    fn write(&mut self, value: u32, width: u32) {
        self.bits.extend((0..width).map(|bit| (value >> bit) & 1 == 1));
    }

    fn end(mut self) -> String {
        self.write(2, self.width);
        // The stream ends with an unfinished unit of 6 bits, always.
        let missing = 6 - self.bits.len() % 6;
        self.bits.extend(std::iter::repeat_n(false, missing));
        let index = |bits: &[bool]| bits.iter().fold(0_usize, |index, bit| (index << 1) | usize::from(*bit));
        let mut text: String = self.bits.chunks(6).map(|bits| char::from(ALPHABET[index(bits)])).collect();
        // Up to three, which base64 itself never has.
        text.push_str(&"=".repeat(text.len().next_multiple_of(4) - text.len()));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_packed_as_the_library_does() {
        assert_eq!(compress_to_base64("hello"), "BYUwNmD2Q===");
        assert_eq!(compress_to_base64("aaaaaaaaaa"), "IY1o");
        assert_eq!(compress_run_to_base64(u16::from(b'a'), 10), compress_to_base64(&"a".repeat(11)));
        let event = r#"{"event":"ünï ☃🎉","a":[1,1,1,1]}"#;
        let packed = "N4IgpgbmB2AuIC4QB/oHuAEhgMkDwbhI/ZABoQBDRAbQEZDraBdAXyA=";
        assert_eq!(compress_to_base64(event), packed);
    }
}
