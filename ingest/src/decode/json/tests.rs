//! The parser against serde_json: the same bodies are taken, with the same values.

use super::*;
use crate::decode::Text;
use proptest::prelude::*;
use rstest::rstest;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Both accept the text or both refuse it, and both see the same text of the value.
fn check(text: &str) {
    let ours = from_str::<&RawValue>(text).map(RawValue::get).ok();
    let theirs = serde_json::from_str::<&RawValue>(text).map(RawValue::get).ok();
    assert_eq!(ours, theirs, "{text:?}");
    assert_eq!(from_str::<IgnoredAny>(text).is_ok(), theirs.is_some(), "{text:?}");
}

/// Both read the same members, whose keys are read and whose values are kept.
fn check_members(text: &str) {
    // Only this reader takes lone surrogates.
    if text.contains("\\ud") {
        return;
    }
    let ours = from_str::<BTreeMap<String, &RawValue>>(text).ok();
    let theirs = serde_json::from_str::<BTreeMap<String, &RawValue>>(text).ok();
    let texts = |members: BTreeMap<String, &RawValue>| -> BTreeMap<String, String> {
        members.into_iter().map(|(key, value)| (key, value.get().to_owned())).collect()
    };
    assert_eq!(ours.map(texts), theirs.map(texts), "{text:?}");
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

#[rstest]
#[case("")]
#[case(" ")]
#[case(" [ 1 , 2 ] ")]
#[case("[1,]")]
#[case("[,1]")]
#[case("[1 2]")]
#[case(r#"{"a":1,}"#)]
#[case(r#"{"a" : 1 , "b":{}}"#)]
#[case(r#"{"a"}"#)]
#[case(r#"{"a":}"#)]
#[case("{1:2}")]
#[case("{]")]
#[case("[}")]
#[case("[[]")]
#[case("0")]
#[case("-0")]
#[case("01")]
#[case("-")]
#[case("+1")]
#[case("1.")]
#[case(".5")]
#[case("1.5e")]
#[case("1.5E+10")]
#[case("1e400")]
#[case("true")]
#[case("tru")]
#[case("nullx")]
#[case("NaN")]
#[case(r#""a"#)]
#[case(r#""\"#)]
#[case(r#""\x""#)]
#[case(r#""\u12g4""#)]
#[case(r#""\ud800""#)]
#[case("\"a\nb\"")]
#[case("\"\u{7f}\u{80}é\"")]
#[case("\"12345678\\\"90\"")]
#[case("[1]\u{a0}")]
fn grammar_is_that_of_serde_json(#[case] text: &str) {
    check(text);
    check_members(text);
}

#[test]
fn depth_is_not_limited_by_the_stack() {
    check(&format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)));
    check(&format!("{}1{}", r#"{"a":"#.repeat(50_000), "}".repeat(50_000)));
}

#[test]
fn strings_are_borrowed_unless_escaped_and_hold_no_lone_surrogate() {
    let text = |json| from_str::<Text<'_>>(json).map(|text| text.0);
    assert!(matches!(text(r#""plain""#), Ok(Cow::Borrowed("plain"))));
    assert_eq!(text(r#""\u00e9\n""#).unwrap(), "é\n");
    assert_eq!(text(r#""\ud83d\ude00""#).unwrap(), "😀");
    let replaced = text(r#""a\ud800b""#).unwrap();
    assert!(replaced.starts_with("a\u{fffd}") && replaced.ends_with('b'), "{replaced:?}");
}

#[rstest]
#[case("7")]
#[case("null")]
#[case("[1]")]
#[case("{}")]
fn another_type_is_an_error_that_names_both(#[case] text: &str) {
    let error = from_str::<Text<'_>>(text).unwrap_err().to_string();
    assert!(error.starts_with("invalid type: ") && error.ends_with("expected a string"), "{error}");
}

proptest! {
    #[test]
    fn what_serde_json_writes_is_read_as_it_reads_it(value in any_value()) {
        let compact = value.to_string();
        check(&compact);
        check_members(&compact);
        check(&serde_json::to_string_pretty(&value).unwrap());
    }

    #[test]
    fn a_changed_byte_is_judged_as_serde_json_judges_it(value in any_value(), at in any::<usize>(), byte in 0_u8..128) {
        let mut bytes = value.to_string().into_bytes();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(text) = std::str::from_utf8(&bytes) {
            check(text);
            check_members(text);
        }
    }

    #[test]
    fn a_cut_text_is_judged_as_serde_json_judges_it(value in any_value(), at in any::<usize>()) {
        let text = value.to_string();
        check(&text[..text.floor_char_boundary(at % text.len())]);
    }

    #[test]
    fn texts_of_json_s_own_letters_are_judged_as_serde_json_judges_them(
        text in r#"[\[\]{}",: 0-9.eE+\\untrfalsbhdi_$-]{0,40}"#
    ) {
        check(&text);
        check_members(&text);
    }
}
