//! Every test of the workspace, with a real registry and a real ClickHouse beside it.

mod clickhouse;
mod count;

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use anyhow::Context;

use self::{clickhouse::TestClickhouse, count::Count};
use super::{place::Place, registry::TestRegistry};
use crate::report::{Report, announce};

/// Runs `cargo test` and adds what its runners counted.
pub(super) fn run(place: &Place, report: &mut Report) -> anyhow::Result<()> {
    let build = ["test", "--quiet", "--workspace", "--no-run"];
    let hint = crate::tool::Hint::new("install Rust (https://rustup.rs)", "the tests do not compile");
    if !super::gates::gate(report, "tests: they compile", &mut place.command("cargo", build), &hint) {
        return Ok(());
    }
    let mut command = place.command("cargo", ["test", "--workspace", "--no-fail-fast"]);
    let registry =
        TestRegistry::start(&place.subfolder("registry")?).context("failed to start a registry")?;
    registry.describe_to(&mut command);
    let clickhouse = TestClickhouse::start(place).context("failed to start a ClickHouse")?;
    clickhouse.describe_to(&mut command);
    let (count, success) = stream(command)?;
    clickhouse.stop()?;
    report.add("tests", count.counts());
    if !success && count.counts().failed == 0 {
        report.check("tests: every runner came to its end", || {
            Err::<String, _>("one ended without counting, see above: it crashed or was killed")
        });
    }
    Ok(())
}

/// Runs the command, shows its output as it comes, and counts; `true` when it ended well.
fn stream(mut command: Command) -> anyhow::Result<(Count, bool)> {
    // Standard error holds the names of the runners, which would come out of order through a second pipe.
    let mut child = command.stdout(Stdio::piped()).spawn().context("failed to start cargo")?;
    let output = child.stdout.take().context("cargo has no standard output")?;
    let mut count = Count::default();
    for line in BufReader::new(output).split(b'\n') {
        let line = line.context("failed to read from cargo")?;
        let line = String::from_utf8_lossy(&line);
        count.read(&line);
        if count::is_worth_showing(&line) {
            announce(&line);
        }
    }
    let status = child.wait().context("failed to wait for cargo")?;
    Ok((count, status.success()))
}
