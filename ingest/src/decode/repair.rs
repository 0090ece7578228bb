//! Mends what clients are seen to send and what would cost a whole body, in place and without more memory.

use super::text::holds_escape;

/// Makes a body valid UTF-8, and its JSON escapes valid UTF-16, so that both we and whoever reads the stored text later
/// can parse it: each stray byte becomes `?`, each half of a cut emoji the replacement character.
pub(crate) fn text(body: &mut [u8]) {
    stray_bytes(body);
    lone_surrogates(body);
}

fn stray_bytes(body: &mut [u8]) {
    let mut start = 0;
    while let Err(error) = std::str::from_utf8(&body[start..]) {
        let from = start + error.valid_up_to();
        let to = error.error_len().map_or(body.len(), |length| from + length);
        body[from..to].fill(b'?');
        start = to;
    }
}

fn lone_surrogates(body: &mut [u8]) {
    let mut at = 0;
    while let Some(distance) = next_escape(&body[at..]) {
        at += distance;
        match unit(body, at) {
            Some(0xd800..0xdc00) if matches!(unit(body, at + 6), Some(0xdc00..0xe000)) => at += 12,
            Some(0xd800..0xe000) => {
                body[at..at + 6].copy_from_slice(b"\\ufffd");
                at += 6;
            }
            Some(_) => at += 6,
            // Some other escape, of which the second character must not be taken for the start of one.
            None => at = body.len().min(at + 2),
        }
    }
}

/// Where the first backslash is. Most pieces have none, which is seen in a few instructions each.
fn next_escape(bytes: &[u8]) -> Option<usize> {
    const PIECE: usize = 64;
    let plain = bytes.chunks_exact(PIECE).take_while(|piece| !holds_escape(piece)).count() * PIECE;
    let rest = &bytes[plain..];
    rest.iter().position(|byte| *byte == b'\\').map(|distance| plain + distance)
}

/// The UTF-16 unit of an escape at this place.
fn unit(body: &[u8], at: usize) -> Option<u16> {
    let digits = body.get(at..at + 6)?.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Replaces control characters within strings, which JSON forbids, by spaces; says whether there were any.
pub(crate) fn control_characters(body: &mut [u8]) -> bool {
    let mut is_string = false;
    let mut is_escaped = false;
    let mut found = false;
    for byte in body {
        match *byte {
            _ if !is_string => is_string = *byte == b'"',
            0..0x20 => {
                *byte = b' ';
                (found, is_escaped) = (true, false);
            }
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => is_string = false,
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    fn mended(body: &[u8]) -> String {
        let mut body = body.to_vec();
        text(&mut body);
        String::from_utf8(body).unwrap()
    }

    #[rstest]
    #[case(r#""a\ud83d""#, r#""a\ufffd""#)]
    #[case(r#""\uDE00x""#, r#""\ufffdx""#)]
    #[case(r#""\ud83d\ude00""#, r#""\ud83d\ude00""#)]
    #[case(r#""\ud83d\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#)]
    #[case(r#""\\ud83d""#, r#""\\ud83d""#)]
    #[case(r#""\u00e9\n\""#, r#""\u00e9\n\""#)]
    #[case(r#""\ud83"#, r#""\ud83"#)]
    #[case("\\", "\\")]
    fn halves_of_pairs_are_replaced(#[case] body: &str, #[case] expected: &str) {
        assert_eq!(mended(body.as_bytes()), expected);
    }

    #[test]
    fn stray_bytes_are_replaced_one_by_one() {
        assert_eq!(mended(b"a\xffb\xc3(\xe2\x82"), "a?b?(??");
        assert_eq!(mended("é😀".as_bytes()), "é😀");
    }

    #[test]
    fn control_characters_are_replaced_in_strings_only() {
        let mut body = b"{\n\"a\\\"\0\": \"x\ty\"\n}".to_vec();
        assert!(control_characters(&mut body));
        assert_eq!(body, b"{\n\"a\\\" \": \"x y\"\n}");
        assert!(!control_characters(&mut body));
    }

    proptest! {
        #[test]
        fn anything_becomes_text_of_the_same_length(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(mended(&body).len(), body.len());
        }

        #[test]
        fn valid_json_stays_as_it_is(value in any::<String>()) {
            let json = serde_json::to_string(&value).unwrap();
            prop_assert_eq!(mended(json.as_bytes()), json);
        }

        #[test]
        fn escapes_are_left_that_a_strict_parser_reads(body in r"(\\u[dD][89abcdABCD][0-9]{2}|\\\\|\\n|a){0,20}") {
            let mended = mended(format!("\"{body}\"").as_bytes());
            prop_assert!(serde_json::from_str::<String>(&mended).is_ok());
        }
    }
}
