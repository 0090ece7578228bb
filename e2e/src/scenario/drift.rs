//! Whatever is deleted or edited comes back, and nothing else moves; only a migration that has ended stays away.

mod policy;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use kube::{
    Api, Resource as _,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::Plan;
use crate::{
    stack::Stack,
    stage::{Stage, TEAM},
};

/// Kinds of children with an edit that the operator has to take back: a JSON path and a foreign value for it.
const KINDS: [(&str, &str, &str, &str); 6] = [
    (
        "",
        "Secret",
        "/data",
        r#"{"ca.crt":"e30=","keys.json":"e30=","key":"Zm9yZWlnbg==","password":"Zm9yZWlnbg=="}"#,
    ),
    ("", "ServiceAccount", "/automountServiceAccountToken", "true"),
    ("", "Service", "/spec/selector", r#"{"app.kubernetes.io/instance":"somebody"}"#),
    ("apps", "Deployment", "/spec/replicas", "1"),
    ("policy", "PodDisruptionBudget", "/spec/maxUnavailable", "2"),
    ("networking.k8s.io", "NetworkPolicy", "/spec/ingress", "[]"),
];

/// How long the operator has for one child.
const REPAIR: Duration = Duration::from_secs(15);

pub(super) async fn run(stage: &Stage, _plan: Plan) -> anyhow::Result<String> {
    let stack = stage.shop();
    // Ready by the time that they are looked at.
    let watched = policy::make(stage)?;
    let (mut deleted, mut edited, mut refused) = (0, 0, 0);
    for (group, kind, path, foreign) in KINDS {
        let api = stage.dynamic(TEAM, group, kind)?;
        for child in children(&stack, &api).await? {
            let name = child.metadata.name.clone().unwrap_or_default();
            delete_and_expect(stage, &stack, &api, (kind, &child))
                .await
                .with_context(|| format!("{kind} {name}, deleted"))?;
            deleted += 1;
            let edit = edit_and_expect(&api, &name, path, foreign).await;
            match edit.with_context(|| format!("{kind} {name}, edited"))? {
                Edit::TakenBack => edited += 1,
                Edit::Refused => refused += 1,
            }
        }
    }
    stack.wait_current(Duration::from_mins(1)).await?;
    super::sdk::send_one(&stack, "after-drift").await.context("the repaired stack takes no events")?;
    let jobs = delete_finished_jobs(stage, &stack).await?;
    let repaired = clickhouse_drift(stage, &stack).await?;
    let by_policy = policy::change(stage, &watched).await?;
    stack.wait_current(Duration::from_mins(1)).await?;
    let again = children(&stack, &stage.dynamic(TEAM, "batch", "Job")?).await?.len();
    ensure!(again == 0, "{again} migrations were made again, although their work is done");
    Ok(format!(
        "{deleted} children deleted and {edited} edited, each restored alone; {refused} edits of immutable Secrets refused by the API server; {jobs} finished migration deleted and, as its work is done, not made again; in ClickHouse: {repaired}; {by_policy}"
    ))
}

/// Deletes the migrations that have ended. They are records, not children that something uses: status remembers their
/// outcome, and whoever cleans up finished Jobs must not make them run again and again.
async fn delete_finished_jobs(stage: &Stage, stack: &Stack) -> anyhow::Result<usize> {
    let api = stage.dynamic(TEAM, "batch", "Job")?;
    let jobs = children(stack, &api).await?;
    ensure!(!jobs.is_empty(), "the stack has no migration to delete");
    for job in &jobs {
        api.delete(job.metadata.name.as_deref().unwrap_or_default(), &DeleteParams::background()).await?;
    }
    Ok(jobs.len())
}

async fn children(stack: &Stack, api: &Api<DynamicObject>) -> anyhow::Result<Vec<DynamicObject>> {
    let uid = stack.get().await?.metadata.uid;
    let owned = |child: &DynamicObject| {
        child.metadata.owner_references.iter().flatten().any(|owner| Some(&owner.uid) == uid.as_ref())
    };
    Ok(api.list(&ListParams::default()).await?.items.into_iter().filter(owned).collect())
}

/// Deletes a child and expects it, and no other, to be made again with the same content.
async fn delete_and_expect(
    stage: &Stage,
    stack: &Stack,
    api: &Api<DynamicObject>,
    (kind, child): (&str, &DynamicObject),
) -> anyhow::Result<()> {
    let name = child.metadata.name.clone().unwrap_or_default();
    let before = fingerprints(stage, stack, (kind, &name)).await?;
    api.delete(&name, &DeleteParams::background()).await?;
    let again = wait_for(|| async {
        let found = api.get_opt(&name).await?;
        Ok(found.filter(|found| found.metadata.uid != child.metadata.uid))
    })
    .await?;
    ensure!(content(&again) == content(child), "it came back with other content");
    let after = fingerprints(stage, stack, (kind, &name)).await?;
    ensure!(before == after, "other children changed too: {before:?} became {after:?}");
    Ok(())
}

/// How an edit ended.
enum Edit {
    TakenBack,
    Refused,
}

/// Overwrites one field of a child and expects the operator to put its value back.
async fn edit_and_expect(
    api: &Api<DynamicObject>,
    name: &str,
    path: &str,
    foreign: &str,
) -> anyhow::Result<Edit> {
    let original = api.get(name).await?;
    let parameters = PatchParams { field_manager: Some("somebody".into()), ..PatchParams::default() };
    let change = Patch::Merge(nested(path, serde_json::from_str(foreign)?));
    let edited = match api.patch(name, &parameters, &change).await {
        Ok(edited) => edited,
        Err(kube::Error::Api(status)) if status.message.contains("field is immutable") => {
            return Ok(Edit::Refused);
        }
        Err(error) => return Err(error.into()),
    };
    ensure!(at(&edited, path) != at(&original, path), "the edit changed nothing that the operator owns");
    wait_for(|| async {
        let found = api.get(name).await?;
        Ok((at(&found, path) == at(&original, path)).then_some(Edit::TakenBack))
    })
    .await
}

fn nested(path: &str, value: Value) -> Value {
    path.rsplit('/').filter(|part| !part.is_empty()).fold(value, |inner, part| json!({ part: inner }))
}

/// The edited field; of a Secret's data only the keys that both have, since foreign keys are not the operator's.
fn at(object: &DynamicObject, path: &str) -> Value {
    let value = serde_json::to_value(object).unwrap_or_default();
    let mut field = value.pointer(path).cloned().unwrap_or_default();
    if let (Some(data), "/data") = (field.as_object_mut(), path) {
        let owned = value["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
        let mine = owned
            .iter()
            .filter(|entry| entry["manager"] != "somebody")
            .map(|entry| &entry["fieldsV1"]["f:data"]);
        let keys: Vec<String> =
            mine.filter_map(Value::as_object).flat_map(|keys| keys.keys().cloned()).collect();
        data.retain(|key, _| keys.contains(&format!("f:{key}")));
    }
    field
}

/// What must stay the same when an object is made again.
fn content(object: &DynamicObject) -> Value {
    let mut value = serde_json::to_value(object).unwrap_or_default();
    for path in ["clusterIP", "clusterIPs"] {
        if let Some(spec) = value.pointer_mut("/spec").and_then(Value::as_object_mut) {
            spec.remove(path);
        }
    }
    json!([value.get("data"), value.get("spec"), value.get("type")])
}

/// Identity and content version of every child but one, by kind and name: five kinds of children share one name.
async fn fingerprints(
    stage: &Stage,
    stack: &Stack,
    except: (&str, &str),
) -> anyhow::Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for (group, kind, ..) in KINDS {
        let api = stage.dynamic(TEAM, group, kind)?;
        for child in children(stack, &api).await? {
            let meta = child.meta();
            let name = meta.name.clone().unwrap_or_default();
            if (kind, name.as_str()) != except {
                // The version of an object with a generation moves with its status as well.
                let version = meta
                    .generation
                    .map_or(meta.resource_version.clone(), |generation| Some(generation.to_string()));
                found.insert(format!("{kind}/{name}"), format!("{:?} {version:?}", meta.uid));
            }
        }
    }
    Ok(found)
}

async fn wait_for<T, F: Future<Output = anyhow::Result<Option<T>>>>(
    probe: impl Fn() -> F,
) -> anyhow::Result<T> {
    let started = Instant::now();
    loop {
        if let Some(found) = probe().await? {
            return Ok(found);
        }
        ensure!(started.elapsed() < REPAIR, "it is not as before after {REPAIR:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Drops a user, revokes a right and grants a foreign one; all within one drift period.
async fn clickhouse_drift(stage: &Stage, stack: &Stack) -> anyhow::Result<String> {
    let prefix = format!("weir_{TEAM}__{}", stack.name);
    let role = format!("{prefix}_ingest");
    let grants = format!(
        "SELECT toString(groupArray((access_type, database, table))) FROM (SELECT access_type, database, table FROM system.grants WHERE role_name = '{role}' ORDER BY ALL)"
    );
    let (users, before) =
        (stage.query(&format!("SHOW GRANTS FOR {prefix}_ingest_g1")).await?, stage.query(&grants).await?);
    stage.query(&format!("DROP USER {prefix}_ingest_g1")).await?;
    stage.query(&format!("REVOKE INSERT ON {prefix}.* FROM {role}")).await?;
    stage.query(&format!("GRANT SELECT ON {prefix}.* TO {role}")).await?;
    let started = Instant::now();
    let deadline = stage.drift_period() + Duration::from_secs(20);
    loop {
        let user = stage.query(&format!("SHOW GRANTS FOR {prefix}_ingest_g1")).await.unwrap_or_default();
        if user == users && stage.query(&grants).await? == before {
            break;
        }
        ensure!(started.elapsed() < deadline, "user and grants are not repaired after {deadline:?}");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    super::sdk::send_one(stack, "after-clickhouse-drift").await?;
    Ok(format!(
        "user, missing right and foreign right repaired after {:.1} s",
        started.elapsed().as_secs_f64()
    ))
}
