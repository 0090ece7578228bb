//! Every secret that Weir handles, made, turned, revoked and misused: none shows in any output, in whatever form.
//!
//! Outputs are all that a person or a program sees who may not read Secrets: every other object of the API, events, the
//! audit log, logs, metrics, arguments of processes, what clients are answered, and what ClickHouse keeps of its statements
//! and rows.

mod clients;
mod marks;
mod outputs;
mod own;
mod search;
mod secrets;

use std::{path::Path, time::Duration};

use anyhow::{Context as _, ensure};
use serde_json::json;
use weir_crds::{ConditionType, Reason};

use self::{outputs::Output, secrets::Secrets};
use super::Plan;
use crate::{
    stack::Stack,
    stage::{Stage, TEAM},
};

const SEEN: Duration = Duration::from_mins(1);
/// How long making or turning every credential may take: each statement about users is a restart of the engine.
const TURNED: Duration = Duration::from_mins(5);
/// Fewer secrets than this would say little.
const AT_LEAST: usize = 50;
const KEYS: usize = 10;
/// One of each profile: the development server restarts its engine for every change of a user.
const READERS: usize = 3;

pub(super) async fn run(stage: &Stage, plan: Plan) -> anyhow::Result<String> {
    let text_log = stage.keep_text_log()?;
    let secrets = Secrets::gather(stage)?;
    let mut password = own::write(stage, &secrets)?;
    let stack = make(stage).await?;
    for round in 1..=plan.pick(1, 4) {
        password = own::write(stage, &secrets)?;
        turn(stage, &stack, round).await.with_context(|| format!("rotation {round}"))?;
    }
    let answers = clients::misuse(stage, &stack, &secrets).await.context("wrong secrets")?;
    own::spoil(stage, &stack, &secrets, &password).await.context("an invalid secret")?;
    fail(stage, &stack, &secrets).await.context("faults")?;
    revoke(&stack).await.context("revocation")?;
    let outputs = gather(stage, &stack, &text_log, answers).await?;
    let secrets = secrets.stop().await?;
    ensure!(secrets.len() >= AT_LEAST, "only {} secrets were handled", secrets.len());
    let hits = secrets.hits(&outputs)?;
    ensure!(hits.is_empty(), "{} hits:\n      {}", hits.len(), hits.join("\n      "));
    let bytes: usize = outputs.iter().map(|output| output.text.len()).sum();
    Ok(format!(
        "0 hits of {} secrets ({}) in {} outputs of {} KiB: {}",
        secrets.len(),
        secrets.kinds(),
        outputs.len(),
        bytes / 1024,
        outputs::kinds(&outputs)
    ))
}

/// A stack with many credentials, which overlap for seconds.
async fn make(stage: &Stage) -> anyhow::Result<Stack> {
    let rotation = json!({ "overlap": "2s", "quietPeriod": "1s", "cap": "60s" });
    let key = |number| json!({ "name": format!("k{number}"), "type": "Secret", "rotation": rotation });
    let profiles = ["ReadOnly", "HyperDX", "Custom"];
    let reader = |number: usize| {
        let profile = profiles[number % profiles.len()];
        let mut reader = json!({ "name": format!("r{number}"), "profile": profile, "rotation": rotation });
        if profile == "Custom" {
            reader["tables"] =
                json!([{ "name": "events", "columns": ["uuid", "event"], "rows": "event = 'canary'" }]);
            reader["quota"] = json!([{ "interval": "1h", "queries": 1_000_000 }]);
            reader["settings"] = json!([{ "name": "max_threads", "value": "2", "max": "4" }]);
        }
        reader
    };
    let stack = stage.make_stack_with("canary", |stack| {
        let spec = &mut stack["spec"];
        spec["keys"] = (0..KEYS).map(key).chain([own::key(&rotation)]).collect();
        spec["users"] = (0..READERS).map(reader).chain([own::reader(&rotation)]).collect();
        spec["policy"] = json!({ "rotation": rotation });
        spec["ingest"]["replicas"] = json!(1);
    })?;
    stack.wait_current(TURNED).await?;
    Ok(stack)
}

/// Replaces every credential but those whose owner has written others, and uses each kind once.
async fn turn(stage: &Stage, stack: &Stack, round: i64) -> anyhow::Result<()> {
    let names = (0..KEYS).map(|number| format!("key/k{number}"));
    let names =
        names.chain((0..READERS).map(|number| format!("user/r{number}"))).chain(["ingest".to_owned()]);
    let value = format!("{}=round-{round}", names.collect::<Vec<_>>().join(","));
    stack.patch(json!({ "metadata": { "annotations": { "weir.dev/rotate": value } } })).await?;
    let turned = |stack: &weir_crds::AnalyticsStack| {
        let Some(status) = &stack.status else { return false };
        let is_done = |credential: &weir_crds::CredentialStatus| credential.generation == round + 1;
        status.keys.iter().all(is_done) && status.users.iter().all(is_done) && status.blocked_by.is_empty()
    };
    stack.wait("turned", TURNED, turned).await?;
    clients::succeed(stage, stack, ("k0", "r0")).await?;
    clients::succeed(stage, stack, (own::NAME, own::NAME)).await
}

/// Breaks what the stack refers to, with secrets where they do not belong.
async fn fail(stage: &Stage, stack: &Stack, secrets: &Secrets) -> anyhow::Result<()> {
    stage.write_admin_secret(&secrets.invent("wrong administrator"))?;
    let refused = (ConditionType::DependenciesReady, "False", Reason::ClickhouseAuthenticationFailed);
    stack.wait_condition(refused, SEEN).await?;
    stage.write_admin_secret(stage.admin_password())?;
    stack.wait_current(SEEN).await?;

    let docker_config = secrets.wrong_pull_secret(stage);
    stage.target.apply_secret(
        TEAM,
        "canary-pull",
        "kubernetes.io/dockerconfigjson",
        &[(".dockerconfigjson", docker_config.as_str())],
    )?;
    stage.target.apply_secret(TEAM, "canary-ca", "Opaque", &[("ca.crt", secrets.private_key())])?;
    let good = stack.get().await?.spec;
    let image = json!({ "spec": { "ingest": { "image": {
        "reference": "registry.test:5000/weir-ingest:no-such-canary",
        "pullSecrets": [{ "name": "canary-pull" }],
    } } } });
    stack.patch(image).await?;
    stack
        .wait("without an image", SEEN, |stack| condition_is(stack, ConditionType::ImageResolved, "False"))
        .await?;
    stack.patch(json!({ "spec": { "clickhouse": { "ca": { "secretName": "canary-ca" } } } })).await?;
    stack
        .wait("without a CA", SEEN, |stack| condition_is(stack, ConditionType::DependenciesReady, "False"))
        .await?;
    stack.patch(json!({ "spec": good })).await?;
    stack.wait_current(Duration::from_mins(2)).await.map(drop)
}

fn condition_is(stack: &weir_crds::AnalyticsStack, kind: ConditionType, status: &str) -> bool {
    crate::stack::find_condition(stack, kind).is_some_and(|(found, _)| found == status)
}

async fn revoke(stack: &Stack) -> anyhow::Result<()> {
    let value = "key/k0,key/k1,key/own,user/r0,user/r1,user/own=INC-1";
    stack.patch(json!({ "metadata": { "annotations": { "weir.dev/revoke": value } } })).await?;
    let handled = |stack: &weir_crds::AnalyticsStack| {
        stack.status.as_ref().and_then(|status| status.last_handled_revoke.as_deref()) == Some(value)
    };
    stack.wait("revoked", Duration::from_mins(1), handled).await.map(drop)
}

/// Gathers every output, with the stack and without it: pods take their logs with them, and a deletion has outputs of its
/// own.
async fn gather(
    stage: &Stage,
    stack: &Stack,
    text_log: &Path,
    answers: Vec<Output>,
) -> anyhow::Result<Vec<Output>> {
    let mut outputs = outputs::collect(stage, text_log).await?;
    outputs.extend(answers);
    marks::require(&outputs, &marks::OF_THE_STACK)?;
    marks::require(&outputs, &marks::LASTING)?;
    stack.delete(Duration::from_mins(1)).await?;
    let after = outputs::collect(stage, text_log).await?;
    marks::require(&after, &marks::LASTING).context("after the deletion")?;
    outputs.extend(after);
    Ok(outputs)
}
