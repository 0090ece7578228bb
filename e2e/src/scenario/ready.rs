//! The minimal example becomes Ready, and nobody is told so too early.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};

use super::Plan;
use crate::{
    kstatus::Judgement,
    stack::Stack,
    stage::{Stage, TEAM},
    timeline::{Moment, Timeline},
};

pub(super) async fn run(stage: &Stage, _plan: Plan) -> anyhow::Result<String> {
    let stack = stage.shop();
    let timeline = Timeline::record(&stack);
    let started = Instant::now();
    stage.kubectl(&["apply", "--server-side", "-f", &stage.example("01-minimal.yaml")?])?;
    stack.wait_current(Duration::from_mins(1)).await?;
    let took = started.elapsed();
    // At once: what kstatus calls Current must be true at that moment.
    let pods = check_truth(&stack).await?;
    let story = check_timeline(&timeline)?;
    let width = check_listing(stage)?;
    Ok(format!(
        "Ready after {:.1} s, {pods} pods by digest, kubectl get is {width} columns wide\n{story}",
        took.as_secs_f64()
    ))
}

/// Checks that the pods run a digest and are ready, and that the published key is accepted.
async fn check_truth(stack: &Stack) -> anyhow::Result<usize> {
    let pods: Api<Pod> = Api::namespaced(stack.client.clone(), TEAM);
    let selector = ListParams::default().labels(&format!("app.kubernetes.io/instance={}", stack.name));
    let mut serving = 0;
    for pod in pods.list(&selector).await?.items {
        let spec = pod.spec.context("a pod has a spec")?;
        let image = spec.containers[0].image.clone().unwrap_or_default();
        ensure!(image.contains("@sha256:"), "a pod runs {image}, which is no digest");
        let conditions = pod.status.and_then(|status| status.conditions).unwrap_or_default();
        if conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True") {
            serving += 1;
        }
    }
    ensure!(serving == 2, "{serving} of 2 pods are ready at the moment the stack is called Current");
    super::sdk::send_one(stack, "ready-probe").await.context("the published key is not accepted")?;
    Ok(serving)
}

fn check_timeline(timeline: &Timeline) -> anyhow::Result<String> {
    let moments = timeline.moments();
    let first = moments.first().context("the watcher saw nothing")?;
    ensure!(
        first.summary.contains("seen as Some(-1)"),
        "the first status was not the schema's: {}",
        first.summary
    );
    ensure!(first.judgement == Judgement::InProgress, "an unseen stack is judged {:?}", first.judgement);
    let current = moments.iter().position(|moment| moment.judgement == Judgement::Current);
    let current = current.context("the watcher never saw the stack Current")?;
    let early = &moments[..current];
    let failed = early.iter().find(|moment| moment.judgement == Judgement::Failed);
    ensure!(failed.is_none(), "the stack was called Failed on its way: {failed:?}");
    let line = |moment: &Moment| {
        let ready = moment.summary.split("; ").find(|part| part.starts_with("Ready=")).unwrap_or("unseen");
        format!("      {:6.2} s {:?} {ready}", moment.at.as_secs_f64(), moment.judgement)
    };
    Ok(moments[..=current].iter().map(line).collect::<Vec<_>>().join("\n"))
}

fn check_listing(stage: &Stage) -> anyhow::Result<usize> {
    let listing = stage.kubectl(&["get", "astack", "-n", TEAM])?;
    let width = listing.lines().map(|line| line.trim_end().chars().count()).max().unwrap_or_default();
    ensure!(width <= 120, "kubectl get astack is {width} columns wide:\n{listing}");
    for word in ["NAME", "READY", "True", "Succeeded"] {
        ensure!(listing.contains(word), "kubectl get astack does not say {word}:\n{listing}");
    }
    Ok(width)
}
