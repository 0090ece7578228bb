//! Faults of ClickHouse and of ingest itself, under load: what was acknowledged is there, once, and nothing else is lost.
//!
//! The clients of the load never give up, so in the end everything that was sent is acknowledged, and every row must be
//! one of those events. Each fault meets one to four replicas, without a spool and with one; a sample takes some of the
//! faults with a spool.

mod blow;
mod disk;
mod ground;
mod verdict;

use std::path::Path;

use anyhow::Context as _;
use rand::{RngExt as _, seq::SliceRandom as _};

use self::{
    blow::Blow,
    ground::{Ground, REPLICAS},
};
use super::Plan;

pub(super) async fn run(folder: &Path, plan: Plan) -> anyhow::Result<String> {
    let mut random = plan.random();
    let mut ground = Ground::prepare(folder).await?;
    let mut lines = String::new();
    for spool in [false, true] {
        ground.start_replicas(spool).await?;
        for round in 0..plan.pick(1, 5) {
            let mut blows = Blow::all(plan);
            blows.shuffle(&mut random);
            if spool {
                blows.truncate(plan.pick(4, blows.len()));
            }
            for blow in blows {
                let replicas = random.random_range(1..=REPLICAS);
                let line = ground
                    .endure(&blow, replicas, &mut random)
                    .await
                    .with_context(|| format!("{blow}, {replicas} replicas, spool {spool}, round {round}"))?;
                lines.push_str(&line);
            }
        }
    }
    let total = ground.finish().await?;
    Ok(format!("{total}\n{}", lines.trim_end()))
}
