//! A ClickHouse that says OK and applies nothing: no stack is called ready, and no Secret is switched, until it does.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::json;

use super::Plan;
use crate::{
    clickhouse::Server,
    kstatus::Judgement,
    stack::{Stack, judgement, summary},
    stage::{REPLICA, Stage},
};

/// How long a stack may take once ClickHouse applies what it says.
const RECOVERY: Duration = Duration::from_mins(2);
const LOGIN: &str = "ingest-clickhouse";

/// Where ClickHouse pretends.
#[derive(Clone, Copy, Debug)]
enum Place {
    Everywhere,
    OneEndpoint,
}

const PLACES: [Place; 2] = [Place::Everywhere, Place::OneEndpoint];

pub(super) async fn run(stage: &Stage, plan: Plan) -> anyhow::Result<String> {
    let watched = plan.pick(Duration::from_secs(8), Duration::from_mins(1));
    let mut told = format!("watched for {} s each:\n", watched.as_secs());
    for place in plan.some(&PLACES, &mut plan.random()) {
        let seen = match place {
            Place::Everywhere => everywhere(stage, watched).await,
            Place::OneEndpoint => on_one(stage, watched).await,
        };
        stage.clickhouse_up().await?;
        told += &seen.with_context(|| format!("ClickHouse pretends: {place:?}"))?;
    }
    Ok(told)
}

/// A new stack, and then a rotation, while ClickHouse pretends.
async fn everywhere(stage: &Stage, least: Duration) -> anyhow::Result<String> {
    let watch = Watch { least, names: "hollow" };
    stage.clickhouse_pretends();
    let stack = stage.make_stack("hollow")?;
    let first = never_ready(&stack, &watch).await.context("a new stack")?;
    stage.clickhouse_up().await?;
    stack.wait_current(RECOVERY).await?;

    stage.clickhouse_pretends();
    annotate_rotation(&stack).await?;
    let second = not_switched(&stack, &watch).await.context("a rotation")?;
    stage.clickhouse_up().await?;
    turned(&stack).await?;
    stack.delete(Duration::from_mins(1)).await?;
    Ok(format!("      every endpoint, new stack: {first}\n      every endpoint, rotation: {second}\n"))
}

/// The same where the second of two endpoints has nothing of it.
async fn on_one(stage: &Stage, least: Duration) -> anyhow::Result<String> {
    let replica = stage.start_replica().await?;
    let told = beside(stage, &replica, least).await;
    replica.stop().await?;
    told
}

async fn beside(stage: &Stage, replica: &Server, least: Duration) -> anyhow::Result<String> {
    let watch = Watch { least, names: REPLICA };
    let url = stage.target.clickhouse.url.as_str().trim_end_matches('/');
    let stack = stage
        .make_stack_with("half", |stack| stack["spec"]["clickhouse"]["endpoints"] = json!([url, REPLICA]))?;
    replica.query("CREATE DATABASE weir_shop__half").await?;
    let first = never_ready(&stack, &watch).await.context("a new stack")?;
    followed(stage, replica, async { stack.wait_current(RECOVERY).await.map(drop) }).await?;

    annotate_rotation(&stack).await?;
    let second = not_switched(&stack, &watch).await.context("a rotation")?;
    followed(stage, replica, turned(&stack)).await?;
    stack.delete(Duration::from_mins(1)).await?;
    Ok(format!("      one endpoint, new stack: {first}\n      one endpoint, rotation: {second}\n"))
}

/// Lets the replica follow the first ClickHouse until something is done.
async fn followed(
    stage: &Stage,
    replica: &Server,
    done: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    tokio::select! {
        done = done => done,
        failed = follow(stage, replica) => failed,
    }
}

async fn follow(stage: &Stage, replica: &Server) -> anyhow::Result<()> {
    loop {
        stage.replicate_access(replica).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Watches a new stack: it is never Current and publishes no login. Returns what it waits for.
async fn never_ready(stack: &Stack, watch: &Watch<'_>) -> anyhow::Result<String> {
    watch
        .look(stack, |status, login| {
            ensure!(judgement(status) != Judgement::Current, "it is called Current");
            ensure!(login.is_none(), "the login {} is published", login.unwrap_or_default());
            Ok(())
        })
        .await
}

/// Watches a stack that is asked for a rotation: its published login stays. Returns what it waits for.
async fn not_switched(stack: &Stack, watch: &Watch<'_>) -> anyhow::Result<String> {
    watch
        .look(stack, |_, login| {
            let login = login.unwrap_or_default();
            ensure!(login.ends_with("_ingest_g1"), "the published login became {login}");
            Ok(())
        })
        .await
}

/// How long a stack is watched at least, and what it has to name in the end.
struct Watch<'a> {
    least: Duration,
    names: &'a str,
}

impl Watch<'_> {
    async fn look(
        &self,
        stack: &Stack,
        check: impl Fn(&weir_crds::AnalyticsStack, Option<String>) -> anyhow::Result<()>,
    ) -> anyhow::Result<String> {
        let started = Instant::now();
        loop {
            let login = stack.secret(&format!("{}-{LOGIN}", stack.name)).await.ok();
            let status = stack.get().await?;
            let elapsed = started.elapsed();
            check(&status, login.map(|login| login["username"].clone()))
                .with_context(|| format!("after {:.1} s: {}", elapsed.as_secs_f64(), summary(&status)))?;
            let waits = status.status.iter().flat_map(|status| &status.blocked_by);
            let mut waits = waits.map(|wait| format!("waits for {}: {}", wait.object, wait.hint));
            if let (true, Some(wait)) = (elapsed > self.least, waits.find(|wait| wait.contains(self.names))) {
                return Ok(wait);
            }
            // Whatever ClickHouse applies takes its time before the first thing that it does not.
            ensure!(elapsed < self.least + RECOVERY, "it names no {}: {}", self.names, summary(&status));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn annotate_rotation(stack: &Stack) -> anyhow::Result<()> {
    stack.patch(json!({ "metadata": { "annotations": { "weir.dev/rotate": "ingest=pretend" } } })).await
}

async fn turned(stack: &Stack) -> anyhow::Result<()> {
    let started = Instant::now();
    while !stack.secret(&format!("{}-{LOGIN}", stack.name)).await?["username"].ends_with("_g2") {
        ensure!(
            started.elapsed() < RECOVERY,
            "the rotation does not go on: {}",
            summary(&stack.get().await?)
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}
