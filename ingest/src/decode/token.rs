//! The key within the properties of an event, where posthog-js puts it.

use std::borrow::Cow;
use std::fmt;

use serde::de::Deserializer;
use serde::de::IgnoredAny;
use serde::de::MapAccess;
use serde::de::Visitor;
use serde_json::value::RawValue;

use super::Text;
use super::string;

/// `token` of a JSON object, when it is a string.
pub(crate) fn in_properties(properties: &RawValue) -> Option<Cow<'_, str>> {
    let mut json = serde_json::Deserializer::from_str(properties.get());
    json.deserialize_map(TokenVisitor).ok()?.and_then(string)
}

struct TokenVisitor;

impl<'de> Visitor<'de> for TokenVisitor {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut token = None;
        while let Some(key) = map.next_key::<Text<'de>>()? {
            if key.0 == "token" {
                token = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_string_of_that_name_is_a_token() {
        let token = |json| in_properties(serde_json::from_str(json).unwrap());
        assert_eq!(token(r#"{"a":{"token":"no"},"token":"k","b":1}"#).as_deref(), Some("k"));
        assert_eq!(token(r#"{"token":7}"#), None);
        assert_eq!(token("{}"), None);
    }
}
