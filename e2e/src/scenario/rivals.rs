//! Two operators of two clusters, one ClickHouse, the same names: one of them owns all, both say who does, and neither
//! takes anything from the other.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::json;
use weir_crds::{AnalyticsStack, ConditionType, Reason};

use super::Plan;
use crate::{
    kstatus::Judgement,
    stack::{Stack, find_condition, judgement, summary},
    stage::{OperatorProcess, Stage, TEAM},
    target::{RELEASE, SYSTEM},
};

/// Namespace and name of one stack, and those of the other, whose names in ClickHouse are the same.
const FIRST: (&str, &str) = (TEAM, "rival--x");
const SECOND: (&str, &str) = ("shop--rival", "x");
const PREFIX: &str = "weir_shop__rival__x";
/// How the second operator calls its cluster; the first one calls it by its own UID.
const CLUSTER: &str = "another-cluster";
/// How long one of them may take to be ready, and the other to know that it cannot be.
const SETTLED: Duration = Duration::from_mins(2);

pub(super) async fn run(stage: &Stage, plan: Plan) -> anyhow::Result<String> {
    stage.target.prepare_namespace(SECOND.0)?;
    allow_lease(stage)?;
    let first = OperatorProcess::replace_deployment(stage, &[("WEIR_WATCH_NAMESPACES", FIRST.0)]).await?;
    let second = [
        ("WEIR_WATCH_NAMESPACES", SECOND.0),
        ("WEIR_CLUSTER_ID", CLUSTER),
        ("WEIR_LEASE_NAMESPACE", SECOND.0),
        ("WEIR_LEASE_NAME", "rival"),
        ("WEIR_ADMIN_PORT", "18082"),
        ("POD_NAME", "weir-rival"),
    ];
    let second = OperatorProcess::beside(stage, &second).await?;
    let watched = plan.pick(Duration::from_secs(10), Duration::from_mins(10));
    let told = contend(stage, watched).await;
    drop(second);
    first.restore_deployment(stage)?;
    stage.kubectl(&["delete", "namespace", SECOND.0, "--wait=false"])?;
    told
}

async fn contend(stage: &Stage, watched: Duration) -> anyhow::Result<String> {
    let stacks = [FIRST, SECOND].map(|(namespace, name)| stage.make_stack_in(namespace, name, |_| {}));
    let [first, second] = stacks;
    let (first, second) = (first?, second?);
    let (owner, other) = settle(&first, &second).await?;
    let refusal = conflict(&other.get().await?).context("the other one names no conflict")?;
    let own_cluster =
        stage.kubectl(&["get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}"])?;
    let [named, refused] = [owner, other].map(|stack| full_name(stack, own_cluster.trim()));
    ensure!(refusal.contains(&named), "the other one does not name {named}: {refusal}");
    let tells = |stack: &AnalyticsStack| told(stack).is_some_and(|told| told.contains(&refused));
    let status = owner.wait("naming who asked for its names", SETTLED, tells).await?;
    let contest = told(&status).unwrap_or_default();
    ensure!(contest.contains(&named), "the owner does not name itself: {contest}");
    // What the owner had begun before it was ready ends within a pass.
    tokio::time::sleep(stage.drift_period()).await;
    let (before, started) = (statements(stage).await?, Instant::now());
    ensure!(before > 0, "the statements that made the names are not found, so neither would be others");
    let login = owner.secret(&format!("{}-ingest-clickhouse", owner.name)).await?;
    let mut looks = 0_u32;
    while started.elapsed() < watched {
        for (stack, wanted) in [(owner, true), (other, false)] {
            let status = stack.get().await?;
            let is_current = judgement(&status) == Judgement::Current;
            let names_owner = if wanted { told(&status) } else { conflict(&status) };
            let names_owner = names_owner.is_some_and(|told| told.contains(&named));
            let is_as_wanted = is_current == wanted && names_owner;
            ensure!(is_as_wanted, "after {} s: {}", started.elapsed().as_secs(), summary(&status));
        }
        stage.query_as(&login["username"], &login["password"], "SELECT 1").await?;
        looks += 1;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let sent = statements(stage).await? - before;
    ensure!(sent == 0, "{sent} statements changed access meanwhile");
    let owners = stage.query(&owners()).await?;
    ensure!(owners.trim() == named, "the ledger gives the names to: {owners}");
    other.delete(Duration::from_mins(1)).await?;
    let forgets = |stack: &AnalyticsStack| told(stack).is_some_and(|told| !told.contains(&refused));
    owner.wait("done with who asked for its names, who is deleted", SETTLED, forgets).await?;
    owner.delete(Duration::from_mins(1)).await?;
    Ok(format!(
        "{named} owns the names in {looks} looks over {} s, each at both statuses, which name it, with 0 statements that change \
         access by either; the other says: {refusal}; the owner says: {contest}",
        watched.as_secs()
    ))
}

/// Waits until one is ready and the other knows why it is not; returns them in that order.
async fn settle<'a>(first: &'a Stack, second: &'a Stack) -> anyhow::Result<(&'a Stack, &'a Stack)> {
    let started = Instant::now();
    loop {
        let states = [first.get().await?, second.get().await?];
        let ready = states.each_ref().map(|state| judgement(state) == Judgement::Current);
        let refused = states.each_ref().map(|state| conflict(state).is_some());
        match (ready, refused) {
            ([true, false], [_, true]) => return Ok((first, second)),
            ([false, true], [true, _]) => return Ok((second, first)),
            _ => {}
        }
        ensure!(started.elapsed() < SETTLED, "{}; {}", summary(&states[0]), summary(&states[1]));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// How an operator names a stack: with its cluster, in which alone two stacks of one name in one namespace differ.
fn full_name(stack: &Stack, own_cluster: &str) -> String {
    let cluster = if stack.namespace == SECOND.0 { CLUSTER } else { own_cluster };
    format!("{}/{} of cluster {cluster}", stack.namespace, stack.name)
}

/// What a stack says of the owner of its names.
fn conflict(stack: &AnalyticsStack) -> Option<String> {
    let (_, reason) = find_condition(stack, ConditionType::AccessReady)?;
    let is_conflict = reason == Reason::OwnershipConflict.as_str();
    let waits = stack.status.as_ref()?.blocked_by.first()?;
    is_conflict.then(|| waits.hint.clone())
}

/// What a stack says of its access.
fn told(stack: &AnalyticsStack) -> Option<String> {
    let conditions = &stack.status.as_ref()?.conditions;
    let access = |type_: &str| type_ == ConditionType::AccessReady.as_str();
    conditions.iter().find(|condition| access(&condition.type_)).map(|condition| condition.message.clone())
}

/// Statements of both operators about these stacks that change access.
async fn statements(stage: &Stage) -> anyhow::Result<u64> {
    stage.query("SYSTEM FLUSH LOGS").await?;
    let of = |(namespace, name): (&str, &str)| format!("log_comment LIKE '%\"{namespace}/{name}\"%'");
    let sql = format!(
        "SELECT uniqExact(query_id) FROM system.query_log WHERE ({} OR {}) \
         AND match(query, '^(CREATE|ALTER|DROP|GRANT|REVOKE|INSERT|KILL) ')",
        of(FIRST),
        of(SECOND)
    );
    stage.query(&sql).await?.trim().parse().context("a count")
}

/// Owners of the open claims on the names, as the ledger has them.
fn owners() -> String {
    format!(
        "SELECT DISTINCT concat(namespace, '/', stack, ' of cluster ', cluster) FROM (SELECT nonce, any(name) AS name, \
         any(namespace) AS namespace, any(stack) AS stack, any(cluster) AS cluster FROM weir_ledger.intents \
         GROUP BY nonce HAVING countIf(state = 'closed') = 0) \
         WHERE startsWith(name, '{PREFIX}')"
    )
}

/// Lets the second operator elect its leader in the namespace that it serves.
fn allow_lease(stage: &Stage) -> anyhow::Result<()> {
    let metadata = json!({ "name": "rival", "namespace": SECOND.0 });
    let rules = json!([{ "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create", "get", "update"] }]);
    let (group, version) = ("rbac.authorization.k8s.io", "rbac.authorization.k8s.io/v1");
    let role = json!({ "apiVersion": version, "kind": "Role", "metadata": metadata, "rules": rules });
    stage.target.apply(&role)?;
    stage.target.apply(&json!({
        "apiVersion": version,
        "kind": "RoleBinding",
        "metadata": metadata,
        "roleRef": { "apiGroup": group, "kind": "Role", "name": "rival" },
        "subjects": [{ "kind": "ServiceAccount", "name": RELEASE, "namespace": SYSTEM }],
    }))
}
