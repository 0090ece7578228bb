//! kill -9 at random moments, of the operator while it creates, and of ingest pods under load.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{DeleteParams, ListParams},
};
use rand::RngExt as _;

use super::{Plan, normal_form};
use crate::{
    stack::Stack,
    stage::{OperatorProcess, Stage},
};

pub(super) async fn run(stage: &Stage, plan: Plan) -> anyhow::Result<String> {
    let operator = operator_kills(stage, plan).await?;
    let ingest = ingest_kills(stage, plan).await?;
    Ok(format!("{operator}; {ingest}"))
}

/// Creates stacks while the operator is killed, and compares each with one that was left in peace.
async fn operator_kills(stage: &Stage, plan: Plan) -> anyhow::Result<String> {
    let mut random = plan.random();
    let mut operator = OperatorProcess::replace_deployment(stage, &[]).await?;
    let peaceful = stage.make_stack("calm")?;
    let started = Instant::now();
    peaceful.wait_current(Duration::from_mins(1)).await?;
    let usual = started.elapsed();
    let expected = normal_form::render(stage, &peaceful).await?;
    let rounds = plan.pick(1, 10);
    let mut moments = Vec::new();
    for round in 0..rounds {
        let stack = stage.make_stack(&format!("kill{round}"))?;
        // Two kills a round, anywhere on the way there.
        for _ in 0..2 {
            let moment = usual.mul_f64(random.random_range(0.0..1.0) / 2.0);
            tokio::time::sleep(moment).await;
            operator.kill()?;
            operator.start_again(stage)?;
            moments.push(format!("{:.2}", moment.as_secs_f64()));
        }
        check_end_state(stage, &stack, &expected)
            .await
            .with_context(|| format!("round {round}, kills after {moments:?} s"))?;
        stack.delete(Duration::from_mins(1)).await?;
    }
    peaceful.delete(Duration::from_mins(1)).await?;
    operator.restore_deployment(stage)?;
    Ok(format!("{} kills of the operator in {rounds} creations, same end state each time", moments.len()))
}

/// Deletes pods that were killed before, whose containers the kubelet would start again later and later.
async fn replace_restarted_pods(stack: &Stack) -> anyhow::Result<()> {
    let pods: Api<Pod> = Api::namespaced(stack.client.clone(), &stack.namespace);
    let ours = ListParams::default().labels(&format!("app.kubernetes.io/instance={}", stack.name));
    for pod in pods.list(&ours).await?.items {
        let containers = pod.status.and_then(|status| status.container_statuses).unwrap_or_default();
        if containers.iter().any(|container| container.restart_count > 0) {
            match pods.delete(&pod.metadata.name.unwrap_or_default(), &DeleteParams::default()).await {
                // It was on its way out already.
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                deleted => drop(deleted?),
            }
        }
    }
    Ok(())
}

async fn check_end_state(stage: &Stage, stack: &Stack, expected: &str) -> anyhow::Result<()> {
    stack.wait_current(Duration::from_secs(90)).await?;
    normal_form::compare(expected, &normal_form::render(stage, stack).await?)
}

/// Kills ingest processes under load; what was acknowledged must be there, once.
async fn ingest_kills(stage: &Stage, plan: Plan) -> anyhow::Result<String> {
    let stack = stage.shop();
    stack.wait_current(Duration::from_secs(90)).await?;
    let mut random = plan.random();
    let event = format!("killed {:08x}", rand::random::<u32>());
    let load = super::sdk::load_on(&stack, &event, 8).await?.start();
    load.wait_for(100, Duration::from_secs(10)).await?;
    let kills = plan.pick(3, 20);
    for _ in 0..kills {
        tokio::time::sleep(Duration::from_millis(random.random_range(200..3000))).await;
        stage.kill_one("weir-ingest").await?;
        replace_restarted_pods(&stack).await?;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let outcome = load.stop().await;
    let rows = stage.count_events(&stack, &event).await?;
    let doubled = stage.count_doubled(&stack, &event).await?;
    let unanswered = outcome.refused * 10;
    ensure!(doubled == 0, "{doubled} events are there more than once for readers");
    ensure!(
        rows >= outcome.acknowledged,
        "{} events were acknowledged, only {rows} rows are there",
        outcome.acknowledged
    );
    ensure!(
        rows <= outcome.acknowledged + unanswered,
        "{rows} rows are more than {} acknowledged and {unanswered} unanswered events",
        outcome.acknowledged
    );
    stack.wait_current(Duration::from_mins(2)).await?;
    Ok(format!(
        "{kills} kills of ingest under load: {} events acknowledged, {rows} rows ({unanswered} never answered), 0 doubled",
        outcome.acknowledged
    ))
}
