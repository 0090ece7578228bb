//! The user stories, from YAML to queried rows, as the last section of `verify`.

use anyhow::Context as _;

use super::place::Place;
use crate::{
    report::Report,
    sandbox::Sandbox,
    scenario::{self, Effort, Plan},
    stage::{Prepared, Stage},
};

/// Runs every story as a seeded sample, on one stage.
pub(super) fn run(_place: &Place, sandbox: &Sandbox, report: &mut Report) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("failed to start the runtime")?;
    let plan = Plan { effort: Effort::Sample, seed: scenario::fresh_seed() };
    runtime.block_on(async {
        // The API server of the section before has left its store behind.
        let stage = Stage::start(&sandbox.room("stage")?, Prepared::find()?).await?;
        scenario::run(&stage, plan, &[], report).await;
        anyhow::Ok(())
    })
}
