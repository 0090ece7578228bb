//! The deduplication token of a block.

use std::fmt;
use std::sync::LazyLock;

use twox_hash::XxHash3_128;

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
}

impl<'a> Token<'a> {
    pub(super) fn of(table: &'a str, rows: &Pieces) -> Self {
        let mut hasher = XxHash3_128::new();
        rows.iter().for_each(|piece| hasher.write(piece));
        Self { content: hasher.finish_128(), table, renewals: 0 }
    }

    /// Gives the name up, since ClickHouse may know it without having stored the block.
    pub(super) fn renew(&mut self) {
        self.renewals += 1;
    }
}

impl fmt::Display for Token<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { content, table, renewals } = self;
        write!(formatter, "{content:032x}-{table}-{:08x}", *PROCESS)?;
        if *renewals > 0 {
            write!(formatter, "-{renewals}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
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
}
