//! The members of an object, the elements of an array, and the text of a value, as serde asks for them.

use serde::de::DeserializeSeed;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::value::BorrowedStrDeserializer;

use super::Error;
use super::Json;
use super::RAW_VALUE;

/// An object that is open.
pub(super) struct Members<'j, 'de> {
    json: &'j mut Json<'de>,
    start: usize,
    is_first: bool,
    is_over: bool,
}

impl<'j, 'de> Members<'j, 'de> {
    /// Begins behind the bracket that stands here.
    pub(super) fn open(json: &'j mut Json<'de>) -> Self {
        let start = json.scanner.place();
        json.scanner.advance();
        Self { json, start, is_first: true, is_over: false }
    }

    /// Checks that the visitor has seen the end.
    pub(super) fn close(self) -> Result<(), Error> {
        if self.is_over {
            Ok(())
        } else {
            Err(self.json.scanner.unexpected("an object was not read to its end"))
        }
    }
}

impl<'de> MapAccess<'de> for Members<'_, 'de> {
    type Error = Error;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let scanner = &mut self.json.scanner;
        if !scanner.member(self.is_first)? {
            self.is_over = true;
            return Ok(None);
        }
        self.is_first = false;
        seed.deserialize(&mut *self.json).map(Some)
    }

    #[inline]
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        if self.is_over {
            return seed.deserialize(BorrowedStrDeserializer::new(self.json.scanner.text_from(self.start)));
        }
        self.json.scanner.colon()?;
        seed.deserialize(&mut *self.json)
    }
}

/// An array that is open.
pub(super) struct Elements<'j, 'de> {
    json: &'j mut Json<'de>,
    is_first: bool,
    is_over: bool,
}

impl<'j, 'de> Elements<'j, 'de> {
    /// Begins behind the bracket that stands here.
    pub(super) fn open(json: &'j mut Json<'de>) -> Self {
        json.scanner.advance();
        Self { json, is_first: true, is_over: false }
    }

    /// Checks that the visitor has seen the end.
    pub(super) fn close(self) -> Result<(), Error> {
        if self.is_over {
            Ok(())
        } else {
            Err(self.json.scanner.unexpected("an array was not read to its end"))
        }
    }
}

impl<'de> SeqAccess<'de> for Elements<'_, 'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        if !self.json.scanner.element(self.is_first)? {
            self.is_over = true;
            return Ok(None);
        }
        self.is_first = false;
        seed.deserialize(&mut *self.json).map(Some)
    }
}

/// A text in the shape that serde_json's `RawValue` is made from: the only member of a map.
pub(super) struct Raw<'de> {
    maybe_text: Option<&'de str>,
}

impl<'de> Raw<'de> {
    pub(super) fn new(text: &'de str) -> Self {
        Self { maybe_text: Some(text) }
    }
}

impl<'de> MapAccess<'de> for Raw<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        if self.maybe_text.is_none() {
            return Ok(None);
        }
        seed.deserialize(BorrowedStrDeserializer::new(RAW_VALUE)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        seed.deserialize(BorrowedStrDeserializer::new(self.maybe_text.take().unwrap_or_default()))
    }
}
