//! ClickHouse is replaced by an empty one: everything of the stack is made again, its Secrets stay, and an event says why.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use serde_json::json;

use super::{Plan, sdk::send_one};
use crate::{
    clickhouse::Server,
    stack::Stack,
    stage::{REPLICA, Stage},
};

const NAME: &str = "moved";
const DATABASE: &str = "weir_shop__moved";
/// Published Secrets, which consumers hold.
const PUBLISHED: [&str; 2] = ["ingest-clickhouse", "key-web"];
/// How long a stack may take to be Ready, and to be it again.
const READY: Duration = Duration::from_mins(1);

pub(super) async fn run(stage: &Stage, plan: Plan) -> anyhow::Result<String> {
    let mut server = stage.start_replica().await?;
    let stack =
        stage.make_stack_with(NAME, |stack| stack["spec"]["clickhouse"]["endpoints"] = json!([REPLICA]))?;
    stack.wait_current(READY).await?;
    let published = secrets(&stack).await?;
    stores(&server, &stack, "before").await?;
    let rounds = plan.pick(1, 5);
    let mut slowest = Duration::ZERO;
    for round in 0..rounds {
        server.stop().await?;
        server = stage.start_replica().await?;
        let took = made_again(&server, &stack).await.with_context(|| format!("replacement {round}"))?;
        slowest = slowest.max(took);
        stores(&server, &stack, &format!("after replacement {round}")).await?;
        ensure!(secrets(&stack).await? == published, "a published Secret changed with the replacement");
    }
    let note = stage.event_note(&stack, "DriftRepaired").await?;
    ensure!(
        note.contains("ClickHouse was replaced or restored"),
        "the event does not name the cause: {note}"
    );
    stack.delete(READY).await?;
    server.stop().await?;
    Ok(format!(
        "{rounds} replacements, each made good within {:.1} s, with the same logins and keys; event: {note}",
        slowest.as_secs_f64()
    ))
}

/// Waits until the new ClickHouse has the schema and the stack is Ready; returns how long that took.
async fn made_again(server: &Server, stack: &Stack) -> anyhow::Result<Duration> {
    let started = Instant::now();
    // Status still says what was true of the old one.
    while server.query(&format!("SELECT count() FROM {DATABASE}.events")).await.is_err() {
        ensure!(started.elapsed() < READY, "there are no tables after {READY:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    stack.wait_current(READY.saturating_sub(started.elapsed())).await?;
    Ok(started.elapsed())
}

/// Sends an event through the stack and finds its row.
async fn stores(server: &Server, stack: &Stack, event: &str) -> anyhow::Result<()> {
    send_one(stack, event).await.with_context(|| format!("no event is taken {event}"))?;
    let rows =
        server.query(&format!("SELECT count() FROM {DATABASE}.events WHERE event = '{event}'")).await?;
    ensure!(rows.trim() != "0", "an acknowledged event is no row {event}");
    Ok(())
}

async fn secrets(stack: &Stack) -> anyhow::Result<Vec<BTreeMap<String, String>>> {
    let mut found = Vec::new();
    for name in PUBLISHED {
        found.push(stack.secret(&format!("{}-{name}", stack.name)).await?);
    }
    Ok(found)
}
