//! Base64 as clients of two generations send it: either alphabet, padded or not, with `+` turned into a space by
//! somebody who read it as a form, or with line breaks.

use super::Refused;

/// How much of a body is looked at to tell whether it can be base64.
const LOOKED_AT: usize = 128;

/// Whether the body begins like base64.
pub(super) fn is_likely(body: &[u8]) -> bool {
    let body = body.trim_ascii();
    !body.is_empty()
        && body.iter().take(LOOKED_AT).all(|byte| matches!(digit(*byte), Digit::Bits(_) | Digit::Skip))
}

/// Decodes in place, which takes no further memory.
pub(super) fn decode(body: &mut Vec<u8>) -> Result<(), Refused> {
    let end = body.trim_ascii_end().len();
    let start = end - body[..end].trim_ascii_start().len();
    let mut pending: u32 = 0;
    let mut bits = 0;
    let mut filled = 0;
    for index in start..end {
        match digit(body[index]) {
            Digit::Bits(value) => {
                pending = pending << 6 | value;
                bits += 6;
            }
            Digit::Skip => continue,
            Digit::Foreign => return Err(Refused::Invalid("base64")),
        }
        if bits >= 8 {
            bits -= 8;
            body[filled] = (pending >> bits).to_le_bytes()[0];
            filled += 1;
        }
    }
    body.truncate(filled);
    Ok(())
}

/// What one character of base64 says.
enum Digit {
    Bits(u32),
    Skip,
    Foreign,
}

fn digit(byte: u8) -> Digit {
    Digit::Bits(u32::from(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' | b'-' | b' ' => 62,
        b'/' | b'_' => 63,
        b'=' | b'\r' | b'\n' => return Digit::Skip,
        _ => return Digit::Foreign,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    fn decoded(text: &str) -> Result<Vec<u8>, Refused> {
        let mut body = text.as_bytes().to_vec();
        decode(&mut body)?;
        Ok(body)
    }

    #[rstest]
    #[case("eyJhIjoxfQ==", "{\"a\":1}")]
    #[case("eyJhIjoxfQ", "{\"a\":1}")]
    #[case(" eyJhI\r\njoxfQ==\n", "{\"a\":1}")]
    #[case("Pz4/Pj8-Pz4_", "?>?>?>?>?")]
    #[case("Pj4 Pj4+", ">>>>>>")]
    #[case("", "")]
    fn either_alphabet_is_read(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(decoded(text).unwrap(), expected.as_bytes());
    }

    #[test]
    fn other_characters_are_no_base64() {
        assert_eq!(decoded("ab{c"), Err(Refused::Invalid("base64")));
        assert!(!is_likely(b"{\"a\":1}") && !is_likely(b"  ") && is_likely(b"eyJh"));
    }

    proptest! {
        #[test]
        fn no_body_panics_or_grows(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut decoded = body.clone();
            if decode(&mut decoded).is_ok() {
                prop_assert!(decoded.len() <= body.len());
            }
        }
    }
}
