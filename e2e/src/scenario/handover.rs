//! Two stacks, one database: the second is shown what it would take over and takes nothing until exactly that was approved on
//! both; then it goes on with the data, while events flow to the pods of the first and then to its own.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::json;
use weir_crds::{AdoptionStatus, AnalyticsStack, AnalyticsStackStatus, Reason};

use super::{Plan, rotation::annotate};
use crate::{
    load::{Load, Outcome},
    stack::Stack,
    stage::Stage,
};

const GIVER: &str = "giver";
const TAKER: &str = "taker";
/// Annotation that approves.
const ADOPT: &str = "weir.dev/adopt";
/// Hash of no preview.
const ANOTHER: &str = "0000000000000000";
/// Name of the events.
const EVENT: &str = "handover";
/// How long one step of it may take.
const STEP: Duration = Duration::from_mins(2);

pub(super) async fn run(stage: &Stage, _plan: Plan) -> anyhow::Result<String> {
    let giver = stage.make_stack_with(GIVER, |stack| stack["spec"]["ingest"]["replicas"] = 1.into())?;
    let ready = giver.wait_current(STEP).await?;
    let database = ready.status.and_then(|status| status.database).context("status.database is empty")?;
    let old = load(&giver).await?.start();
    let taker = stage.make_stack_with(TAKER, |stack| {
        stack["spec"]["ingest"]["replicas"] = 1.into();
        stack["spec"]["clickhouse"]["database"] = json!(database);
    })?;
    let hash = approve(stage, &giver, &taker, &database).await?;
    taker.wait_current(STEP).await.context("the taker does not get ready")?;
    let note = stage.event_note(&taker, Reason::Adopted.as_str()).await?;
    ensure!(note.contains(&hash) && note.contains(&database), "the event says: {note}");

    let new = load(&taker).await?.start();
    let told = |stack: &AnalyticsStack| {
        waits(stack).any(|(reason, hint)| {
            reason == Reason::HandedOver.as_str()
                && hint.contains("meanwhile; the pods of that one are proven")
        })
    };
    let settled = giver.wait("told that the pods of the taker are proven", STEP, told).await?;
    let (_, hint) = waits(&settled).next().context("the giver waits for nothing")?;
    ensure!(hint.contains("shop/taker of cluster"), "the giver does not name the taker: {hint}");
    let old = old.stop().await;
    giver.delete(STEP).await?;
    let new = new.stop().await;
    for outcome in [&old, &new] {
        let answers: Vec<_> = outcome.statuses.keys().collect();
        ensure!(answers == [&200] && outcome.acknowledged > 0, "answers: {:?}", outcome.statuses);
    }
    let stored = stage.count_events(&taker, EVENT).await?;
    let sent = old.acknowledged + new.acknowledged;
    ensure!(stored == sent, "{stored} events are stored, {sent} were acknowledged");
    let owners = stage.query(&owners(&database)).await?;
    ensure!(owners.trim() == "shop/taker", "the ledger gives the database to: {owners}");
    let left = stage
        .query("SELECT count() FROM system.users WHERE startsWith(name, 'weir_shop__giver_ingest')")
        .await?;
    ensure!(left.trim() == "0", "{left} users of the giver are left");
    taker.wait_current(STEP).await.context("the taker, after the giver is gone")?;
    taker.delete(STEP).await?;
    Ok(summary(&old, &new, &hint))
}

fn summary(old: &Outcome, new: &Outcome, hint: &str) -> String {
    format!(
        "nothing was taken over without the hash, with another, or before the owner gave it; then {} events to the giver's pods and {} \
         to the taker's, each acknowledged at once and stored once; the giver said: {hint}",
        old.acknowledged, new.acknowledged
    )
}

/// From the preview to the approval of both; returns the hash.
async fn approve(stage: &Stage, giver: &Stack, taker: &Stack, database: &str) -> anyhow::Result<String> {
    let asks = |stack: &AnalyticsStack| adoption(stack).is_some();
    taker.wait("asking for what it would take over", STEP, asks).await?;
    // It gives nothing by that, and looks at once who asks.
    annotate(giver, ADOPT, ANOTHER).await?;
    let shown = |stack: &AnalyticsStack| adoption(stack).is_some_and(|shown| shown.hash.is_some());
    let status = taker.wait("shown what it would take over", STEP, shown).await?;
    let preview = adoption(&status).context("status.adoption is gone")?;
    let hash = preview.hash.clone().context("status.adoption has no hash")?;
    let listed: Vec<_> = preview.entities.iter().map(|entity| entity.entity.as_str()).collect();
    let expected = [format!("database {database}"), format!("user {database}_definer")];
    ensure!(listed == expected, "status.adoption lists {listed:?}");
    let names_owner = |owner: &String| owner.contains("shop/giver of cluster");
    for entity in &preview.entities {
        ensure!(entity.owner.as_ref().is_some_and(names_owner), "{entity:?} does not name its owner");
        ensure!(entity.consent.as_deref() == Some("Missing"), "{entity:?} is not kept by its owner");
    }
    ensure!(serde_json::to_string(&status.status)?.len() < 16 << 10, "status is larger than 16 KiB");

    annotate(taker, ADOPT, ANOTHER).await?;
    says(taker, "approves another preview").await?;
    annotate(taker, ADOPT, &hash).await?;
    says(taker, "on this stack and on AnalyticsStack shop/giver").await?;
    let owners = stage.query(&owners(database)).await?;
    ensure!(owners.trim() == "shop/giver", "the ledger gives the database to: {owners}");
    annotate(giver, ADOPT, &hash).await?;
    for stack in [giver, taker] {
        // Any change lets a stack look again.
        annotate(stack, "example.com/look", &hash).await?;
        let is_done = |seen: &AnalyticsStack| {
            let handled = |status: &AnalyticsStackStatus| status.last_handled_adopt.as_ref() == Some(&hash);
            seen.status.as_ref().is_some_and(handled)
        };
        stack.wait("echoing the approved hash", STEP, is_done).await?;
    }
    Ok(hash)
}

async fn says(stack: &Stack, text: &str) -> anyhow::Result<()> {
    let is_said = |seen: &AnalyticsStack| waits(seen).any(|(_, hint)| hint.contains(text));
    stack.wait(&format!("saying {text:?}"), STEP, is_said).await.map(drop)
}

fn adoption(stack: &AnalyticsStack) -> Option<&AdoptionStatus> {
    stack.status.as_ref()?.adoption.as_ref()
}

/// Reasons and hints of what a stack waits for.
fn waits(stack: &AnalyticsStack) -> impl Iterator<Item = (String, String)> {
    let waits = stack.status.iter().flat_map(|status| status.blocked_by.clone());
    waits.map(|wait| (wait.reason, wait.hint))
}

async fn load(stack: &Stack) -> anyhow::Result<Load> {
    let key = stack.secret(&format!("{}-key-web", stack.name)).await?;
    Ok(Load {
        urls: vec![stack.service_url().await?],
        key: key["key"].clone(),
        event: EVENT.into(),
        connections: 2,
        events_per_request: 5,
        pause: Duration::from_millis(50),
        attempts: 1,
    })
}

/// Owners of the open claims on a database, as the ledger has them.
fn owners(database: &str) -> String {
    format!(
        "SELECT DISTINCT concat(namespace, '/', stack) FROM (SELECT nonce, any(name) AS name, any(namespace) AS namespace, \
         any(stack) AS stack FROM weir_ledger.intents GROUP BY nonce HAVING countIf(state = 'closed') = 0) \
         WHERE name IN ('{database}', '{database}_definer')"
    )
}
