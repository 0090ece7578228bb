//! The one place where names and values become SQL text.
//!
//! No statement of the operator contains a name or a value that did not pass through here.

mod condition;

pub(crate) use condition::{condition, has_subquery};

/// Quotes a name: database, table, column, role or user.
pub(crate) fn identifier(name: &str) -> String {
    quoted(name, '`')
}

/// Quotes a string value.
pub(crate) fn literal(value: &str) -> String {
    quoted(value, '\'')
}

// ClickHouse reads the same backslash escapes in backticks and in single quotes. Control characters are escaped too, so
// that a name can neither break a line of a log nor end a statement for a proxy that splits on zero bytes.
fn quoted(text: &str, quote: char) -> String {
    let mut sql = String::with_capacity(text.len() + 2);
    sql.push(quote);
    for character in text.chars() {
        match character {
            '\\' => sql.push_str("\\\\"),
            '\0' => sql.push_str("\\0"),
            '\n' => sql.push_str("\\n"),
            '\r' => sql.push_str("\\r"),
            '\t' => sql.push_str("\\t"),
            other => {
                if other == quote {
                    sql.push('\\');
                }
                sql.push(other);
            }
        }
    }
    sql.push(quote);
    sql
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads quoted text as ClickHouse's lexer does; `None` when the quote ends early or never.
    fn unquoted(sql: &str, quote: char) -> Option<String> {
        let mut characters = sql.strip_prefix(quote)?.chars();
        let mut text = String::new();
        loop {
            match characters.next()? {
                '\\' => text.push(match characters.next()? {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    '0' => '\0',
                    other => other,
                }),
                end if end == quote => return characters.next().is_none().then_some(text),
                other => text.push(other),
            }
        }
    }

    #[test]
    fn quotes_and_backslashes_are_escaped() {
        assert_eq!(identifier("a`b\\"), r"`a\`b\\`");
        assert_eq!(literal("it's"), r"'it\'s'");
        assert_eq!(identifier("plain_name"), "`plain_name`");
    }

    proptest! {
        #[test]
        fn every_text_survives_quoting(text in any::<String>()) {
            prop_assert_eq!(unquoted(&identifier(&text), '`'), Some(text.clone()));
            prop_assert_eq!(unquoted(&literal(&text), '\''), Some(text));
        }

        #[test]
        fn hostile_text_survives_quoting(text in "[`'\"\\\\;\\-/* \n\0a]{0,24}") {
            prop_assert_eq!(unquoted(&identifier(&text), '`'), Some(text.clone()));
            prop_assert_eq!(unquoted(&literal(&text), '\''), Some(text));
        }
    }
}
