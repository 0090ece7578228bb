//! Finds any of many texts in large outputs, in one pass for all of them: one after the other took minutes.

use std::collections::BTreeMap;

use aho_corasick::AhoCorasick;
use anyhow::{Context as _, ensure};

/// A shorter text may be anywhere by chance.
const SHORTEST: usize = 15;

/// Texts to look for.
pub(super) struct Needles {
    texts: Vec<String>,
    automaton: AhoCorasick,
}

impl Needles {
    /// Prepares the search.
    pub(super) fn new(texts: Vec<String>) -> anyhow::Result<Self> {
        for text in &texts {
            ensure!(text.len() >= SHORTEST, "a secret of {} characters says little", text.len());
        }
        let automaton = AhoCorasick::new(&texts).context("failed to prepare the search for secrets")?;
        Ok(Self { texts, automaton })
    }

    /// A text by its number.
    pub(super) fn text(&self, number: usize) -> &str {
        &self.texts[number]
    }

    /// The numbers of the texts that an output holds, each with where it stands first.
    pub(super) fn find(&self, output: &str) -> BTreeMap<usize, usize> {
        let mut found = BTreeMap::new();
        for one in self.automaton.find_overlapping_iter(output) {
            found.entry(one.pattern().as_usize()).or_insert(one.start());
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_wherever_it_begins_and_ends() -> anyhow::Result<()> {
        let needles = Needles::new(vec!["0123456789abcde".into(), "fedcba9876543210".into()])?;
        for before in 0..20 {
            for after in [0, 1, 8] {
                let output = format!("{}0123456789abcde{}", "-".repeat(before), "-".repeat(after));
                assert_eq!(needles.find(&output), BTreeMap::from([(0, before)]), "{output}");
            }
        }
        assert_eq!(needles.find("0123456789abcd-fedcba987654321"), BTreeMap::new());
        assert_eq!(needles.find("fedcba9876543210123456789abcde"), BTreeMap::from([(0, 15), (1, 0)]));
        Ok(())
    }

    #[test]
    fn a_text_that_says_little_is_refused() {
        assert!(Needles::new(vec!["short".into()]).is_err());
    }
}
