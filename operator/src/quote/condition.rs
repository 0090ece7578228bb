//! Conditions that people write: the one kind of text that goes into a statement unquoted, in parentheses that it cannot
//! leave. Whether it means something is for ClickHouse to say.

use std::iter::Peekable;
use std::str::Chars;

/// Puts a condition into parentheses, or says why nothing could keep it there.
///
/// Whatever ClickHouse's lexer reads as the end of a quote or of a bracket is read as such here; what could end a statement
/// or hide a part of it is refused.
pub(crate) fn condition(text: &str) -> Result<String, &'static str> {
    let mut open = Vec::new();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\'' | '"' | '`' => skip_quoted(&mut characters, character)?,
            '(' => open.push(')'),
            '[' => open.push(']'),
            ')' | ']' if open.pop() != Some(character) => {
                return Err("a bracket closes that was not opened; balance the brackets");
            }
            '-' if characters.peek() == Some(&'-') => return Err(COMMENT),
            '/' if characters.peek() == Some(&'*') => return Err(COMMENT),
            '#' => return Err(COMMENT),
            ';' => return Err("a semicolon ends a statement; give one condition without it"),
            // Heredocs, parameters and the curly quotes that ClickHouse reads as quotes.
            '$' | '{' | '}' | '\\' | '‘' | '’' | '“' | '”' => {
                return Err(
                    "a $, brace, backslash or curly quote stands outside quotes; put names in backticks and texts in single quotes",
                );
            }
            control if control.is_control() && !matches!(control, '\n' | '\r' | '\t') => return Err(CONTROL),
            _ => {}
        }
    }
    if open.is_empty() {
        Ok(format!("({text})"))
    } else {
        Err("a bracket is not closed; balance the brackets")
    }
}

const COMMENT: &str = "comments are not kept; leave them out (#, --, /*)";
const CONTROL: &str = "it holds a control character; remove it";

/// Goes to the end of a quote: a backslash takes the next character along, and a doubled quote stands for itself.
fn skip_quoted(characters: &mut Peekable<Chars<'_>>, quote: char) -> Result<(), &'static str> {
    while let Some(character) = characters.next() {
        match character {
            '\\' => drop(characters.next()),
            '\0' => return Err(CONTROL),
            end if end == quote && characters.next_if_eq(&quote).is_none() => return Ok(()),
            _ => {}
        }
    }
    Err("a quote is not closed; close it")
}

/// Whether a condition asks other tables: the word SELECT outside quotes.
pub(crate) fn has_subquery(text: &str) -> bool {
    let mut words = String::new();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\'' | '"' | '`' => {
                words.push(' ');
                if skip_quoted(&mut characters, character).is_err() {
                    return true;
                }
            }
            other if other.is_alphanumeric() || other == '_' => words.push(other),
            _ => words.push(' '),
        }
    }
    words.split(' ').any(|word| word.eq_ignore_ascii_case("select"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_condition_stays_in_its_parentheses() {
        for good in [
            "a = 1",
            "(a OR b) AND c IN (1, 2)",
            "x = 'it''s; -- fine'",
            r"x = 'a\')'",
            "`a)` = \"(\"",
            "[1, 2][1] - -1",
        ] {
            assert_eq!(condition(good), Ok(format!("({good})")));
        }
        for bad in [
            "1) TO ALL",
            "1) OR (1",
            "a = 1 -- x",
            "a = 1 /* x",
            "a # x",
            "a; DROP USER x",
            "x = 'open",
            r"x = 'open\'",
            "(a",
            "[a)",
            "$$) TO ALL$$",
            "{x:String}",
            "‘a’",
            "a\0",
            "'a\0'",
        ] {
            assert!(condition(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_subquery_is_told_from_a_text_that_looks_like_one() {
        assert!(has_subquery("id IN (select id FROM t)") && has_subquery("(SELECT 1)"));
        assert!(!has_subquery("event = 'SELECT 1'") && !has_subquery("selected = 1"));
    }

    proptest! {
        /// Read by a lexer of its own, no accepted text ends the parentheses around it.
        #[test]
        fn nothing_that_is_accepted_leaves_its_parentheses(text in "[`'\"\\\\()\\[\\]a ;-]{0,20}") {
            if let Ok(sql) = condition(&text) {
                let (mut depth, mut quote, mut ends) = (0_i32, None, Vec::new());
                let characters: Vec<char> = sql.chars().collect();
                let mut at = 0;
                while at < characters.len() {
                    match (quote, characters[at]) {
                        (Some(_), '\\') => at += 1,
                        (Some(open), end) if open == end => quote = None,
                        (None, open @ ('`' | '\'' | '"')) => quote = Some(open),
                        (None, '(' | '[') => depth += 1,
                        (None, ')' | ']') => {
                            depth -= 1;
                            if depth == 0 { ends.push(at); }
                        }
                        (Some(_) | None, _) => {}
                    }
                    at += 1;
                }
                prop_assert_eq!((quote, ends), (None, vec![characters.len() - 1]), "{}", sql);
            }
        }
    }
}
