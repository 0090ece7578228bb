//! The list of stories: what each promises, what it is told on, and what it needs.

use std::{path::Path, pin::Pin, time::Duration};

use super::{
    Plan, access, byo, canary, contract, crash, deletion, digest, drift, fault, fuzz, grants, handover,
    hostile, identity, ingest_faults, kill, migrations, pretend, ready, replaced, rivals, rotation, runners,
    sdk, sdks, settled, spool,
};
use crate::{
    bench,
    stage::{Prepared, Stage},
    standalone::Programs,
};

pub(super) type Told<'a> = Pin<Box<dyn Future<Output = anyhow::Result<String>> + 'a>>;

/// What a story is told on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Story {
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
    pub(super) story: Story,
    pub(super) needs: &'static [Need],
}

/// What has to be built and installed before a story, outside of the sandbox, in which nothing can be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
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
    pub(super) const ALL: [Self; 4] = [Self::Cluster, Self::Standalone, Self::Sdks, Self::Tests];

    pub(super) fn prepare(self) -> anyhow::Result<()> {
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

const fn alone(
    name: &'static str,
    about: &'static str,
    needs: &'static [Need],
    story: for<'a> fn(&'a Path, Plan) -> Told<'a>,
) -> Scenario {
    Scenario { name, about, story: Story::Alone(story), needs }
}

/// Every story, in the order in which they share a stage.
pub static SCENARIOS: [Scenario; 27] = [
    alone(
        "contract",
        "the seed's contract, item by item, with PostHog's paths switched off",
        &[Need::Standalone],
        |folder, plan| Box::pin(contract::run(folder, plan)),
    ),
    alone(
        "sdks",
        "browsers and servers with SDKs of many generations: each event is a row once, and none complains",
        &[Need::Standalone, Need::Sdks],
        |folder, plan| Box::pin(sdks::run(folder, plan)),
    ),
    alone(
        "ingest-faults",
        "faults of ClickHouse and of ingest under load: rows = acknowledged events, none doubled",
        &[Need::Standalone],
        |folder, plan| Box::pin(ingest_faults::run(folder, plan)),
    ),
    alone(
        "bench",
        "a short load of the benchmark, plain and compressed: rows = acknowledged events, each once",
        &[Need::Standalone],
        |folder, plan| Box::pin(bench::smoke(folder, Duration::from_secs(plan.pick(2, 20)), plan.seed)),
    ),
    alone(
        "identity",
        "shuffled and repeated deliveries by writers at once agree with a sequential oracle",
        &[Need::Standalone],
        |folder, plan| Box::pin(identity::run(folder, plan)),
    ),
    alone(
        "hostile",
        "hostile bodies and clients: the right status, bounded memory, nobody else's events harmed",
        &[Need::Standalone],
        |folder, plan| Box::pin(hostile::run(folder, plan)),
    ),
    alone(
        "grants",
        "random edits of grants refuse nobody and end exactly at the spec; conditions and names survive the server",
        &[Need::Tests],
        |folder, plan| Box::pin(grants::run(folder, plan)),
    ),
    alone(
        "fuzz",
        "damaged bodies to every decoder, in process: no panic, bounded memory, agreement with other readers",
        &[Need::Tests],
        |folder, plan| Box::pin(fuzz::run(folder, plan)),
    ),
    alone(
        "migrations",
        "four runners at once, each killed on the way: one history, and the schema of an undisturbed run",
        &[Need::Standalone],
        |folder, plan| Box::pin(migrations::run(folder, plan)),
    ),
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
        "replaced",
        "an empty ClickHouse in the place of the old one: all is made again, the Secrets stay, an event says why",
        |stage, plan| Box::pin(replaced::run(stage, plan)),
    ),
    cluster(
        "spool",
        "pods with a spool take events without ClickHouse, may be killed, and leave no claim with events behind",
        |stage, plan| Box::pin(spool::run(stage, plan)),
    ),
    cluster(
        "rotation",
        "keys and logins turn under load without a refused request, and a revoked one is refused at once",
        |stage, plan| Box::pin(rotation::run(stage, plan)),
    ),
    cluster(
        "byo",
        "values from Secrets of their owners: changed under load without a refusal, named where they cannot be used, never written",
        |stage, plan| Box::pin(byo::run(stage, plan)),
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
        "two operators of two clusters, one ClickHouse, the same names: one owner that both name, and no statement against it",
        |stage, plan| Box::pin(rivals::run(stage, plan)),
    ),
    cluster(
        "handover",
        "a stack that names another one's database takes it over by an approved preview, while events flow: rows = acknowledged",
        |stage, plan| Box::pin(handover::run(stage, plan)),
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
