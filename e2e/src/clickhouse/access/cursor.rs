//! A place in a statement's tokens, and the small steps that every clause is read with.

use super::{
    AccessError,
    token::{Kind, Token, tokenize},
};

/// Reads tokens from left to right.
#[derive(Debug)]
pub(crate) struct Cursor<'a> {
    sql: &'a str,
    tokens: Vec<Token>,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(sql: &'a str) -> Self {
        let mut tokens = tokenize(sql);
        while tokens.last().is_some_and(|last| last.kind == Kind::Sign && last.text == ";") {
            tokens.pop();
        }
        Self { sql, tokens, at: 0 }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.at == self.tokens.len()
    }

    pub(crate) fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    /// Takes these key words, all or none.
    pub(crate) fn take(&mut self, words: &str) -> bool {
        let mut at = self.at;
        for word in words.split(' ') {
            match self.tokens.get(at) {
                Some(token) if token.kind == Kind::Word && token.text.eq_ignore_ascii_case(word) => at += 1,
                _ => return false,
            }
        }
        self.at = at;
        true
    }

    pub(crate) fn take_sign(&mut self, sign: &str) -> bool {
        let found = self.peek().is_some_and(|token| token.kind == Kind::Sign && token.text == sign);
        self.at += usize::from(found);
        found
    }

    /// A name: bare, in backticks or in double quotes.
    pub(crate) fn name(&mut self) -> Result<String, AccessError> {
        match self.tokens.get(self.at) {
            Some(token) if matches!(token.kind, Kind::Word | Kind::Name | Kind::Text) => {
                self.at += 1;
                Ok(token.text.clone())
            }
            _ => Err(self.unsupported()),
        }
    }

    pub(crate) fn names(&mut self) -> Result<Vec<String>, AccessError> {
        let mut names = vec![self.name()?];
        while self.take_sign(",") {
            names.push(self.name()?);
        }
        Ok(names)
    }

    /// A string, a number (with its sign) or a bare word.
    pub(crate) fn value(&mut self) -> Result<String, AccessError> {
        let sign = if self.take_sign("-") { "-" } else { "" };
        let mut value = self.name()?;
        while self.take_sign(".") {
            value = format!("{value}.{}", self.name()?);
        }
        Ok(format!("{sign}{value}"))
    }

    /// The position of the last of these words that stands outside parentheses.
    pub(crate) fn find_last(&self, word: &str) -> Option<usize> {
        let is_word = |token: &Token| token.kind == Kind::Word && token.text.eq_ignore_ascii_case(word);
        self.tokens.iter().rposition(is_word)
    }

    pub(crate) fn contains(&self, word: &str) -> bool {
        self.find_last(word).is_some()
    }

    pub(crate) fn end_at(&self) -> usize {
        self.tokens.len()
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn go_to(&mut self, at: usize) {
        self.at = at;
    }

    pub(crate) fn tokens(&self, from: usize, to: usize) -> &[Token] {
        &self.tokens[from..to]
    }

    /// The statement's own text between two tokens, without what surrounds it.
    pub(crate) fn text(&self, from: usize, to: usize) -> &'a str {
        let slice = &self.tokens[from..to];
        match (slice.first(), slice.last()) {
            (Some(first), Some(last)) => &self.sql[first.start..last.end],
            _ => "",
        }
    }

    pub(crate) fn unsupported(&self) -> AccessError {
        let rest = self.peek().map_or("the end of the statement", |token| &self.sql[token.start..]);
        AccessError::Unsupported(rest.chars().take(120).collect())
    }

    pub(crate) fn end<T>(&self, value: T) -> Result<T, AccessError> {
        if self.is_done() { Ok(value) } else { Err(self.unsupported()) }
    }
}
