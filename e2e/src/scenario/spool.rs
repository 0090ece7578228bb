//! Pods with a spool acknowledge events while ClickHouse is away, survive being killed, and leave no claim behind that
//! holds events.

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use anyhow::{Context as _, ensure};
use serde_json::json;

use super::{Plan, sdk::load_on};
use crate::{
    stack::Stack,
    stage::{Stage, TEAM},
};

const NAME: &str = "logged";
const REPLICAS: u32 = 2;
/// How long a step may take.
const STEP: Duration = Duration::from_mins(2);
/// Events before anything happens to the pods.
const EVENTS: u64 = 200;

pub(super) async fn run(stage: &Stage, plan: Plan) -> anyhow::Result<String> {
    for ordinal in 0..REPLICAS {
        make_volume(stage, ordinal)?;
    }
    let stack = stage.make_stack_with(NAME, |stack| {
        stack["spec"]["ingest"]["replicas"] = json!(REPLICAS);
        stack["spec"]["ingest"]["spool"] = json!({ "size": "64Mi" });
    })?;
    stack.wait_current(STEP).await?;
    let mut told = Vec::new();
    for round in 0..plan.pick(1, 5) {
        told.push(killed(stage, &stack, round).await.with_context(|| format!("killed, round {round}"))?);
    }
    told.push(left(stage, &stack).await.context("a pod that leaves")?);
    stack.delete(STEP).await?;
    Ok(told.join("; "))
}

/// A volume on the node. The cluster of the tests makes none by itself.
fn make_volume(stage: &Stage, ordinal: u32) -> anyhow::Result<()> {
    let folder = stage.target.folder.join(format!("spool-{ordinal}"));
    fs::create_dir_all(&folder).context("failed to create the folder of a volume")?;
    // The kubelet gives no folder of the node to the group of a pod.
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777))?;
    stage.target.apply(&json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": { "name": format!("{TEAM}-spool-{ordinal}") },
        "spec": {
            "capacity": { "storage": "64Mi" },
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": { "path": folder.display().to_string() },
        },
    }))
}

/// Takes events while ClickHouse is away, kills every pod at once, and counts once ClickHouse is back.
async fn killed(stage: &Stage, stack: &Stack, round: u32) -> anyhow::Result<String> {
    let event = format!("spooled {round} {:08x}", rand::random::<u32>());
    stage.clickhouse_down();
    let taken = take(stack, &event).await;
    let killed = (0..REPLICAS).try_for_each(|ordinal| {
        let pod = format!("{NAME}-ingest-{ordinal}");
        stage.kubectl(&["delete", "pod", &pod, "-n", TEAM, "--grace-period=0", "--force"]).map(drop)
    });
    stage.clickhouse_up().await?;
    let taken = taken?;
    killed?;
    let rows = rows_are(stage, stack, &event, taken).await?;
    stack.wait_current(STEP).await?;
    Ok(format!(
        "{taken} events acknowledged without ClickHouse, every pod killed, {rows} rows afterwards, 0 doubled"
    ))
}

/// Takes events while ClickHouse is away and lets a pod leave with what it has.
async fn left(stage: &Stage, stack: &Stack) -> anyhow::Result<String> {
    let event = format!("left {:08x}", rand::random::<u32>());
    stage.clickhouse_down();
    let taken = take(stack, &event).await;
    let leaves = stack.patch(json!({ "spec": { "ingest": { "replicas": 1 } } })).await;
    stage.clickhouse_up().await?;
    let taken = taken?;
    leaves?;
    let rows = rows_are(stage, stack, &event, taken).await?;
    let is_drained = |stack: &weir_crds::AnalyticsStack| {
        let spool = stack.status.as_ref().and_then(|status| status.spool.as_ref());
        spool.is_some_and(|spool| spool.claims == 1)
    };
    stack.wait("rid of the second claim", STEP, is_drained).await?;
    stack.wait_current(STEP).await?;
    let claim = format!("spool-{NAME}-ingest-1");
    stage.kubectl(&["get", "pvc", &claim, "-n", TEAM]).context("the drained claim is gone")?;
    Ok(format!(
        "a pod left with a part of {taken} events, {rows} rows after its claim was drained, which stays"
    ))
}

/// Sends until enough is acknowledged.
async fn take(stack: &Stack, event: &str) -> anyhow::Result<u64> {
    let load = load_on(stack, event, 4).await?.start();
    let enough = load.wait_for(EVENTS, Duration::from_secs(20)).await;
    let outcome = load.stop().await;
    enough.context("while ClickHouse is away")?;
    ensure!(outcome.refused == 0, "{} requests were refused", outcome.refused);
    Ok(outcome.acknowledged)
}

async fn rows_are(stage: &Stage, stack: &Stack, event: &str, wanted: u64) -> anyhow::Result<u64> {
    let all = async {
        while stage.count_events(stack, event).await? < wanted {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        stage.count_events(stack, event).await
    };
    let rows = tokio::time::timeout(STEP, all).await.context("acknowledged events are no rows")??;
    let doubled = stage.count_doubled(stack, event).await?;
    ensure!(rows == wanted && doubled == 0, "{rows} rows of {wanted} events, {doubled} doubled");
    Ok(rows)
}
