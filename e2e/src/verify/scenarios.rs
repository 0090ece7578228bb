//! The user stories, from YAML to queried rows, as the last section of `verify`.

use super::place::Place;
use crate::{
    report::Report,
    sandbox::Sandbox,
    scenario::{self, Effort, Plan},
};

/// Runs every story as a seeded sample.
pub(super) fn run(_place: &Place, sandbox: &Sandbox, report: &mut Report) -> anyhow::Result<()> {
    scenario::run(sandbox, Plan { effort: Effort::Sample, seed: scenario::fresh_seed() }, &[], report)
}
