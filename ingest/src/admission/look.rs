//! Looks through the bytes of a body for a valid key, without reading it as JSON. Pure.
//!
//! A key may stand before or behind the events, so only a look at everything can tell that there is none. This one holds
//! a few kilobytes however long the body is, and costs as much as inflating it does. It errs on the side of "there is
//! one": whether the key is in a place where keys belong is for the decoder to say.

use std::borrow::Cow;
use std::io;
use std::io::Read;

use memchr::memmem::Finder;

/// What a look found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// A valid key.
    Known,
    /// The end, and no valid key before it.
    Unknown,
    /// No valid key within the bytes that were to be looked at; there are more.
    Beyond,
    /// Too many texts that are no keys: not looked at any further.
    Undecided,
}

/// How names of members that hold keys end: `api_key`, `token`, `$token`.
const NAMES: [&[u8]; 2] = [b"api_key\"", b"token\""];
const LONGEST_NAME: usize = NAMES[0].len();

/// Longest text that is compared; keys are shorter.
const LONGEST_KEY: usize = 512;
/// Texts that are compared. Each costs a hash, and each event can bring one that is no key.
const MAX_COMPARED: usize = 20_000;
/// First piece, in which most clients have their key, and the pieces behind it.
const FIRST_PIECE: usize = 1024;
const PIECE: usize = 64 * 1024;
/// What may follow on a name before its value ends.
const TAIL: usize = LONGEST_NAME + LONGEST_KEY + 64;

/// Reads at most `max_bytes` and asks `is_key` about every text in the place of a key.
pub fn look(
    source: &mut impl Read,
    max_bytes: usize,
    mut is_key: impl FnMut(&str) -> bool,
) -> io::Result<Verdict> {
    let names = NAMES.map(Finder::new);
    let mut data = Vec::new();
    let mut compared = Compared::default();
    let mut taken = 0;
    loop {
        let piece = if taken == 0 { FIRST_PIECE } else { PIECE }.min(max_bytes - taken);
        let read = source.by_ref().take(piece as u64).read_to_end(&mut data)?;
        taken += read;
        let is_end = read < piece;
        // Names this near to the end of the piece are looked at again with what follows.
        let settled = if is_end { data.len() } else { data.len().saturating_sub(TAIL) };
        for name in &names {
            for start in name.find_iter(&data).take_while(|start| *start < settled) {
                let text = value(&data[start + name.needle().len()..]);
                if text.is_some_and(|text| compared.is_new(&text) && is_key(text.trim())) {
                    return Ok(Verdict::Known);
                }
            }
        }
        if is_end {
            return Ok(Verdict::Unknown);
        }
        if compared.count > MAX_COMPARED {
            return Ok(Verdict::Undecided);
        }
        if taken == max_bytes {
            return Ok(Verdict::Beyond);
        }
        data.drain(..settled);
    }
}

/// The texts that were compared.
#[derive(Default)]
struct Compared {
    count: usize,
    last: String,
}

impl Compared {
    /// Whether a text differs from the one before, which the same client repeats in every event.
    fn is_new(&mut self, text: &str) -> bool {
        let is_new = self.count == 0 || self.last != text;
        if is_new {
            self.count += 1;
            self.last.clear();
            self.last.push_str(text);
        }
        is_new && self.count <= MAX_COMPARED
    }
}

/// The string behind `:`, unless something else is there or it is too long.
fn value(rest: &[u8]) -> Option<Cow<'_, str>> {
    let rest = rest.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
    let window = &rest[..rest.len().min(LONGEST_KEY)];
    let end = memchr::memchr(b'"', window.strip_prefix(b"\"")?)?;
    let text = std::str::from_utf8(&window[1..=end]).ok()?;
    if !text.contains('\\') {
        return Some(Cow::Borrowed(text));
    }
    // Some encoders escape slashes. The string may go on behind an escaped quote, which no key holds.
    serde_json::from_slice::<String>(&window[..end + 2]).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    fn looked(body: &[u8]) -> Verdict {
        look(&mut &*body, 1 << 20, |text| text == "good-key").unwrap()
    }

    #[rstest]
    #[case::first(r#"{"api_key":"good-key","batch":[]}"#, Verdict::Known)]
    #[case::spaced("{ \"api_key\" :\n \" good-key \" }", Verdict::Known)]
    #[case::token(r#"[{"properties":{"token":"good-key"}}]"#, Verdict::Known)]
    #[case::engage(r#"{"$token":"good-key"}"#, Verdict::Known)]
    #[case::second(r#"{"token":"mine","api_key":"good-key"}"#, Verdict::Known)]
    #[case::escaped(r#"{"api_key":"good\u002dkey"}"#, Verdict::Known)]
    #[case::wrong(r#"{"api_key":"bad-key"}"#, Verdict::Unknown)]
    #[case::no_text(r#"{"api_key":7,"token":null,"token""#, Verdict::Unknown)]
    #[case::elsewhere(r#"{"key":"good-key"}"#, Verdict::Unknown)]
    #[case::nothing("", Verdict::Unknown)]
    fn a_key_is_found_in_its_places(#[case] body: &str, #[case] expected: Verdict) {
        assert_eq!(looked(body.as_bytes()), expected);
    }

    #[test]
    fn a_key_behind_everything_is_found_and_the_limit_is_kept() {
        let events = r#"{"event":"a","distinct_id":"u"},"#.repeat(20_000);
        let body = format!(r#"{{"batch":[{events}{{}}],"api_key":"good-key"}}"#);
        assert_eq!(looked(body.as_bytes()), Verdict::Known);
        let short = look(&mut body.as_bytes(), 100_000, |text| text == "good-key").unwrap();
        assert_eq!(short, Verdict::Beyond);
    }

    #[test]
    fn texts_that_are_no_keys_are_not_compared_without_end() {
        let tokens = (0..40_000).map(|number| format!(r#""token":"{number}""#)).collect::<Vec<_>>().join(",");
        let mut asked = 0;
        let verdict = look(&mut tokens.as_bytes(), 1 << 30, |_| {
            asked += 1;
            false
        });
        assert_eq!(verdict.unwrap(), Verdict::Undecided);
        assert!(asked <= MAX_COMPARED, "{asked}");
    }

    proptest! {
        #[test]
        fn no_place_hides_a_key(before in 0_usize..200_000, after in 0_usize..3000) {
            let body = [&vec![b' '; before][..], br#""api_key":"good-key""#, &vec![b'"'; after]].concat();
            prop_assert_eq!(looked(&body), Verdict::Known);
        }
    }
}
