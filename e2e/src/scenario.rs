//! The stories that Weir promises, each run on real parts and judged by what its user would see.
//!
//! `cargo verify` runs each as a seeded sample, `cargo soak -- NAME` the same code at full count.

mod access;
mod byo;
mod canary;
mod contract;
mod crash;
mod deletion;
mod digest;
mod drift;
mod fault;
mod fuzz;
mod grants;
mod handover;
mod hostile;
mod identity;
mod ingest_faults;
mod kill;
mod list;
mod migrations;
mod normal_form;
mod pretend;
mod ready;
mod replaced;
mod rivals;
mod rotation;
mod runners;
mod scrape;
mod sdk;
mod sdks;
mod settled;
mod spool;

use std::{thread, time::Instant};

use anyhow::Context as _;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

use self::list::{Need, Story, Told};
pub use self::list::{SCENARIOS, Scenario};
pub(crate) use self::sdk::send_with_posthog_node;
use crate::{
    report::{Report, announce},
    sandbox::Sandbox,
    stage::{Prepared, Stage},
};

/// How often a story is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// About a minute.
    Sample,
    /// The counts and durations that the design promises.
    Full,
}

/// How a story is run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How often.
    pub effort: Effort,
    /// Seed of every random choice.
    pub seed: u64,
}

impl Plan {
    /// Picks a count or duration.
    pub fn pick<T>(self, sample: T, full: T) -> T {
        match self.effort {
            Effort::Sample => sample,
            Effort::Full => full,
        }
    }

    /// Picks all of them, or one by chance.
    pub fn some<T: Copy>(self, all: &[T], random: &mut StdRng) -> Vec<T> {
        match self.effort {
            Effort::Sample => all.choose(random).copied().into_iter().collect(),
            Effort::Full => all.to_vec(),
        }
    }

    /// The source of this run's random choices.
    pub fn random(self) -> StdRng {
        StdRng::seed_from_u64(self.seed)
    }
}

/// Builds and installs what the wanted stories need; outside of the sandbox.
pub fn prepare(wanted: &[String]) -> anyhow::Result<()> {
    let is_needed = |need: Need| chosen(wanted).any(|scenario| scenario.needs.contains(&need));
    // The cluster takes the service and the engine too.
    let is_part = |need: Need| need == Need::Standalone && is_needed(Need::Cluster);
    Need::ALL.into_iter().filter(|need| is_needed(*need) && !is_part(*need)).try_for_each(Need::prepare)
}

/// Runs the scenarios that `wanted` names, or all of them, and records each in the report; inside of the sandbox.
///
/// Samples are told in two lines at once, those on the cluster and those without, since both mostly wait. At full count
/// each has the machine to itself.
pub fn run(sandbox: &Sandbox, plan: Plan, wanted: &[String], report: &mut Report) -> anyhow::Result<()> {
    announce(&format!("scenarios run with seed {}", plan.seed));
    let mut beside = Report::default();
    let ended = match plan.effort {
        Effort::Sample => thread::scope(|scope| {
            let alone = scope.spawn(|| block_on(run_alone(sandbox, plan, wanted, &mut beside)));
            let on_cluster = block_on(run_on_cluster(sandbox, plan, wanted, report));
            let alone =
                alone.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a story without cluster panicked")));
            alone.and(on_cluster)
        }),
        Effort::Full => block_on(run_alone(sandbox, plan, wanted, &mut beside))
            .and_then(|()| block_on(run_on_cluster(sandbox, plan, wanted, report))),
    };
    report.merge(beside);
    ended
}

fn block_on(told: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Runtime::new().context("failed to start the runtime")?.block_on(told)
}

async fn run_alone(
    sandbox: &Sandbox,
    plan: Plan,
    wanted: &[String],
    report: &mut Report,
) -> anyhow::Result<()> {
    for scenario in chosen(wanted) {
        if let Story::Alone(story) = scenario.story {
            let room = sandbox.room(scenario.name)?;
            tell(scenario, story(room.folder(), plan), report).await;
        }
    }
    Ok(())
}

async fn run_on_cluster(
    sandbox: &Sandbox,
    plan: Plan,
    wanted: &[String],
    report: &mut Report,
) -> anyhow::Result<()> {
    if !chosen(wanted).any(|scenario| matches!(scenario.story, Story::Cluster(_))) {
        return Ok(());
    }
    // Another section may have left the store of its API server in the folder of the sandbox.
    let stage = Stage::start(&sandbox.room("stage")?, Prepared::find()?).await?;
    for scenario in &SCENARIOS {
        // Every story after the first needs the stack that `ready` makes.
        let is_needed = scenario.name == "ready" || is_wanted(scenario, wanted);
        if let (Story::Cluster(story), true) = (scenario.story, is_needed) {
            if tell(scenario, story(&stage, plan), report).await {
                stage.drop_kept_databases().await?;
            } else {
                stage.keep_diagnostics(scenario.name).await;
            }
        }
    }
    Ok(())
}

fn chosen(wanted: &[String]) -> impl Iterator<Item = &'static Scenario> {
    SCENARIOS.iter().filter(|scenario| is_wanted(scenario, wanted))
}

fn is_wanted(scenario: &Scenario, wanted: &[String]) -> bool {
    wanted.is_empty() || wanted.iter().any(|name| name == scenario.name)
}

/// Runs one story and records how it ended; says whether it passed.
async fn tell(scenario: &Scenario, story: Told<'_>, report: &mut Report) -> bool {
    announce(&format!("{}: {} …", scenario.name, scenario.about));
    let started = Instant::now();
    let outcome = story.await.map_err(|error| format!("{error:#}"));
    report.record(&format!("scenario {}", scenario.name), outcome, started.elapsed())
}

/// For people.
fn mebibytes(bytes: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "printed without decimals")]
    let bytes = bytes as f64;
    bytes / f64::from(1 << 20)
}

/// A fresh seed for a run that names none.
pub fn fresh_seed() -> u64 {
    rand::rng().random_range(0..1_000_000)
}
