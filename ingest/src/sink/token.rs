//! The deduplication token of a block.

use std::fmt;
use std::sync::LazyLock;

use tokio::time::Instant;
use twox_hash::XxHash3_128;

use crate::clickhouse::Class;
use crate::clickhouse::Error;
use crate::pieces::Pieces;

/// Tokens of another process are none of this one's: nobody here knows what became of its attempts.
static PROCESS: LazyLock<u32> = LazyLock::new(rand::random);

/// Names a block by its content, so that the same rows are stored once however often they are sent, and counts how often
/// that name was given up.
///
/// A fast hash is enough: to make ClickHouse take a block for another one, somebody would have to know that whole block
/// before it is inserted, with the microseconds at which the requests of others were received.
#[derive(Debug)]
pub(super) struct Token<'a> {
    content: u128,
    table: &'a str,
    renewals: u32,
    maybe_unknown_since: Option<Instant>,
}

impl<'a> Token<'a> {
    pub(super) fn of(table: &'a str, rows: &Pieces) -> Self {
        let mut hasher = XxHash3_128::new();
        rows.iter().for_each(|piece| hasher.write(piece));
        Self { content: hasher.finish_128(), table, renewals: 0, maybe_unknown_since: None }
    }

    /// Gives the name up, since ClickHouse may know it without having stored the block.
    pub(super) fn renew(&mut self) {
        self.renewals += 1;
        self.maybe_unknown_since = None;
    }

    /// Notes that an attempt with this name failed.
    pub(super) fn failed(&mut self, error: &Error, began: Instant) {
        if error.class() == Class::Unknown {
            self.maybe_unknown_since.get_or_insert(began);
        } else if error.is_passing_refusal() {
            self.renew();
        }
    }

    /// When the first attempt with this name began whose outcome nobody knows.
    pub(super) const fn unknown_since(&self) -> Option<Instant> {
        self.maybe_unknown_since
    }
}

impl fmt::Display for Token<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { content, table, renewals, .. } = self;
        write!(formatter, "{content:032x}-{table}-{:08x}", *PROCESS)?;
        if *renewals > 0 {
            write!(formatter, "-{renewals}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_token_follows_content_and_table_and_not_the_cut_of_the_pieces() {
        let rows = |bytes: &[u8]| Pieces::from(bytes.to_vec());
        let token = |table, rows: &Pieces| Token::of(table, rows).to_string();
        assert_eq!(token("events_data", &rows(b"x")), token("events_data", &rows(b"x")));
        assert_ne!(token("events_data", &rows(b"x")), token("events_data", &rows(b"y")));
        assert_ne!(token("events_data", &rows(b"x")), token("links", &rows(b"x")));
        let large = vec![7; 40_000];
        let mut rope = crate::pieces::Rope::default();
        rope.push(large[..20_000].to_vec());
        rope.push(large[20_000..].to_vec());
        assert_eq!(token("links", &rope.finish()), token("links", &rows(&large)));
    }

    #[test]
    fn a_name_that_was_given_up_is_never_used_again() {
        let mut token = Token::of("links", &Pieces::from(b"x".to_vec()));
        let mut names = vec![token.to_string()];
        for _ in 0..3 {
            token.renew();
            assert!(!names.contains(&token.to_string()));
            names.push(token.to_string());
        }
    }

    #[test]
    fn a_name_is_given_up_when_refused_and_doubted_from_the_first_attempt_that_nobody_answered() {
        let (first, later) = (Instant::now(), Instant::now() + Duration::from_secs(1));
        let mut token = Token::of("links", &Pieces::from(b"x".to_vec()));
        let name = token.to_string();
        token.failed(&Error::Connect("unsent".into()), first);
        assert_eq!((token.to_string(), token.unknown_since()), (name.clone(), None));
        token.failed(&Error::Timeout(Duration::from_secs(1)), first);
        token.failed(&Error::Cut("later".into()), later);
        token.failed(&Error::Connect("unsent".into()), later);
        assert_eq!((token.to_string(), token.unknown_since()), (name.clone(), Some(first)));
        token.failed(&Error::Status(503), later);
        assert_ne!(token.to_string(), name);
        assert_eq!(token.unknown_since(), None);
    }
}
