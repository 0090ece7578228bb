//! The grammar of JSON over bytes: where a value ends, and whether it is one.

use std::borrow::Cow;

use super::Error;
use crate::decode::number;
use crate::decode::text::unescaped;

/// A place in a text.
#[derive(Debug)]
pub(super) struct Scanner<'de> {
    text: &'de str,
    at: usize,
    /// Brackets that are open within the value that is being skipped; kept for the next one.
    open: Vec<u8>,
    has_unreadable_numbers: bool,
}

impl<'de> Scanner<'de> {
    pub(super) fn new(text: &'de str) -> Self {
        Self { text, at: 0, open: Vec::new(), has_unreadable_numbers: false }
    }

    /// Whether ClickHouse could not read one of the numbers so far.
    pub(super) fn has_unreadable_numbers(&self) -> bool {
        self.has_unreadable_numbers
    }

    /// The first byte of what comes next, behind blanks.
    #[inline]
    pub(super) fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(self.at) {
                Some(b' ' | b'\n' | b'\t' | b'\r') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    /// Leaves one byte behind.
    #[inline]
    pub(super) fn advance(&mut self) {
        self.at += 1;
    }

    /// How many bytes are left behind.
    #[inline]
    pub(super) fn place(&self) -> usize {
        self.at
    }

    /// What was left behind since a place.
    #[inline]
    pub(super) fn text_from(&self, start: usize) -> &'de str {
        &self.text[start..self.at]
    }

    #[cold]
    pub(super) fn unexpected(&self, what: &str) -> Error {
        Error(format!("{what} at byte {}", self.at).into())
    }

    /// Comes to the key of the next member of an object; false at its end, which is left behind.
    #[inline]
    pub(super) fn member(&mut self, is_first: bool) -> Result<bool, Error> {
        if !self.item(is_first, b'}')? {
            return Ok(false);
        }
        match self.peek() {
            Some(b'"') => Ok(true),
            _ => Err(self.unexpected("expected a key")),
        }
    }

    /// Comes to the next element of an array; false at its end, which is left behind.
    #[inline]
    pub(super) fn element(&mut self, is_first: bool) -> Result<bool, Error> {
        self.item(is_first, b']')
    }

    #[inline]
    fn item(&mut self, is_first: bool, end: u8) -> Result<bool, Error> {
        match self.peek() {
            Some(byte) if byte == end => {
                self.at += 1;
                Ok(false)
            }
            Some(b',') if !is_first => {
                self.at += 1;
                Ok(true)
            }
            Some(_) if is_first => Ok(true),
            _ => Err(self.unexpected("expected a comma or an end")),
        }
    }

    /// Leaves the colon between key and value behind.
    #[inline]
    pub(super) fn colon(&mut self) -> Result<(), Error> {
        match self.peek() {
            Some(b':') => {
                self.at += 1;
                Ok(())
            }
            _ => Err(self.unexpected("expected a colon")),
        }
    }

    /// Reads the string that begins here.
    #[inline]
    pub(super) fn string(&mut self) -> Result<Cow<'de, str>, Error> {
        let start = self.at;
        let is_plain = self.skip_string()?;
        let quoted = &self.text[start..self.at];
        if is_plain {
            return Ok(Cow::Borrowed(&quoted[1..quoted.len() - 1]));
        }
        unescaped(quoted).map(Cow::Owned).ok_or_else(|| self.unexpected("a bad escape"))
    }

    /// The text of the value that comes next.
    #[inline]
    pub(super) fn raw(&mut self) -> Result<&'de str, Error> {
        self.peek();
        let start = self.at;
        self.skip()?;
        Ok(&self.text[start..self.at])
    }

    /// Leaves a whole value behind. Not by recursion: a client decides how deep it is.
    pub(super) fn skip(&mut self) -> Result<(), Error> {
        self.open.clear();
        loop {
            let is_open = self.skip_or_open()?;
            if is_open {
                continue;
            }
            loop {
                let Some(&bracket) = self.open.last() else { return Ok(()) };
                if self.item(false, bracket)? {
                    break;
                }
                self.open.pop();
            }
            self.skip_key()?;
        }
    }

    /// Leaves a value without parts behind, or comes to the first part of one.
    #[inline]
    fn skip_or_open(&mut self) -> Result<bool, Error> {
        match self.peek() {
            Some(b'"') => self.skip_string().map(|_| false),
            Some(b'{') => self.open(b'}'),
            Some(b'[') => self.open(b']'),
            Some(b'-' | b'0'..=b'9') => self.skip_number().map(|()| false),
            Some(b't') => self.skip_word("true").map(|()| false),
            Some(b'f') => self.skip_word("false").map(|()| false),
            Some(b'n') => self.skip_word("null").map(|()| false),
            _ => Err(self.unexpected("expected a value")),
        }
    }

    fn open(&mut self, end: u8) -> Result<bool, Error> {
        self.at += 1;
        if !self.item(true, end)? {
            return Ok(false);
        }
        self.open.push(end);
        self.skip_key()?;
        Ok(true)
    }

    /// In an object, leaves a key and its colon behind.
    #[inline]
    fn skip_key(&mut self) -> Result<(), Error> {
        if self.open.last() != Some(&b'}') {
            return Ok(());
        }
        if self.peek() != Some(b'"') {
            return Err(self.unexpected("expected a key"));
        }
        self.skip_string()?;
        self.colon()
    }

    /// Leaves a string behind, and says whether it holds no escapes.
    #[inline]
    fn skip_string(&mut self) -> Result<bool, Error> {
        let mut is_plain = true;
        self.at += 1;
        loop {
            self.at = end_of_plain(self.text.as_bytes(), self.at);
            match self.text.as_bytes().get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(is_plain);
                }
                Some(b'\\') => {
                    is_plain = false;
                    self.skip_escape()?;
                }
                Some(_) => return Err(self.unexpected("a control character in a string")),
                None => return Err(self.unexpected("a string without end")),
            }
        }
    }

    fn skip_escape(&mut self) -> Result<(), Error> {
        let length = match self.text.as_bytes()[self.at..] {
            [_, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => 2,
            [_, b'u', a, b, c, d, ..] if [a, b, c, d].iter().all(u8::is_ascii_hexdigit) => 6,
            _ => return Err(self.unexpected("a bad escape")),
        };
        self.at += length;
        Ok(())
    }

    fn skip_word(&mut self, word: &str) -> Result<(), Error> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(self.unexpected("expected a value"));
        }
        self.at += word.len();
        Ok(())
    }

    fn skip_number(&mut self) -> Result<(), Error> {
        let start = self.at;
        self.skip_if(b"-");
        if !self.skip_if(b"0") {
            self.skip_digits()?;
        }
        if self.skip_if(b".") {
            self.skip_digits()?;
        }
        let has_exponent = self.skip_if(b"eE");
        if has_exponent {
            self.skip_if(b"+-");
            self.skip_digits()?;
        }
        if has_exponent || self.at - start > number::ALWAYS_READABLE {
            self.has_unreadable_numbers |= !number::is_readable(&self.text[start..self.at]);
        }
        Ok(())
    }

    #[inline]
    fn skip_if(&mut self, any_of: &[u8]) -> bool {
        let is_here = self.text.as_bytes().get(self.at).is_some_and(|byte| any_of.contains(byte));
        self.at += usize::from(is_here);
        is_here
    }

    #[inline]
    fn skip_digits(&mut self) -> Result<(), Error> {
        let digits = self.text.as_bytes()[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return Err(self.unexpected("expected a digit"));
        }
        self.at += digits;
        Ok(())
    }
}

/// Where the first quote, backslash or control character at or behind a place is: eight bytes at a time.
#[inline]
fn end_of_plain(bytes: &[u8], mut at: usize) -> usize {
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let stops = stops(u64::from_le_bytes(*chunk));
        if stops != 0 {
            return at + stops.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|byte| !matches!(byte, b'"' | b'\\' | ..b' ')).count()
}

/// Sets the highest bit of every byte that ends the plain part of a string. Bytes behind the first such byte may be set
/// wrongly, by the borrow of the subtraction.
#[inline]
fn stops(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word;
    let quotes = zeros(word ^ (ONES * u64::from(b'"')));
    let backslashes = zeros(word ^ (ONES * u64::from(b'\\')));
    let controls = word.wrapping_sub(ONES * u64::from(b' ')) & !word;
    (quotes | backslashes | controls) & (ONES << 7)
}
