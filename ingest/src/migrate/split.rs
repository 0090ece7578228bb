//! From the text of a migration to its statements. Pure.
//!
//! Knows literals, quoted names, heredocs and comments, so that a semicolon ends a statement only where ClickHouse
//! would agree. The checksum of a statement ignores comments and spacing: documentation can be improved later.

use sha2::Digest as _;
use sha2::Sha256;

/// One statement without its semicolon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Statement {
    /// As written, without surrounding space and leading comments.
    pub(super) text: String,
    /// SHA-256 in hex of the statement without comments, every run of space made one.
    pub(super) checksum: String,
}

/// Text that cannot be split: something is not closed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} that begins at byte {at} is not closed")]
pub struct Malformed {
    what: &'static str,
    at: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Code,
    Quoted,
    Comment,
    Semicolon,
}

/// Splits a text at the semicolons that end statements; what holds only comments is no statement.
pub(super) fn split(text: &str) -> Result<Vec<Statement>, Malformed> {
    let mut statements = Vec::new();
    let mut raw = String::new();
    let mut normal = String::new();
    let mut at = 0;
    while at < text.len() {
        let (kind, length) = piece(text, at)?;
        let piece = &text[at..at + length];
        at += length;
        let is_space = kind == Kind::Comment || (kind == Kind::Code && piece.trim().is_empty());
        if kind == Kind::Semicolon {
            finish(&mut statements, &mut raw, &mut normal);
        } else if !is_space {
            raw.push_str(piece);
            normal.push_str(piece);
        } else if !normal.is_empty() {
            // Before the statement begins, comments and space belong to nobody.
            raw.push_str(piece);
            push_space(&mut normal);
        }
    }
    finish(&mut statements, &mut raw, &mut normal);
    Ok(statements)
}

fn finish(statements: &mut Vec<Statement>, raw: &mut String, normal: &mut String) {
    let checksum = hex::encode(Sha256::digest(normal.trim().as_bytes()));
    if !normal.trim().is_empty() {
        statements.push(Statement { text: raw.trim().to_owned(), checksum });
    }
    raw.clear();
    normal.clear();
}

fn push_space(normal: &mut String) {
    if !normal.ends_with(' ') {
        normal.push(' ');
    }
}

/// Kind and length of the piece at a position; code comes as one run of space, or one run of anything else.
fn piece(text: &str, at: usize) -> Result<(Kind, usize), Malformed> {
    let rest = &text[at..];
    let unclosed = |what| Malformed { what, at };
    let first = rest.chars().next().expect("the caller stops at the end of the text");
    match first {
        ';' => Ok((Kind::Semicolon, 1)),
        '\'' => quoted(rest, first).map(|end| (Kind::Quoted, end)).ok_or(unclosed("a literal")),
        '`' | '"' => quoted(rest, first).map(|end| (Kind::Quoted, end)).ok_or(unclosed("a quoted name")),
        '$' => match heredoc_tag(rest) {
            Some(tag) => {
                let end = rest[tag.len()..].find(tag).ok_or(unclosed("a heredoc"))?;
                Ok((Kind::Quoted, end + 2 * tag.len()))
            }
            None => Ok((Kind::Code, 1)),
        },
        _ if starts_line_comment(rest) => Ok((Kind::Comment, rest.find('\n').unwrap_or(rest.len()))),
        _ if rest.starts_with("/*") => {
            let end = rest[2..].find("*/").ok_or(unclosed("a comment"))?;
            Ok((Kind::Comment, end + 4))
        }
        _ => Ok((Kind::Code, code_length(rest, first))),
    }
}

fn starts_line_comment(rest: &str) -> bool {
    ["--", "# ", "#!"].iter().any(|mark| rest.starts_with(mark))
}

/// Length of a run of space, or of other characters up to one that may begin something else.
fn code_length(rest: &str, first: char) -> usize {
    let special = |c: char| matches!(c, ';' | '\'' | '`' | '"' | '$' | '-' | '#' | '/');
    let ends = |c: char| {
        if first.is_whitespace() { !c.is_whitespace() } else { c.is_whitespace() || special(c) }
    };
    let after_first = first.len_utf8();
    rest[after_first..].find(ends).map_or(rest.len(), |end| after_first + end)
}

/// Length of a quoted run with its quotes: a backslash takes the next character along, a doubled quote is no end.
fn quoted(rest: &str, quote: char) -> Option<usize> {
    let mut characters = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = characters.next() {
        if c == '\\' {
            characters.next();
        } else if c == quote && characters.next_if(|(_, next)| *next == quote).is_none() {
            return Some(at + 1);
        }
    }
    None
}

/// The opening `$tag$` of a heredoc.
fn heredoc_tag(rest: &str) -> Option<&str> {
    let end = rest[1..].find('$')?;
    let tag = &rest[1..=end];
    tag.chars().all(|c| c.is_ascii_alphanumeric() || c == '_').then(|| &rest[..end + 2])
}

#[cfg(test)]
mod tests;
