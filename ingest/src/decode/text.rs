//! A JSON string that is borrowed when it holds no escapes.

use std::borrow::Cow;
use std::fmt;

use serde::de::Deserialize;
use serde::de::Deserializer;
use serde::de::Error;
use serde::de::Visitor;
use serde_json::value::RawValue;

/// A JSON string; anything else, `null` included, is an error.
///
/// A lone surrogate, which JavaScript can send and UTF-8 cannot hold, becomes the replacement character: one odd
/// name must not cost the whole batch.
#[derive(Debug)]
pub(crate) struct Text<'a>(pub(crate) Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // As bytes, since serde_json refuses lone surrogates in strings but not in bytes.
        deserializer.deserialize_bytes(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Owned(text)))
    }

    fn visit_borrowed_bytes<E: Error>(self, bytes: &'de [u8]) -> Result<Text<'de>, E> {
        Ok(Text(String::from_utf8_lossy(bytes)))
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Owned(String::from_utf8_lossy(bytes).into_owned())))
    }
}

/// The string, when the value is one.
pub(crate) fn string(value: &RawValue) -> Option<Cow<'_, str>> {
    let inner = value.get().strip_prefix('"')?.strip_suffix('"')?;
    if !holds_escape(inner.as_bytes()) {
        return Some(Cow::Borrowed(inner));
    }
    unescaped(value.get()).map(Cow::Owned)
}

/// Whether there is a backslash. Texts are short: they are counted without an early end, many bytes at once.
pub(super) fn holds_escape(text: &[u8]) -> bool {
    let count = |piece: &[u8]| piece.iter().map(|byte| u8::from(*byte == b'\\')).sum::<u8>();
    text.chunks(usize::from(u8::MAX)).any(|piece| count(piece) > 0)
}

/// What a JSON string with escapes says.
pub(super) fn unescaped(quoted: &str) -> Option<String> {
    serde_json::from_str::<Text<'_>>(quoted).ok().map(|text| text.0.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(json: &str) -> Option<Cow<'_, str>> {
        serde_json::from_str::<Text<'_>>(json).ok().map(|text| text.0)
    }

    #[test]
    fn strings_are_borrowed_unless_escaped() {
        assert!(matches!(text(r#""plain""#), Some(Cow::Borrowed("plain"))));
        assert_eq!(text(r#""\u00e9\n""#).as_deref(), Some("é\n"));
    }

    #[test]
    fn a_lone_surrogate_is_replaced() {
        let replaced = text(r#""a\ud800b""#).unwrap();
        assert!(replaced.starts_with("a\u{fffd}") && replaced.ends_with('b'), "{replaced:?}");
    }

    #[test]
    fn other_types_are_errors() {
        for json in ["null", "1", "true", "[]", "[1]", "{}"] {
            assert_eq!(text(json), None, "{json}");
        }
    }
}
