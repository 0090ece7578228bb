//! Reads what Rust's test runners print.

use crate::report::Counts;

/// Adds up the closing lines of many runners.
#[derive(Debug, Default)]
pub(super) struct Count {
    counts: Counts,
}

impl Count {
    /// Takes one line of output.
    pub(super) fn read(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else { return };
        let result = result.split_once(". ").map_or(result, |(_, numbers)| numbers);
        for part in result.split("; ") {
            match part.split_once(' ').and_then(|(number, what)| Some((number.parse::<u64>().ok()?, what))) {
                Some((number, "passed")) => self.counts.passed += number,
                Some((number, "failed")) => self.counts.failed += number,
                Some((number, "ignored")) => self.counts.skipped += number,
                Some(_) | None => {}
            }
        }
    }

    /// What was read so far.
    pub(super) fn counts(&self) -> Counts {
        self.counts
    }
}

/// Says whether a line is more than a test that passed; a thousand of those hide the one that did not.
pub(super) fn is_worth_showing(line: &str) -> bool {
    let passed = line.starts_with("test ") && line.ends_with("... ok");
    !passed && !line.trim().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_of_all_runners_are_added_up() {
        let mut count = Count::default();
        for line in [
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            "test a::b ... ok",
            "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 5 filtered out; finished in 1.00s",
        ] {
            count.read(line);
        }
        assert_eq!(count.counts(), Counts { passed: 15, failed: 2, skipped: 1 });
    }

    #[test]
    fn failures_are_shown_and_passes_are_not() {
        assert!(is_worth_showing("test a::b ... FAILED"));
        assert!(!is_worth_showing("test a::b ... ok"));
    }
}
