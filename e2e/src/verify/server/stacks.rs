//! Stacks as a real API server keeps them: defaults, what cannot change, and the status of one that nobody has seen.

use std::time::Instant;

use anyhow::Context;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use weir_crds::AnalyticsStack;

use super::{Server, record};
use crate::report::Report;

const NAMESPACE: &str = "shop";

/// Checks one stack through its first moments.
pub(super) async fn check(server: &Server<'_>, report: &mut Report) -> anyhow::Result<()> {
    let api: Api<AnalyticsStack> = Api::namespaced(server.client.clone(), NAMESPACE);
    let started = Instant::now();
    record(report, "api: a stack that nobody has seen is not Current", started, unseen(&api).await);
    let started = Instant::now();
    record(report, "api: a user's own status is not taken", started, status_is_ours(&api).await);
    for (name, database, change) in CHANGES {
        let started = Instant::now();
        let outcome = refuses_database(&api, database, change).await;
        record(report, &format!("api: {name} is refused"), started, outcome);
    }
    let started = Instant::now();
    record(report, "api: another size of the spool is refused", started, refuses_spool(&api).await);
    Ok(())
}

/// What a change is called, the database before it and the one after it.
const CHANGES: [(&str, Option<&str>, Option<&str>); 3] = [
    ("another database", Some("shop_one"), Some("shop_two")),
    ("a database taken away", Some("shop_one"), None),
    ("a database given later", None, Some("shop_two")),
];

async fn unseen(api: &Api<AnalyticsStack>) -> anyhow::Result<String> {
    let stack = create(api, "unseen", None).await?;
    let status = serde_json::to_value(stack.status).context("a status is JSON")?;
    anyhow::ensure!(status["observedGeneration"] == -1, "its status is {status}");
    anyhow::ensure!(
        stack.spec.ingest.replicas == 2,
        "the default of replicas is {}",
        stack.spec.ingest.replicas
    );
    Ok(format!("status {status}"))
}

async fn status_is_ours(api: &Api<AnalyticsStack>) -> anyhow::Result<String> {
    let forged = json!({
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "AnalyticsStack",
        "metadata": { "name": "unseen" },
        "status": { "observedGeneration": 99 },
    });
    let stack = api.patch("unseen", &PatchParams::default(), &Patch::Merge(&forged)).await?;
    let observed = serde_json::to_value(&stack.status)?["observedGeneration"].clone();
    anyhow::ensure!(observed == -1, "it became {observed}: is the status a subresource?");
    Ok(String::new())
}

async fn refuses_database(
    api: &Api<AnalyticsStack>,
    before: Option<&str>,
    after: Option<&str>,
) -> anyhow::Result<String> {
    let name = format!("keeps-{:08x}", rand::random::<u32>());
    create(api, &name, before).await?;
    let change = json!({ "spec": { "clickhouse": { "database": after } } });
    let answer = api.patch(&name, &PatchParams::default(), &Patch::Merge(&change)).await;
    let Err(refusal) = answer else { anyhow::bail!("it is accepted: the events would stay behind") };
    let refusal = refusal.to_string();
    anyhow::ensure!(
        refusal.contains("spec.clickhouse.database: is immutable"),
        "the refusal says: {refusal}"
    );
    Ok(String::new())
}

/// A claim's size cannot follow the spec; switching the spool off and on can.
async fn refuses_spool(api: &Api<AnalyticsStack>) -> anyhow::Result<String> {
    create(api, "spooled", None).await?;
    let change = async |spool: Value| {
        let change = json!({ "spec": { "ingest": { "spool": spool } } });
        api.patch("spooled", &PatchParams::default(), &Patch::Merge(&change)).await
    };
    change(json!({ "size": "1Gi" })).await.context("a spool cannot be switched on")?;
    let Err(refusal) = change(json!({ "size": "2Gi" })).await else { anyhow::bail!("it is accepted") };
    let refusal = refusal.to_string();
    anyhow::ensure!(
        refusal.contains("spec.ingest.spool: size and storageClassName"),
        "the refusal says: {refusal}"
    );
    change(Value::Null).await.context("a spool cannot be switched off")?;
    Ok(String::new())
}

async fn create(
    api: &Api<AnalyticsStack>,
    name: &str,
    database: Option<&str>,
) -> anyhow::Result<AnalyticsStack> {
    let mut stack = smallest(name);
    if let Some(database) = database {
        stack["spec"]["clickhouse"]["database"] = json!(database);
    }
    let stack: AnalyticsStack = serde_json::from_value(stack).context("the smallest stack is no stack")?;
    api.create(&PostParams::default(), &stack).await.context("the smallest stack is refused")
}

/// Returns the smallest valid stack.
pub(super) fn smallest(name: &str) -> Value {
    json!({
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "AnalyticsStack",
        "metadata": { "name": name, "namespace": NAMESPACE },
        "spec": {
            "clickhouse": {
                "endpoints": ["https://clickhouse.example.com:8443"],
                "adminSecretRef": { "name": "clickhouse-admin" },
            },
            "ingest": { "image": { "reference": "registry.example.com/weir-ingest:0.1.0" } },
        },
    })
}
