//! The user stories, from YAML to queried rows, as the last section of `verify`.

use super::place::Place;
use crate::{
    report::Report,
    sandbox::Sandbox,
    scenario::{self, Effort, Plan, SCENARIOS},
};

/// Stories that only `cargo soak` tells, since a cold run has 45 minutes: `byo` has old credentials to wait for, as `rotation`
/// has, and what `grants` runs has run as a sample among the tests.
const SOAKED: [&str; 2] = ["byo", "grants"];

/// Runs every other story as a seeded sample.
pub(super) fn run(_place: &Place, sandbox: &Sandbox, report: &mut Report) -> anyhow::Result<()> {
    let names = SCENARIOS.iter().map(|scenario| scenario.name).filter(|name| !SOAKED.contains(name));
    let wanted: Vec<String> = names.map(str::to_owned).collect();
    scenario::run(sandbox, Plan { effort: Effort::Sample, seed: scenario::fresh_seed() }, &wanted, report)
}
