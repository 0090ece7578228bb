//! The fuzzers over the decoders of ingest, round after round with other seeds, until the time is over.
//!
//! They are properties among the unit tests, where they run a few hundred times. Here the same runner is told to do more.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};

use super::{Plan, runners};
use crate::tool::tail;

/// Bodies that each fuzzer makes in a round.
const CASES: u64 = 1000;
/// Module of the fuzzers.
const FUZZERS: &str = "decode::fuzz::";
const TAIL_LINES: usize = 30;

pub(super) async fn run(folder: &Path, plan: Plan) -> anyhow::Result<String> {
    let (started, time) = (Instant::now(), plan.pick(Duration::from_secs(15), Duration::from_mins(10)));
    let runner = runners::find("ingest", "lib")?;
    let (mut rounds, mut fuzzers) = (0_u64, 0);
    while started.elapsed() < time {
        let seed = plan.seed.wrapping_add(rounds);
        let mut command = tokio::process::Command::new(&runner);
        command.args([FUZZERS, "--test-threads", "2"]).current_dir(folder).kill_on_drop(true);
        command.env("PROPTEST_CASES", CASES.to_string()).env("PROPTEST_RNG_SEED", seed.to_string());
        command.env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "true");
        let output = command.output().await.context("failed to start the fuzzers")?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "with seed {seed}: {}", tail(&text, TAIL_LINES));
        fuzzers = passed(&text).filter(|passed| *passed > 0).context("no fuzzer ran")?;
        rounds += 1;
    }
    Ok(format!(
        "{fuzzers} fuzzers, {rounds} rounds of {CASES} bodies each from seed {}: {} bodies, each as its property says",
        plan.seed,
        fuzzers * rounds * CASES
    ))
}

/// Tests that passed, as their runner counts them.
fn passed(output: &str) -> Option<u64> {
    let line = output.lines().find_map(|line| line.strip_prefix("test result: ok. "))?;
    line.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_runner_that_went_well_has_a_count() {
        assert_eq!(passed("\nrunning 12 tests\n\ntest result: ok. 12 passed; 0 failed;"), Some(12));
        assert_eq!(passed("test result: FAILED. 11 passed; 1 failed"), None);
    }
}
