//! Pods follow digests, never tags, and a new digest migrates before it rolls.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::{Api, api::ListParams};
use serde_json::json;

use super::Plan;
use crate::{
    stack::Stack,
    stage::{Stage, TEAM},
    target::PushedImage,
};

pub(super) async fn run(stage: &Stage, plan: Plan) -> anyhow::Result<String> {
    let stack = stage.shop();
    let still = moved_tag(stage, &stack, Duration::from_secs(plan.pick(10, 60))).await?;
    let rollouts = plan.pick(1, 5);
    let mut seen = String::new();
    for number in 0..rollouts {
        let target = if number % 2 == 0 { &stage.images.next } else { &stage.images.ingest };
        seen.push_str(&rollout(stage, &stack, target, number).await?);
    }
    if rollouts % 2 == 1 {
        // The other stories expect the first image again.
        let back = format!("{}@{}", stage.images.ingest.repository, stage.images.ingest.digest);
        stack.patch(json!({ "spec": { "ingest": { "image": { "reference": back } } } })).await?;
        stack.wait_current(Duration::from_secs(90)).await?;
    }
    Ok(format!("{still}\n{seen}"))
}

/// Points the tag at another image and expects that nothing happens.
async fn moved_tag(stage: &Stage, stack: &Stack, quiet: Duration) -> anyhow::Result<String> {
    let before = template_image(stack).await?;
    ensure!(before.ends_with(&stage.images.ingest.digest), "the pods run {before}");
    stage.push_as(&stage.images.next, &stage.images.ingest.tag)?;
    tokio::time::sleep(quiet).await;
    let after = template_image(stack).await?;
    stage.push_as(&stage.images.ingest, &stage.images.ingest.tag)?;
    ensure!(before == after, "a moved tag changed the pods from {before} to {after}");
    Ok(format!("tag moved for {} s: pods still run {}", quiet.as_secs(), &before[before.len() - 12..]))
}

async fn rollout(stage: &Stage, stack: &Stack, target: &PushedImage, number: u32) -> anyhow::Result<String> {
    let event = format!("rollout {number} {:08x}", rand::random::<u32>());
    let load = super::sdk::load_on(stack, &event, 8).await?.start();
    load.wait_for(100, Duration::from_secs(10)).await?;
    let reference = format!("{}@{}", target.repository, target.digest);
    stack.patch(json!({ "spec": { "ingest": { "image": { "reference": reference } } } })).await?;
    let rolled = stack.wait_current(Duration::from_secs(90)).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let outcome = load.stop().await;
    rolled?;
    ensure!(template_image(stack).await?.ends_with(&target.digest), "the pods do not run the new digest");
    migrated_before_rollout(stack, &target.digest).await?;
    let rows = stage.count_events(stack, &event).await?;
    ensure!(outcome.refused == 0, "{} requests were refused twice", outcome.refused);
    ensure!(
        rows == outcome.acknowledged,
        "{} events were acknowledged, {rows} rows are there",
        outcome.acknowledged
    );
    Ok(format!(
        "      rollout {number}: {rows} rows = {} acknowledged events on 8 connections, {} of {} requests retried once, 0 refused\n",
        outcome.acknowledged, outcome.retried, outcome.requests
    ))
}

async fn template_image(stack: &Stack) -> anyhow::Result<String> {
    let api: Api<k8s_openapi::api::apps::v1::Deployment> = Api::namespaced(stack.client.clone(), TEAM);
    let deployment = api.get(&format!("{}-ingest", stack.name)).await?;
    let pod =
        deployment.spec.and_then(|spec| spec.template.spec).context("the Deployment has no pod template")?;
    pod.containers[0].image.clone().context("the container has no image")
}

/// Checks that the Job of the digest completed before the first pod with that digest was asked for.
async fn migrated_before_rollout(stack: &Stack, digest: &str) -> anyhow::Result<()> {
    let jobs: Api<Job> = Api::namespaced(stack.client.clone(), TEAM);
    let with_digest = |pod: Option<&k8s_openapi::api::core::v1::PodSpec>| {
        pod.is_some_and(|pod| pod.containers[0].image.as_ref().is_some_and(|image| image.ends_with(digest)))
    };
    let job = jobs.list(&ListParams::default()).await?.items.into_iter().find(|job| {
        let ours =
            job.metadata.name.as_ref().is_some_and(|name| name.starts_with(&format!("{}-", stack.name)));
        ours && with_digest(job.spec.as_ref().and_then(|spec| spec.template.spec.as_ref()))
    });
    let job = job.context("no migration Job ran the new digest")?;
    let completed =
        job.status.and_then(|status| status.completion_time).context("the migration Job is not complete")?;
    // Pods, since a Deployment that goes back to an earlier image takes its old ReplicaSet again.
    let pods: Api<Pod> = Api::namespaced(stack.client.clone(), TEAM);
    let ours = ListParams::default().labels(&format!("app.kubernetes.io/instance={}", stack.name));
    let serving = pods.list(&ours).await?.items.into_iter().filter(|pod| {
        let is_ingest = pod.metadata.name.as_ref().is_some_and(|name| name.contains("-ingest-"));
        is_ingest && pod.metadata.deletion_timestamp.is_none() && with_digest(pod.spec.as_ref())
    });
    let started = serving.filter_map(|pod| pod.metadata.creation_timestamp).min();
    let started = started.context("no pod has the new digest")?;
    ensure!(
        completed.0 <= started.0,
        "the pods were asked for at {started:?}, the migration ended at {completed:?}"
    );
    Ok(())
}
