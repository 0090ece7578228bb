//! Every test of the workspace, with a real registry and real ClickHouses beside them.

mod clickhouse;
mod count;

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use anyhow::{Context, bail};

use self::{clickhouse::TestClickhouse, count::Count};
use super::{place::Place, registry::TestRegistry};
use crate::report::{Report, announce};

/// Runners that run beside those of other lanes: most of them wait for a ClickHouse, and each lane has its own.
#[derive(Debug)]
struct Lane {
    /// What `cargo test` is asked for, one after the other.
    targets: &'static [&'static [&'static str]],
    /// Tests that a runner runs at once at least; on more processors as many as there are.
    threads: usize,
}

const LANES: [Lane; 2] = [
    // Tests of access wait for restarts of the engine, and those that wait at once share one.
    Lane { targets: &[&["--lib", "--bins"], &["--doc"]], threads: 4 },
    Lane { targets: &[&["--test", "*"]], threads: 1 },
];

/// Seconds that one `cargo test` of a lane may take: a test that hangs is told by its runner after a minute, and would hold
/// up everything behind it.
const BOUND: &str = "1500";

/// Runs `cargo test` and adds what its runners counted.
pub(super) fn run(place: &Place, report: &mut Report) -> anyhow::Result<()> {
    let build = ["test", "--quiet", "--workspace", "--no-run"];
    let hint = crate::tool::Hint::new("install Rust (https://rustup.rs)", "the tests do not compile");
    if !super::gates::gate(report, "tests: they compile", &mut place.command("cargo", build), &hint) {
        return Ok(());
    }
    let registry =
        TestRegistry::start(&place.subfolder("registry")?).context("failed to start a registry")?;
    let ended: Vec<anyhow::Result<(Count, bool)>> = std::thread::scope(|scope| {
        let registry = &registry;
        let lanes = LANES.iter().enumerate();
        let lanes: Vec<_> = lanes
            .map(|(number, lane)| scope.spawn(move || run_lane(place, registry, number, lane)))
            .collect();
        lanes.into_iter().map(|lane| lane.join().unwrap_or_else(|_| bail!("a lane panicked"))).collect()
    });
    let (mut total, mut success) = (Count::default(), true);
    for lane in ended {
        let (count, ended_well) = lane?;
        total.merge(count);
        success &= ended_well;
    }
    let (counts, failures) = total.into_parts();
    report.add(counts, failures);
    if !success && counts.failed == 0 {
        report.check("tests: every runner came to its end", || {
            Err::<String, _>(format!(
                "one ended without counting, see above: it crashed, was killed, or a test still ran after {BOUND} s"
            ))
        });
    }
    Ok(())
}

/// Runs one lane to its end; returns its counts, and whether every runner ended well.
fn run_lane(
    place: &Place,
    registry: &TestRegistry,
    number: usize,
    lane: &Lane,
) -> anyhow::Result<(Count, bool)> {
    let folder = place.subfolder(&format!("clickhouse-{number}"))?;
    let clickhouse = TestClickhouse::start(folder).context("failed to start a ClickHouse")?;
    let (mut count, mut success) = (Count::default(), true);
    let threads = std::thread::available_parallelism()?.get().max(lane.threads).to_string();
    for targets in lane.targets {
        let bounded = ["--kill-after=10", BOUND, "cargo", "test", "--workspace", "--no-fail-fast"];
        let mut command = place.command("timeout", bounded);
        command.args(*targets).env("RUST_TEST_THREADS", &threads);
        registry.describe_to(&mut command);
        clickhouse.describe_to(&mut command);
        success &= stream(command, &mut count)?;
    }
    clickhouse.stop()?;
    Ok((count, success))
}

/// Runs the command, shows its output as it comes, and counts; `true` when it ended well.
fn stream(mut command: Command, count: &mut Count) -> anyhow::Result<bool> {
    // Standard error holds the names of the runners, which would come out of order through a second pipe.
    let mut child = command.stdout(Stdio::piped()).spawn().context("failed to start cargo")?;
    let output = child.stdout.take().context("cargo has no standard output")?;
    for line in BufReader::new(output).split(b'\n') {
        let line = line.context("failed to read from cargo")?;
        let line = String::from_utf8_lossy(&line);
        count.read(&line);
        if count::is_worth_showing(&line) {
            announce(&line);
        }
    }
    let status = child.wait().context("failed to wait for cargo")?;
    Ok(status.success())
}
