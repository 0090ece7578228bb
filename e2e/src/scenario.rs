//! The stories that Weir promises, each run on real parts and judged by what its user would see.
//!
//! `cargo verify` runs each as a seeded sample, `cargo soak -- NAME` the same code at full count.

mod access;
mod deletion;
mod digest;
mod drift;
mod fault;
mod kill;
mod normal_form;
mod ready;
mod sdk;
mod settled;

use std::{pin::Pin, time::Instant};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

pub(crate) use self::sdk::send_with_posthog_node;
use crate::{
    report::{Report, announce},
    stage::Stage,
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

type Story = for<'a> fn(&'a Stage, Plan) -> Pin<Box<dyn Future<Output = anyhow::Result<String>> + 'a>>;

/// One story.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Name on the command line.
    pub name: &'static str,
    /// What holds when it passes.
    pub about: &'static str,
    story: Story,
}

/// Every story, in the order in which they share a stage.
pub const SCENARIOS: [Scenario; 9] = [
    Scenario {
        name: "ready",
        about: "the minimal example is Ready within 60 s and never called Current before it was",
        story: |stage, plan| Box::pin(ready::run(stage, plan)),
    },
    Scenario {
        name: "sdk",
        about: "events of a real posthog-node through the Service are rows, each once",
        story: |stage, plan| Box::pin(sdk::run(stage, plan)),
    },
    Scenario {
        name: "access",
        about: "every user may do what its role says and nothing else",
        story: |stage, plan| Box::pin(access::run(stage, plan)),
    },
    Scenario {
        name: "settled",
        about: "a settled stack costs no write requests",
        story: |stage, plan| Box::pin(settled::run(stage, plan)),
    },
    Scenario {
        name: "drift",
        about: "deleting or editing a child, in Kubernetes or ClickHouse, brings back exactly that child",
        story: |stage, plan| Box::pin(drift::run(stage, plan)),
    },
    Scenario {
        name: "digest",
        about: "a moved tag changes nothing; a new digest migrates first and rolls under load without loss",
        story: |stage, plan| Box::pin(digest::run(stage, plan)),
    },
    Scenario {
        name: "fault",
        about: "each fault has its condition, reason and fix, and old pods keep serving",
        story: |stage, plan| Box::pin(fault::run(stage, plan)),
    },
    Scenario {
        name: "kill",
        about: "kill -9 of operator and ingest at random moments changes no outcome",
        story: |stage, plan| Box::pin(kill::run(stage, plan)),
    },
    Scenario {
        name: "deletion",
        about: "deleting a stack ends within its bound, also without ClickHouse",
        story: |stage, plan| Box::pin(deletion::run(stage, plan)),
    },
];

/// Runs the scenarios that `wanted` names, or all of them, and records each in the report.
pub async fn run(stage: &Stage, plan: Plan, wanted: &[String], report: &mut Report) {
    announce(&format!("scenarios run with seed {}", plan.seed));
    for scenario in SCENARIOS {
        // Every story after the first needs the stack that `ready` makes.
        if !wanted.is_empty() && scenario.name != "ready" && !wanted.iter().any(|name| name == scenario.name)
        {
            continue;
        }
        announce(&format!("{}: {} …", scenario.name, scenario.about));
        let started = Instant::now();
        let outcome = (scenario.story)(stage, plan).await.map_err(|error| format!("{error:#}"));
        let failed = outcome.is_err();
        report.record(&format!("scenario {}", scenario.name), outcome, started.elapsed());
        if failed {
            stage.keep_diagnostics(scenario.name).await;
        }
    }
}

/// A fresh seed for a run that names none.
pub fn fresh_seed() -> u64 {
    rand::rng().random_range(0..1_000_000)
}
