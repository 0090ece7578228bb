//! The writer of LZ-string, after the description of its format: the other side of what is read here.

use std::collections::HashMap;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Writes a text as `LZString.compressToBase64` does.
pub(super) fn compress_to_base64(text: &str) -> String {
    let mut writer =
        Writer { codes: HashMap::new(), unseen: Vec::new(), bits: Vec::new(), width: 2, room: 2 };
    let mut phrase: Vec<u16> = Vec::new();
    for unit in text.encode_utf16() {
        if !writer.codes.contains_key(&vec![unit]) {
            writer.learn(vec![unit]);
            writer.unseen.push(unit);
        }
        let longer = [&phrase[..], &[unit]].concat();
        if writer.codes.contains_key(&longer) {
            phrase = longer;
        } else {
            writer.put_phrase(&phrase);
            writer.learn(longer);
            phrase = vec![unit];
        }
    }
    if !phrase.is_empty() {
        writer.put_phrase(&phrase);
    }
    writer.put(2, writer.width);
    // The last digit is never whole.
    writer.bits.extend(std::iter::repeat_n(false, 6 - writer.bits.len() % 6));
    let index = |bits: &[bool]| bits.iter().fold(0, |index, bit| index << 1 | usize::from(*bit));
    writer.bits.chunks(6).map(|bits| char::from(ALPHABET[index(bits)])).collect()
}

struct Writer {
    codes: HashMap<Vec<u16>, usize>,
    /// Units that have a code and were never written.
    unseen: Vec<u16>,
    bits: Vec<bool>,
    width: usize,
    /// Codes that are still written before the width grows.
    room: usize,
}

impl Writer {
    /// 0 to 2 stand for a new unit of 8 bits, one of 16 bits, and the end.
    fn learn(&mut self, phrase: Vec<u16>) {
        let code = self.codes.len() + 3;
        self.codes.insert(phrase, code);
    }

    fn put_phrase(&mut self, phrase: &[u16]) {
        match phrase {
            [] => return,
            [unit] if self.unseen.contains(unit) => {
                self.unseen.retain(|unseen| unseen != unit);
                let (kind, width) = if *unit < 256 { (0, 8) } else { (1, 16) };
                self.put(kind, self.width);
                self.put(usize::from(*unit), width);
                self.grow();
            }
            phrase => self.put(self.codes[phrase], self.width),
        }
        self.grow();
    }

    /// The least bit first.
    fn put(&mut self, value: usize, width: usize) {
        self.bits.extend((0..width).map(|bit| value >> bit & 1 == 1));
    }

    fn grow(&mut self) {
        self.room -= 1;
        if self.room == 0 {
            self.room = 1 << self.width;
            self.width += 1;
        }
    }
}
