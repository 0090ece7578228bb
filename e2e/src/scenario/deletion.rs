//! Deleting a stack ends, whatever ClickHouse does.

use std::time::Duration;

use anyhow::ensure;
use serde_json::json;

use super::Plan;
use crate::stage::{Stage, TEAM};

/// Bound that the second stack is given for a ClickHouse that is down; its pods have ended by then.
const TIMEOUT_SECONDS: u64 = 15;

pub(super) async fn run(stage: &Stage, _plan: Plan) -> anyhow::Result<String> {
    let normal = with_clickhouse(stage).await?;
    let (down, event) = without_clickhouse(stage).await?;
    Ok(format!(
        "gone after {:.1} s; with ClickHouse down after {:.1} s of a bound of {TIMEOUT_SECONDS} s; {event}",
        normal.as_secs_f64(),
        down.as_secs_f64()
    ))
}

async fn with_clickhouse(stage: &Stage) -> anyhow::Result<Duration> {
    let stack = stage.make_stack_with("gone", narrowed)?;
    stack.wait_current(Duration::from_mins(1)).await?;
    super::sdk::send_one(&stack, "kept").await?;
    let prefix = format!("weir_{TEAM}__gone");
    ensure!(entities(stage, &prefix).await? > 0, "the stack has no users in ClickHouse before its deletion");
    let before = stage.count_events(&stack, "kept").await?;
    let took = stack.delete(Duration::from_secs(30)).await?;
    ensure!(entities(stage, &prefix).await? == 0, "access of a deleted stack is left in ClickHouse");
    let rows = stage.query(&format!("SELECT count() FROM {prefix}.events WHERE event = 'kept'")).await?;
    ensure!(rows.trim() == before.to_string() && before > 0, "data was not kept: {before} rows, then {rows}");
    Ok(took)
}

async fn without_clickhouse(stage: &Stage) -> anyhow::Result<(Duration, String)> {
    let stack = stage.make_stack_with("orphan", narrowed)?;
    stack
        .patch(json!({ "spec": { "policy": { "deletion": { "timeoutSeconds": TIMEOUT_SECONDS } } } }))
        .await?;
    stack.wait_current(Duration::from_mins(1)).await?;
    let prefix = format!("weir_{TEAM}__orphan");
    stage.clickhouse_down();
    let deleted = stack.delete(Duration::from_secs(TIMEOUT_SECONDS + 30)).await;
    stage.clickhouse_up().await?;
    let took = deleted?;
    ensure!(took.as_secs() < TIMEOUT_SECONDS, "gone after {took:?}, {TIMEOUT_SECONDS} s are the bound");
    let left = entities(stage, &prefix).await?;
    ensure!(left > 0, "nothing was left behind, so the event cannot have been needed");
    let note = stage.event_note(&stack, "LeftBehind").await?;
    ensure!(note.contains("DROP USER"), "the event does not say how to remove what is left: {note}");
    // The statements of the event are what a person runs.
    let sql = note.split_once("DROP").map(|(_, rest)| format!("DROP{rest}")).unwrap_or_default();
    for statement in sql.split(';').map(str::trim).filter(|statement| statement.starts_with("DROP")) {
        stage.query(statement).await?;
    }
    let rest = entities(stage, &prefix).await?;
    ensure!(rest == 0, "{rest} of {left} entities are left after the event's statements: {note}");
    Ok((took, format!("event named {left} leftovers, and its statements removed them")))
}

/// Gives a stack one reader with rows and a quota of its own.
fn narrowed(stack: &mut serde_json::Value) {
    stack["spec"]["users"] = json!([{
        "name": "bi",
        "profile": "Custom",
        "tables": [{ "name": "events", "rows": "event = 'kept'" }],
        "quota": [{ "interval": "1h", "queries": 1_000_000 }],
    }]);
}

/// Users, roles, row policies and quotas whose names begin with the stack's prefix; the definer stays with the data that it reads for views.
async fn entities(stage: &Stage, prefix: &str) -> anyhow::Result<u64> {
    let sql = format!(
        "SELECT (SELECT count() FROM system.users WHERE startsWith(name, '{prefix}') AND name != '{prefix}_definer') \
         + (SELECT count() FROM system.roles WHERE startsWith(name, '{prefix}')) \
         + (SELECT count() FROM system.row_policies WHERE startsWith(name, '{prefix}')) \
         + (SELECT count() FROM system.quotas WHERE startsWith(name, '{prefix}'))"
    );
    Ok(stage.query(&sql).await?.trim().parse()?)
}
