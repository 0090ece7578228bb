//! Reads what Rust's test runners print.

use crate::report::Counts;

/// Adds up the closing lines of many runners.
#[derive(Debug, Default)]
pub(super) struct Count {
    counts: Counts,
    failures: Vec<String>,
}

impl Count {
    /// Takes one line of output.
    pub(super) fn read(&mut self, line: &str) {
        if let Some(name) = line.strip_prefix("test ").and_then(|line| line.strip_suffix(" ... FAILED")) {
            self.failures.push(format!("test {name}"));
        }
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

    /// Adds what another run of runners printed.
    pub(super) fn merge(&mut self, other: Self) {
        self.counts.add(other.counts);
        self.failures.extend(other.failures);
    }

    /// What was read so far: the counts, and the names of the tests that failed.
    pub(super) fn into_parts(self) -> (Counts, Vec<String>) {
        (self.counts, self.failures)
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
    fn closing_lines_of_all_runners_are_added_up_and_failures_named() {
        let mut count = Count::default();
        for line in [
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            "test a::b ... ok",
            "test a::c ... FAILED",
            "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 5 filtered out; finished in 1.00s",
        ] {
            count.read(line);
        }
        let mut all = Count::default();
        all.merge(count);
        let expected = Counts { passed: 15, failed: 2, skipped: 1 };
        assert_eq!(all.into_parts(), (expected, vec!["test a::c".to_owned()]));
    }

    #[test]
    fn failures_are_shown_and_passes_are_not() {
        assert!(is_worth_showing("test a::b ... FAILED"));
        assert!(!is_worth_showing("test a::b ... ok"));
    }
}
