//! Numbers that JSON allows and ClickHouse's JSON functions do not read: an integer that neither `Int64` nor `UInt64`
//! holds, as Python's `2**70`, and a decimal beyond `Float64`, as `1e999`.
//!
//! One of them anywhere in a text hides the whole text from every JSON function. So they are kept as strings of the same
//! digits: the rest of the text is read again, and these too, exactly by `JSONExtractString` or
//! `JSONExtract(…, 'UInt128')`, rounded by `JSONExtractFloat`.

/// A number that is no longer and has no exponent is readable, whatever its digits.
pub(super) const ALWAYS_READABLE: usize = 18;
/// A decimal that is no longer and has no exponent fits.
const SHORT_DECIMAL: usize = 300;

/// Whether ClickHouse reads this text of a JSON number.
pub(super) fn is_readable(number: &str) -> bool {
    let is_finite = || number.parse::<f64>().is_ok_and(f64::is_finite);
    if number.contains(['e', 'E']) {
        return is_finite();
    }
    if number.contains('.') {
        return number.len() <= SHORT_DECIMAL || is_finite();
    }
    number.len() <= ALWAYS_READABLE || number.parse::<i64>().is_ok() || number.parse::<u64>().is_ok()
}

/// A JSON text with every unreadable number in quotes. It is at most a third longer.
pub(crate) fn quote_unreadable(json: &[u8]) -> Vec<u8> {
    let mut quoted = Vec::with_capacity(json.len() + 64);
    let mut at = 0;
    while at < json.len() {
        let token = token(&json[at..]);
        let is_unreadable = is_number_start(token[0]) && !std::str::from_utf8(token).is_ok_and(is_readable);
        let quote: &[u8] = if is_unreadable { b"\"" } else { b"" };
        quoted.extend_from_slice(quote);
        quoted.extend_from_slice(token);
        quoted.extend_from_slice(quote);
        at += token.len();
    }
    quoted
}

/// A whole string, a whole number, or one byte of anything else.
fn token(json: &[u8]) -> &[u8] {
    let length = match json[0] {
        b'"' => string_length(json),
        first if is_number_start(first) => {
            let is_part =
                |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E');
            json.iter().take_while(|byte| is_part(byte)).count()
        }
        _ => 1,
    };
    &json[..length]
}

fn is_number_start(byte: u8) -> bool {
    byte == b'-' || byte.is_ascii_digit()
}

fn string_length(json: &[u8]) -> usize {
    let mut is_escaped = false;
    for (at, byte) in json.iter().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    json.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    // What ClickHouse 26.7 reads; the tests of the service ask it.
    #[rstest]
    #[case("0", true)]
    #[case("-0", true)]
    #[case("18446744073709551615", true)]
    #[case("18446744073709551616", false)]
    #[case("-9223372036854775808", true)]
    #[case("-9223372036854775809", false)]
    #[case("1180591620717411303424", false)]
    #[case("1180591620717411303424.0", true)]
    #[case("1.7976931348623157e308", true)]
    #[case("1.7976931348623159e308", false)]
    #[case("1E999", false)]
    #[case("-1e999", false)]
    #[case("1e-999", true)]
    #[case("0e999", true)]
    #[case("1e99999999999999999999", false)]
    fn readable_numbers_are_known(#[case] number: &str, #[case] expected: bool) {
        assert_eq!(is_readable(number), expected);
    }

    #[test]
    fn long_numbers_are_judged_by_their_value() {
        assert!(!is_readable(&"9".repeat(400)));
        assert!(!is_readable(&format!("{}.0", "9".repeat(309))));
        assert!(is_readable(&format!("{}.0", "9".repeat(308))));
        assert!(is_readable(&format!("1.{}", "3".repeat(800))));
    }

    #[test]
    fn only_unreadable_numbers_outside_of_strings_are_quoted() {
        let json = r#"{"a\"1e999":[1e999,-1e400 ,1180591620717411303424,1.5],"b":"\\","c":{"d":36893488147419103232}}"#;
        let expected = r#"{"a\"1e999":["1e999","-1e400" ,"1180591620717411303424",1.5],"b":"\\","c":{"d":"36893488147419103232"}}"#;
        assert_eq!(String::from_utf8(quote_unreadable(json.as_bytes())).unwrap(), expected);
    }

    proptest! {
        #[test]
        fn any_text_survives_and_grows_by_a_third_at_most(text in r#"[\[\]{}",:0-9.eE\\a é-]{0,80}"#) {
            let quoted = quote_unreadable(text.as_bytes());
            prop_assert!(quoted.len() <= text.len() + text.len().div_ceil(3) + 2);
            let without = |text: &str| text.replace('"', "");
            prop_assert_eq!(without(std::str::from_utf8(&quoted).unwrap()), without(&text));
        }

        #[test]
        fn readable_json_stays_as_it_is(number in any::<f64>(), integer in any::<i64>(), text in any::<String>()) {
            let json = serde_json::json!({"n": number, "i": integer, "t": text}).to_string();
            prop_assert_eq!(quote_unreadable(json.as_bytes()), json.into_bytes());
        }
    }
}
