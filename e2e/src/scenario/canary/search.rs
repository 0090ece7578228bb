//! Finds any of many texts in large outputs, in one pass for all of them: one after the other took minutes.

use std::collections::{BTreeMap, HashMap};

/// Bytes that are looked up at once; an output is gone through in steps of as many.
const WINDOW: usize = 8;
/// A text of this length holds a whole window of the output, wherever it stands.
const SHORTEST: usize = 2 * WINDOW - 1;

/// Texts to look for.
pub(super) struct Needles {
    texts: Vec<String>,
    /// The first windows of each text, with its number and how far in it they begin.
    windows: HashMap<[u8; WINDOW], Vec<(usize, usize)>>,
}

impl Needles {
    /// Prepares the search.
    pub(super) fn new(texts: Vec<String>) -> Self {
        let mut windows: HashMap<_, Vec<_>> = HashMap::new();
        for (number, text) in texts.iter().enumerate() {
            assert!(text.len() >= SHORTEST, "a secret of {} characters says little", text.len());
            for (offset, window) in text.as_bytes().windows(WINDOW).take(WINDOW).enumerate() {
                let window = window.try_into().expect("a window has its length");
                windows.entry(window).or_default().push((number, offset));
            }
        }
        Self { texts, windows }
    }

    /// A text by its number.
    pub(super) fn text(&self, number: usize) -> &str {
        &self.texts[number]
    }

    /// The numbers of the texts that an output holds, each with where it stands first.
    pub(super) fn find(&self, output: &str) -> BTreeMap<usize, usize> {
        let mut found = BTreeMap::new();
        for (step, window) in output.as_bytes().chunks_exact(WINDOW).enumerate() {
            for (number, offset) in self.windows.get(window).into_iter().flatten() {
                let begins = (step * WINDOW).checked_sub(*offset);
                let at =
                    begins.filter(|at| output.as_bytes()[*at..].starts_with(self.texts[*number].as_bytes()));
                if let Some(at) = at {
                    found.entry(*number).or_insert(at);
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_wherever_it_begins_and_ends() {
        let needles = Needles::new(vec!["0123456789abcde".into(), "fedcba9876543210".into()]);
        for before in 0..2 * WINDOW {
            for after in [0, 1, WINDOW] {
                let output = format!("{}0123456789abcde{}", "-".repeat(before), "-".repeat(after));
                assert_eq!(needles.find(&output), BTreeMap::from([(0, before)]), "{output}");
            }
        }
        assert_eq!(needles.find("0123456789abcd-fedcba987654321"), BTreeMap::new());
        assert_eq!(needles.find("fedcba9876543210123456789abcde"), BTreeMap::from([(0, 15), (1, 0)]));
    }
}
