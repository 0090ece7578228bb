//! Four runners migrate an empty database at once, each killed on the way and started again as a Job would start it: one
//! history, every statement recorded once, and the schema of a run that nobody disturbed.
//!
//! Killed is the runner that acts, some milliseconds after a statement that was drawn by lot, and one of those that wait.
//! The claim of a dead runner lives for 20 s, so that rounds take long and cost little: several run side by side.

mod race;
mod schema;

use std::{path::Path, sync::Arc};

use anyhow::{Context as _, ensure};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::task::JoinSet;

use self::{
    race::{Race, Tally},
    schema::Schema,
};
use super::Plan;
use crate::standalone::{Options, Programs, Standalone};

/// Databases that are migrated side by side.
const SIDE_BY_SIDE: usize = 8;

pub(super) async fn run(folder: &Path, plan: Plan) -> anyhow::Result<String> {
    let weir = Arc::new(Standalone::start(Options::new(Programs::find()?, folder)).await?);
    // A merge would hide that a row was written twice.
    weir.query("SYSTEM STOP MERGES").await?;
    let expected = Arc::new(Schema::read(&weir, weir.database()).await?);
    let statements = expected.history.lines().count();
    ensure!(statements > 0, "an undisturbed run recorded nothing");
    let mut random = plan.random();
    let mut total = Tally::default();
    let (rounds, strikes) = (plan.pick(5, 50), plan.pick(2, 4));
    let mut races = JoinSet::new();
    for round in 0..rounds {
        if races.len() == SIDE_BY_SIDE
            && let Some(tally) = races.join_next().await
        {
            total.add(&tally.context("a race panicked")??);
        }
        let (weir, expected) = (Arc::clone(&weir), Arc::clone(&expected));
        let mut random = StdRng::seed_from_u64(random.random());
        let targets = targets(statements, strikes, &mut random);
        races.spawn(async move {
            let database = format!("race_{round}");
            let race = Race::new(&weir, &database);
            let mut tally = race.run(&targets, &mut random).await.with_context(|| database.clone())?;
            let found = Schema::read(&weir, &database).await?;
            found.is(&expected).with_context(|| database.clone())?;
            tally.again = repeated(&weir, &database).await?;
            weir.query(&format!("DROP DATABASE {database} SYNC")).await?;
            Ok::<_, anyhow::Error>(tally)
        });
    }
    while let Some(tally) = races.join_next().await {
        total.add(&tally.context("a race panicked")??);
    }
    Arc::into_inner(weir).context("a race has not ended")?.stop().await?;
    Ok(format!(
        "{rounds} databases, each by 4 runners at once: {total}; each has one history of {statements} statements, \
         each recorded once and in order, and the schema of an undisturbed run"
    ))
}

/// After how many statements somebody is killed, ascending.
fn targets(statements: usize, strikes: usize, random: &mut StdRng) -> Vec<usize> {
    // A kill can keep a statement from being told, so that the last ones could be waited for in vain.
    let last = statements.saturating_sub(2 * strikes).max(1);
    let mut targets: Vec<usize> = (0..strikes).map(|_| random.random_range(0..last)).collect();
    targets.sort_unstable();
    targets
}

/// Statements of migrations that were run more than once: those that a kill kept from the ledger.
async fn repeated(weir: &Standalone, database: &str) -> anyhow::Result<u64> {
    weir.query("SYSTEM FLUSH LOGS query_log").await?;
    let sql = format!(
        "SELECT count() - uniqExact(query) FROM system.query_log WHERE type = 'QueryFinish' \
         AND query_kind IN ('Create', 'Alter') AND query LIKE '%`{database}`.%' \
         AND query NOT LIKE '%`{database}`.schema_migration%'"
    );
    Ok(weir.query(&sql).await?.trim().parse()?)
}
