//! A serde deserializer for JSON text that has been checked to be UTF-8, made for bodies of many small events.
//!
//! It accepts the texts that serde_json accepts and reads the same values (tests hold both against each other), with
//! two differences that this service wants: values that are kept as text cost one pass, and a lone surrogate, which
//! JavaScript can send and UTF-8 cannot hold, is a replacement character in every string.

mod access;
mod scan;

use std::borrow::Cow;
use std::fmt;

use serde::de::Deserialize;
use serde::de::Deserializer;
use serde::de::Error as _;
use serde::de::Unexpected;
use serde::de::Visitor;
use serde::forward_to_deserialize_any;

use access::Elements;
use access::Members;
use access::Raw;
use scan::Scanner;

/// The name by which serde_json's `RawValue` asks for the text of a value.
const RAW_VALUE: &str = "$serde_json::private::RawValue";

/// The name by which a visitor asks for the members of an object and, by one value more behind the last of them, for its
/// text. What is no object is given as a newtype.
pub(super) const OBJECT: &str = "$weir::object";

/// Why a text is not the JSON that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Error(Cow<'static, str>);

/// Reads one value, and nothing but it.
pub(crate) fn from_str<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T, Error> {
    let mut json = Json::new(text);
    let value = T::deserialize(&mut json)?;
    json.end()?;
    Ok(value)
}

/// A text that is being read.
#[derive(Debug)]
pub(crate) struct Json<'de> {
    scanner: Scanner<'de>,
}

impl<'de> Json<'de> {
    pub(crate) fn new(text: &'de str) -> Self {
        Self { scanner: Scanner::new(text) }
    }

    /// Checks that only blanks are left.
    pub(crate) fn end(&mut self) -> Result<(), Error> {
        match self.scanner.peek() {
            None => Ok(()),
            Some(_) => Err(self.scanner.unexpected("trailing characters")),
        }
    }

    /// Whether ClickHouse could not read one of the numbers so far.
    pub(crate) fn has_unreadable_numbers(&self) -> bool {
        self.scanner.has_unreadable_numbers()
    }

    /// What stands here, for the error of a visitor that wants something else.
    fn wrong_type<'v, V: Visitor<'v>>(&mut self, visitor: &V) -> Error {
        let found = match self.scanner.peek() {
            Some(b'"') => Unexpected::Other("string"),
            Some(b'{') => Unexpected::Map,
            Some(b'[') => Unexpected::Seq,
            Some(b't' | b'f') => Unexpected::Other("boolean"),
            Some(b'n') => Unexpected::Unit,
            Some(b'-' | b'0'..=b'9') => Unexpected::Other("number"),
            _ => return self.scanner.unexpected("expected a value"),
        };
        Error::invalid_type(found, visitor)
    }

    fn visit_text<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Error> {
        match self.scanner.string()? {
            Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
            Cow::Owned(text) => visitor.visit_string(text),
        }
    }
}

impl<'de> Deserializer<'de> for &mut Json<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.scanner.peek() {
            Some(b'"') => self.visit_text(visitor),
            Some(b'{') => self.deserialize_map(visitor),
            Some(b'[') => self.deserialize_seq(visitor),
            Some(b't' | b'f') => self.deserialize_bool(visitor),
            Some(b'n') => {
                self.scanner.skip()?;
                visitor.visit_unit()
            }
            // Nobody calculates with numbers: they are kept as text.
            _ => visitor.visit_f64(self.scanner.raw()?.parse().unwrap_or_default()),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.scanner.peek() {
            Some(b't' | b'f') => visitor.visit_bool(self.scanner.raw()? == "true"),
            _ => Err(self.wrong_type(&visitor)),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.scanner.peek() {
            Some(b'"') => self.visit_text(visitor),
            _ => Err(self.wrong_type(&visitor)),
        }
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.scanner.peek() != Some(b'[') {
            return Err(self.wrong_type(&visitor));
        }
        let mut elements = Elements::open(self);
        let value = visitor.visit_seq(&mut elements)?;
        elements.close()?;
        Ok(value)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.scanner.peek() != Some(b'{') {
            return Err(self.wrong_type(&visitor));
        }
        let mut members = Members::open(self);
        let value = visitor.visit_map(&mut members)?;
        members.close()?;
        Ok(value)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.scanner.skip()?;
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        if name == RAW_VALUE {
            return visitor.visit_map(Raw::new(self.scanner.raw()?));
        }
        if name == OBJECT && self.scanner.peek() == Some(b'{') {
            return self.deserialize_map(visitor);
        }
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char string byte_buf option unit unit_struct tuple
        tuple_struct struct enum identifier
    }
}

impl serde::de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string().into())
    }
}

#[cfg(test)]
mod tests;
