//! Distinct ids as PostHog keeps them.

use std::borrow::Cow;

/// Characters of a distinct id; the rest is cut off, as PostHog does, so that both agree who somebody is.
const MAX_CHARACTERS: usize = 200;

/// The id with NUL, which PostHog's database cannot hold, replaced, and cut to its length; spaces around it stay.
pub(super) fn tidy(id: Cow<'_, str>) -> Cow<'_, str> {
    let id = if id.contains('\0') { Cow::Owned(id.replace('\0', "\u{fffd}")) } else { id };
    let end = cut(&id, MAX_CHARACTERS).len();
    match id {
        Cow::Borrowed(id) => Cow::Borrowed(&id[..end]),
        Cow::Owned(mut id) => {
            id.truncate(end);
            Cow::Owned(id)
        }
    }
}

/// The first characters of a text.
pub(super) fn cut(text: &str, max_characters: usize) -> &str {
    if text.len() <= max_characters {
        return text;
    }
    text.char_indices().nth(max_characters).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("plain", "plain")]
    #[case(" spaces ", " spaces ")]
    #[case("a\0b", "a\u{fffd}b")]
    fn ids_are_kept_but_for_nul(#[case] id: &str, #[case] expected: &str) {
        assert_eq!(tidy(id.into()), expected);
    }

    #[test]
    fn the_cut_counts_characters_and_not_bytes() {
        let long = "é".repeat(201);
        assert_eq!(tidy(long.as_str().into()), "é".repeat(200));
        assert_eq!(tidy(Cow::Owned(long.replace('é', "\0"))), "\u{fffd}".repeat(200));
        let exact = "é".repeat(200);
        assert!(matches!(tidy(exact.as_str().into()), Cow::Borrowed(_)));
    }
}
