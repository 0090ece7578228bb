//! Takes members out of the text of a JSON object, and puts others in, without reading the rest of it.

use std::borrow::Cow;

use serde_json::value::RawValue;

/// The object without the members whose values these are, in the order of the text.
pub(super) fn without<'a>(object: &'a str, values: impl Iterator<Item = &'a RawValue>) -> Cow<'a, str> {
    let mut kept = String::new();
    let mut cursor = 0;
    for value in values {
        let Some((start, end)) = member(object, value) else { continue };
        if cursor == 0 {
            kept.reserve(object.len());
        }
        kept.push_str(object.get(cursor..start).unwrap_or_default());
        let rest = object[end..].trim_start();
        if rest.starts_with(',') {
            cursor = object.len() - rest.len() + 1;
        } else {
            cursor = end;
            let before = kept.trim_end();
            kept.truncate(before.strip_suffix(',').unwrap_or(before).len());
        }
    }
    if cursor == 0 {
        return Cow::Borrowed(object);
    }
    kept.push_str(&object[cursor..]);
    Cow::Owned(kept)
}

/// Where the member begins, with its key, and where its value ends.
fn member(object: &str, value: &RawValue) -> Option<(usize, usize)> {
    let start = value.get().as_ptr().addr().checked_sub(object.as_ptr().addr())?;
    let before = object.get(..start)?.trim_end().strip_suffix(':')?.trim_end().strip_suffix('"')?;
    // No quote is within the key: those who ask know its letters.
    Some((before.rfind('"')?, start + value.get().len()))
}

/// The object with one more member at its end.
pub(super) fn with<'a>(object: Cow<'a, str>, key: &str, value: &RawValue) -> Cow<'a, str> {
    let Some(open) = object.trim_end().strip_suffix('}') else { return object };
    let open = open.trim_end();
    let comma = if open.ends_with('{') { "" } else { "," };
    Cow::Owned(format!("{open}{comma}\"{key}\":{}}}", value.get()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::Map;
    use serde_json::Value;
    use std::collections::BTreeMap;

    fn stripped(object: &str, keys: &[&str]) -> String {
        let members: BTreeMap<String, &RawValue> = serde_json::from_str(object).unwrap();
        let mut values: Vec<_> = keys.iter().filter_map(|key| members.get(*key).copied()).collect();
        values.sort_by_key(|value| value.get().as_ptr().addr());
        without(object, values.into_iter()).into_owned()
    }

    #[rstest]
    #[case(r#"{"a":1,"token":"k","b":2}"#, r#"{"a":1,"b":2}"#)]
    #[case(r#"{"token":"k","b":2}"#, r#"{"b":2}"#)]
    #[case(r#"{"a":1 , "token" : "k" }"#, r#"{"a":1  }"#)]
    #[case(r#"{"token":"k"}"#, "{}")]
    #[case(r#"{"a":"{","token":"k","api_key":"k"}"#, r#"{"a":"{"}"#)]
    #[case(r#"{"token":"k","a":1,"api_key":"k"}"#, r#"{"a":1}"#)]
    #[case(r#"{"tok\u0065n":"k","a":1}"#, r#"{"a":1}"#)]
    #[case(r#"{"a":1}"#, r#"{"a":1}"#)]
    fn members_are_cut_out(#[case] object: &str, #[case] expected: &str) {
        assert_eq!(stripped(object, &["token", "api_key"]), expected);
    }

    #[rstest]
    #[case("{}", r#"{"$set":[1]}"#)]
    #[case(r#"{"a":1} "#, r#"{"a":1,"$set":[1]}"#)]
    #[case("{ }", r#"{"$set":[1]}"#)]
    fn a_member_is_put_in(#[case] object: &str, #[case] expected: &str) {
        let value: &RawValue = serde_json::from_str("[1]").unwrap();
        assert_eq!(with(object.into(), "$set", value), expected);
    }

    proptest! {
        #[test]
        fn what_stays_is_the_same_object(
            mut members in proptest::collection::btree_map(".{0,8}", any::<Option<String>>(), 0..6),
            token in any::<Option<String>>(),
        ) {
            members.insert("token".into(), token);
            let whole = serde_json::to_string_pretty(&members).unwrap();
            members.remove("token");
            let expected: Map<String, Value> = members.into_iter().map(|(key, value)| (key, value.into())).collect();
            let left: Map<String, Value> = serde_json::from_str(&stripped(&whole, &["token"])).unwrap();
            prop_assert_eq!(left, expected);
        }
    }
}
