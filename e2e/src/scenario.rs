//! The stories that Weir promises, each run on real parts and judged by what its user would see.
//!
//! `cargo verify` runs each as a seeded sample, `cargo soak -- NAME` the same code at full count.

mod access;
mod canary;
mod contract;
mod crash;
mod deletion;
mod digest;
mod drift;
mod fault;
mod fuzz;
mod grants;
mod hostile;
mod identity;
mod ingest_faults;
mod kill;
mod migrations;
mod normal_form;
mod pretend;
mod ready;
mod rivals;
mod rotation;
mod runners;
mod scrape;
mod sdk;
mod sdks;
mod settled;

use std::{
    path::Path,
    pin::Pin,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

pub(crate) use self::sdk::send_with_posthog_node;
use crate::{
    bench,
    report::{Report, announce},
    sandbox::Sandbox,
    stage::{Prepared, Stage},
    standalone::Programs,
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

    /// The source of this run's random choices.
    pub fn random(self) -> StdRng {
        StdRng::seed_from_u64(self.seed)
    }
}

type Told<'a> = Pin<Box<dyn Future<Output = anyhow::Result<String>> + 'a>>;

/// What a story is told on.
#[derive(Clone, Copy, Debug)]
enum Story {
    /// The whole cluster, which it shares with the other stories of a run.
    Cluster(for<'a> fn(&'a Stage, Plan) -> Told<'a>),
    /// Whatever it starts for itself, in this folder: no Kubernetes.
    Alone(for<'a> fn(&'a Path, Plan) -> Told<'a>),
}

/// One story.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Name on the command line.
    pub name: &'static str,
    /// What holds when it passes.
    pub about: &'static str,
    story: Story,
    needs: &'static [Need],
}

/// What has to be built and installed before a story, outside of the sandbox, in which nothing can be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// Everything of a [`Stage`].
    Cluster,
    /// The ingest service and the ClickHouse engine.
    Standalone,
    /// SDKs of many generations, and the browser that some run in.
    Sdks,
    /// The tests of the workspace, and the ClickHouse engine.
    Tests,
}

impl Need {
    const ALL: [Self; 4] = [Self::Cluster, Self::Standalone, Self::Sdks, Self::Tests];

    fn prepare(self) -> anyhow::Result<()> {
        match self {
            Self::Cluster => Prepared::prepare().map(drop),
            Self::Standalone => Programs::prepare().map(drop),
            Self::Sdks => sdks::Sdks::find().map(drop),
            Self::Tests => runners::prepare(),
        }
    }
}

const fn cluster(
    name: &'static str,
    about: &'static str,
    story: for<'a> fn(&'a Stage, Plan) -> Told<'a>,
) -> Scenario {
    Scenario { name, about, story: Story::Cluster(story), needs: &[Need::Cluster] }
}

/// Every story, in the order in which they share a stage.
pub static SCENARIOS: [Scenario; 23] = [
    Scenario {
        name: "contract",
        about: "the seed's contract, item by item, with PostHog's paths switched off",
        story: Story::Alone(|folder, plan| Box::pin(contract::run(folder, plan))),
        needs: &[Need::Standalone],
    },
    Scenario {
        name: "sdks",
        about: "browsers and servers with SDKs of many generations: each event is a row once, and none complains",
        story: Story::Alone(|folder, plan| Box::pin(sdks::run(folder, plan))),
        needs: &[Need::Standalone, Need::Sdks],
    },
    Scenario {
        name: "ingest-faults",
        about: "faults of ClickHouse and of ingest under load: rows = acknowledged events, none doubled",
        story: Story::Alone(|folder, plan| Box::pin(ingest_faults::run(folder, plan))),
        needs: &[Need::Standalone],
    },
    Scenario {
        name: "bench",
        about: "a short load of the benchmark, plain and compressed: rows = acknowledged events, each once",
        story: Story::Alone(|folder, plan| {
            Box::pin(bench::smoke(folder, Duration::from_secs(plan.pick(2, 20)), plan.seed))
        }),
        needs: &[Need::Standalone],
    },
    Scenario {
        name: "identity",
        about: "shuffled and repeated deliveries by writers at once agree with a sequential oracle",
        story: Story::Alone(|folder, plan| Box::pin(identity::run(folder, plan))),
        needs: &[Need::Standalone],
    },
    Scenario {
        name: "hostile",
        about: "hostile bodies and clients: the right status, bounded memory, nobody else's events harmed",
        story: Story::Alone(|folder, plan| Box::pin(hostile::run(folder, plan))),
        needs: &[Need::Standalone],
    },
    Scenario {
        name: "grants",
        about: "random edits of grants refuse nobody and end exactly at the spec; names survive quoting",
        story: Story::Alone(|folder, plan| Box::pin(grants::run(folder, plan))),
        needs: &[Need::Tests],
    },
    Scenario {
        name: "fuzz",
        about: "damaged bodies to every decoder, in process: no panic, bounded memory, agreement with other readers",
        story: Story::Alone(|folder, plan| Box::pin(fuzz::run(folder, plan))),
        needs: &[Need::Tests],
    },
    Scenario {
        name: "migrations",
        about: "four runners at once, each killed on the way: one history, and the schema of an undisturbed run",
        story: Story::Alone(|folder, plan| Box::pin(migrations::run(folder, plan))),
        needs: &[Need::Standalone],
    },
    cluster(
        "ready",
        "the minimal example is Ready within 60 s and never called Current before it was",
        |stage, plan| Box::pin(ready::run(stage, plan)),
    ),
    cluster("sdk", "events of a real posthog-node through the Service are rows, each once", |stage, plan| {
        Box::pin(sdk::run(stage, plan))
    }),
    cluster("access", "every user may do what its role says and nothing else", |stage, plan| {
        Box::pin(access::run(stage, plan))
    }),
    cluster("settled", "a settled stack costs no write requests", |stage, plan| {
        Box::pin(settled::run(stage, plan))
    }),
    cluster(
        "drift",
        "deleting or editing a child, in Kubernetes or ClickHouse, brings back exactly that child",
        |stage, plan| Box::pin(drift::run(stage, plan)),
    ),
    cluster(
        "rotation",
        "keys and logins turn under load without a refused request, and a revoked one is refused at once",
        |stage, plan| Box::pin(rotation::run(stage, plan)),
    ),
    cluster(
        "digest",
        "a moved tag changes nothing; a new digest migrates first and rolls under load without loss",
        |stage, plan| Box::pin(digest::run(stage, plan)),
    ),
    cluster(
        "fault",
        "each fault has its condition, reason and fix, and old pods keep serving",
        |stage, plan| Box::pin(fault::run(stage, plan)),
    ),
    cluster(
        "pretend",
        "a ClickHouse that says OK and applies nothing, on one endpoint or all, gets no Secret switched",
        |stage, plan| Box::pin(pretend::run(stage, plan)),
    ),
    cluster("canary", "no secret shows in any output, in whatever form", |stage, plan| {
        Box::pin(canary::run(stage, plan))
    }),
    cluster(
        "rivals",
        "two operators of two clusters, one ClickHouse, the same names: one owner, and no statement against it",
        |stage, plan| Box::pin(rivals::run(stage, plan)),
    ),
    cluster("kill", "kill -9 of operator and ingest at random moments changes no outcome", |stage, plan| {
        Box::pin(kill::run(stage, plan))
    }),
    cluster(
        "crash",
        "the operator dies before and after every call that changes something: one end state, nobody locked out",
        |stage, plan| Box::pin(crash::run(stage, plan)),
    ),
    cluster("deletion", "deleting a stack ends within its bound, also without ClickHouse", |stage, plan| {
        Box::pin(deletion::run(stage, plan))
    }),
];

/// Builds and installs what the wanted stories need; outside of the sandbox.
pub fn prepare(wanted: &[String]) -> anyhow::Result<()> {
    let is_needed = |need: Need| chosen(wanted).any(|scenario| scenario.needs.contains(&need));
    // The cluster takes the service and the engine too, and building the service alone would build it anew.
    let is_part = |need: Need| need == Need::Standalone && is_needed(Need::Cluster);
    Need::ALL.into_iter().filter(|need| is_needed(*need) && !is_part(*need)).try_for_each(Need::prepare)
}

/// Runs the scenarios that `wanted` names, or all of them, and records each in the report; inside of the sandbox.
pub fn run(sandbox: &Sandbox, plan: Plan, wanted: &[String], report: &mut Report) -> anyhow::Result<()> {
    announce(&format!("scenarios run with seed {}", plan.seed));
    let runtime = tokio::runtime::Runtime::new().context("failed to start the runtime")?;
    runtime.block_on(async {
        for scenario in chosen(wanted) {
            if let Story::Alone(story) = scenario.story {
                let room = sandbox.room(scenario.name)?;
                tell(scenario, story(room.folder(), plan), report).await;
            }
        }
        run_on_cluster(sandbox, plan, wanted, report).await
    })
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
        if let (Story::Cluster(story), true) = (scenario.story, is_needed)
            && !tell(scenario, story(&stage, plan), report).await
        {
            stage.keep_diagnostics(scenario.name).await;
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
