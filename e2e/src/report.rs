//! What was checked and how it ended: one line a check while it runs, one closing line of counts.

use std::{
    fmt::Display,
    io::{Write as _, stderr, stdout},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

/// Counts of checks by how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Checks that held.
    pub passed: u64,
    /// Checks that did not.
    pub failed: u64,
    /// Checks that could not run here.
    pub skipped: u64,
}

impl Counts {
    /// Adds what was counted elsewhere.
    pub fn add(&mut self, other: Self) {
        let Self { passed, failed, skipped } = other;
        self.passed += passed;
        self.failed += failed;
        self.skipped += skipped;
    }
}

/// Collects the outcome of every check of a run.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Report {
    counts: Counts,
    /// What is said of each failed check at the end, where whoever keeps only the end of a log finds it.
    failures: Vec<String>,
}

impl Report {
    /// Runs one check, prints how it ended and how long it took, and returns whether it held.
    pub fn check<E: Display>(&mut self, name: &str, check: impl FnOnce() -> Result<String, E>) -> bool {
        announce(&format!("{name} …"));
        let started = Instant::now();
        let outcome = check().map_err(|error| format!("{error:#}"));
        self.record(name, outcome, started.elapsed())
    }

    /// Records a check that ran elsewhere; `Ok` carries what was seen, `Err` what was wrong.
    pub fn record(&mut self, name: &str, outcome: Result<String, String>, took: Duration) -> bool {
        let seconds = took.as_secs_f64();
        match &outcome {
            Ok(seen) if seen.is_empty() => announce(&format!("ok    {name} ({seconds:.1} s)")),
            Ok(seen) => announce(&format!("ok    {name} ({seconds:.1} s): {seen}")),
            Err(error) => announce(&format!("FAIL  {name} ({seconds:.1} s): {error}")),
        }
        self.count(name, outcome.map(drop))
    }

    fn count(&mut self, name: &str, outcome: Result<(), String>) -> bool {
        let held = outcome.is_ok();
        let counts = Counts { passed: held.into(), failed: (!held).into(), skipped: 0 };
        self.add(counts, outcome.err().map(|error| format!("{name}: {error}")));
        held
    }

    /// Adds the counts of a test runner that reports for itself, and what failed there.
    pub fn add(&mut self, counts: Counts, failures: impl IntoIterator<Item = String>) {
        self.counts.add(counts);
        self.failures.extend(failures);
    }

    /// Adds what another run of checks counted.
    pub fn merge(&mut self, other: Self) {
        self.counts.add(other.counts);
        self.failures.extend(other.failures);
    }

    /// Counts so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Prints the failed checks and the closing line, and returns whether everything held.
    pub fn close(&self) -> bool {
        for failure in &self.failures {
            announce(&format!("failed: {failure}"));
        }
        print_line(&self.closing_line());
        self.holds()
    }

    fn closing_line(&self) -> String {
        let Counts { passed, failed, skipped } = self.counts;
        format!("{passed} passed, {failed} failed, {skipped} skipped")
    }

    /// A run that checked nothing has not passed.
    fn holds(&self) -> bool {
        self.counts.failed == 0 && self.counts.passed > 0
    }
}

/// Says on standard error what is going on.
pub fn announce(line: &str) {
    // Progress is a courtesy: a closed terminal must not end a run.
    drop(writeln!(stderr(), "{line}"));
}

/// Prints a result on standard output.
pub fn print_line(line: &str) {
    drop(writeln!(stdout(), "{line}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_check_is_counted_and_told_again_at_the_end() {
        let mut report = Report::default();
        assert!(report.count("one", Ok(())));
        assert!(!report.count("two", Err("no reason".to_owned())));
        report.add(Counts { passed: 3, failed: 0, skipped: 1 }, None);
        let mut both = Report::default();
        assert!(!both.count("three", Err("late".to_owned())));
        both.merge(report);
        assert_eq!(both.closing_line(), "4 passed, 2 failed, 1 skipped");
        assert_eq!(both.failures, ["three: late", "two: no reason"]);
        assert!(!both.holds());
    }

    #[test]
    fn one_failed_check_is_enough() {
        let mut report = Report::default();
        report.add(Counts { passed: 3, failed: 1, skipped: 0 }, Some("suite::test".to_owned()));
        assert!(!report.holds());
    }

    #[test]
    fn a_run_that_checked_nothing_has_not_passed() {
        assert!(!Report::default().holds());
    }
}
