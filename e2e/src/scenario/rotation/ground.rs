//! The stacks of the story: one whose many credentials turn within seconds, and one whose administrator sees no query log.

use std::time::Duration;

use anyhow::Context as _;
use kube::api::DeleteParams;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::stuck;
use crate::{
    stack::Stack,
    stage::{Stage, TEAM},
};

/// Keys that turn.
pub(super) const KEYS: i64 = 18;
/// Readers that turn, besides the login of the ingest pods. Few: the development server restarts its engine for every
/// change of a user, and the keys turn meanwhile.
pub(super) const USERS: i64 = 2;

/// How long an old generation of what turns stays at most.
pub(super) const CAP: Duration = Duration::from_mins(2);

/// Administrator who may do everything but read the query log.
const BLIND: &str = "story_blind_admin";
/// Secret that names it.
const BLIND_SECRET: &str = "clickhouse-blind";

/// Where the story plays.
#[derive(Debug)]
pub(super) struct Ground {
    /// The keys and readers that turn, and a key and two readers of consumers that are stuck.
    pub(super) stack: Stack,
    /// One reader, and nobody who could tell its use.
    pub(super) unlogged: Stack,
    /// Seconds after which an old generation ends that somebody is stuck on.
    pub(super) stuck_cap: i64,
}

impl Ground {
    /// Lets both stacks go; nobody waits for that.
    pub(super) async fn leave(&self) -> anyhow::Result<()> {
        for stack in [&self.stack, &self.unlogged] {
            stack.api().delete(&stack.name, &DeleteParams::default()).await?;
        }
        Ok(())
    }
}

/// Makes both stacks and waits for them.
pub(super) async fn prepare(stage: &Stage, stuck_cap: i64) -> anyhow::Result<Ground> {
    make_blind_administrator(stage).await?;
    let policy = rotation(&format!("{}s", CAP.as_secs()));
    let slow = rotation(&format!("{stuck_cap}s"));
    let stack = stage.make_stack_with("turning", |stack| {
        let keys = (0..KEYS).map(|index| json!({ "name": format!("k{index}"), "rotation": policy }));
        let keys = keys.chain([json!({ "name": stuck::NAME, "rotation": slow })]);
        stack["spec"]["keys"] = keys.collect();
        let reader = |name: String, rotation: &Value| json!({ "name": name, "profile": "HyperDX", "rotation": rotation });
        let users = (0..USERS).map(|index| reader(format!("u{index}"), &policy));
        let silent = json!({ "name": stuck::SILENT, "profile": "Custom", "rotation": slow,
            "tables": [{ "name": "events" }], "settings": [{ "name": "log_queries", "value": "0" }] });
        stack["spec"]["users"] = users.chain([reader(stuck::NAME.into(), &slow), silent]).collect();
        stack["spec"]["policy"] = json!({ "rotation": policy });
    })?;
    let unlogged = stage.make_stack_with("unlogged", |stack| {
        stack["spec"]["clickhouse"]["adminSecretRef"]["name"] = BLIND_SECRET.into();
        stack["spec"]["users"] = json!([{ "name": stuck::UNLOGGED, "profile": "HyperDX", "rotation": slow }]);
    })?;
    for stack in [&stack, &unlogged] {
        stack.wait_current(Duration::from_mins(5)).await?;
    }
    Ok(Ground { stack, unlogged, stuck_cap })
}

/// Whether a credential is one that every round turns.
pub(super) fn turns(name: &str) -> bool {
    ![stuck::NAME, stuck::SILENT].contains(&name)
}

/// Names of keys, as the Secrets and annotations have them.
pub(super) fn keys() -> impl Iterator<Item = String> {
    (0..KEYS).map(|index| format!("k{index}"))
}

/// Names of readers.
pub(super) fn users() -> impl Iterator<Item = String> {
    (0..USERS).map(|index| format!("u{index}"))
}

/// Everything that turns but the login of the ingest pods, as the annotation names it.
pub(super) fn targets() -> String {
    let keys = keys().map(|key| format!("key/{key}"));
    keys.chain(users().map(|user| format!("user/{user}"))).collect::<Vec<_>>().join(",")
}

fn rotation(cap: &str) -> Value {
    json!({ "overlap": format!("{}s", stuck::OVERLAP), "quietPeriod": format!("{}s", stuck::QUIET), "cap": cap })
}

async fn make_blind_administrator(stage: &Stage) -> anyhow::Result<()> {
    let password = hex::encode(rand::random::<[u8; 16]>());
    // Not by ClickHouse, which would log it.
    let hash = hex::encode(Sha256::digest(&password));
    for statement in [
        format!("CREATE USER {BLIND} IDENTIFIED WITH sha256_hash BY '{hash}'"),
        format!("GRANT ALL ON *.* TO {BLIND} WITH GRANT OPTION"),
        format!("REVOKE SELECT ON system.query_log FROM {BLIND}"),
    ] {
        stage.query(&statement).await.context("failed to make an administrator without the query log")?;
    }
    stage.target.apply(&json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": BLIND_SECRET, "namespace": TEAM },
        "type": weir_crds::ADMIN_SECRET_TYPE,
        "stringData": { "username": BLIND, "password": password },
    }))
}
