//! The words of a statement, with comments gone. Deliberately not a SQL lexer: the engine has parsed the statement before.

/// One word, name, string or sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    /// The unquoted content.
    pub(crate) text: String,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Word,
    Name,
    Text,
    Sign,
}

/// Splits a statement; an unterminated quote takes the rest.
pub(crate) fn tokenize(sql: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = sql[at..].chars().next() {
        let rest = &sql[at..];
        if first.is_whitespace() {
            at += first.len_utf8();
        } else if rest.starts_with("--") || first == '#' {
            at += rest.find('\n').unwrap_or(rest.len());
        } else if rest.starts_with("/*") {
            at += rest.find("*/").map_or(rest.len(), |end| end + 2);
        } else {
            let token = read_token(rest, first, at);
            at = token.end;
            tokens.push(token);
        }
    }
    tokens
}

fn read_token(rest: &str, first: char, start: usize) -> Token {
    match first {
        '`' | '"' => quoted(rest, first, Kind::Name, start),
        '\'' => quoted(rest, first, Kind::Text, start),
        _ if is_word(first) => {
            let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            Token { kind: Kind::Word, text: rest[..length].to_owned(), start, end: start + length }
        }
        _ => Token { kind: Kind::Sign, text: first.to_string(), start, end: start + first.len_utf8() },
    }
}

fn quoted(rest: &str, quote: char, kind: Kind, start: usize) -> Token {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => text.extend(chars.next().map(|(_, escaped)| escaped)),
            _ if c == quote => {
                if chars.next_if(|(_, next)| *next == quote).is_none() {
                    return Token { kind, text, start, end: start + at + c.len_utf8() };
                }
                text.push(quote);
            }
            _ => text.push(c),
        }
    }
    Token { kind, text, start, end: start + rest.len() }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_comments_are_understood() {
        let tokens = tokenize("/* x */ CREATE ROLE `a``b` -- end\n, \"c\\\"d\" 'it''s'");
        let texts: Vec<_> = tokens.iter().map(|token| token.text.as_str()).collect();
        assert_eq!(texts, ["CREATE", "ROLE", "a`b", ",", "c\"d", "it's"]);
    }
}
