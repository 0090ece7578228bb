//! Events of a real SDK, through the Service, become rows.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use super::Plan;
use crate::{load::Load, stack::Stack, stage::Stage, target::Target};

#[derive(Deserialize)]
struct Sent {
    sent: u64,
    errors: Vec<String>,
}

pub(super) async fn run(stage: &Stage, plan: Plan) -> anyhow::Result<String> {
    let stack = stage.shop();
    let url = stack.service_url().await?;
    let (sent, rows) = send_with_posthog_node(&stage.target, &stack, &url, plan.pick(500, 20_000)).await?;
    Ok(format!("posthog-node sent {sent} events, ClickHouse holds {rows} rows of them"))
}

/// Sends `count` events with posthog-node and compares them with the rows; returns both numbers.
pub(crate) async fn send_with_posthog_node(
    target: &Target,
    stack: &Stack,
    url: &str,
    count: u64,
) -> anyhow::Result<(u64, u64)> {
    let key = stack.secret(&format!("{}-key-web", stack.name)).await?;
    let event = format!("sdk {:08x}", rand::random::<u32>());
    let arguments = [url, key["key"].as_str(), event.as_str(), &count.to_string()];
    let printed = target.node("posthog-node.mjs", &arguments).await.context("posthog-node failed")?;
    let sent: Sent = serde_json::from_str(printed.trim()).context("the SDK program printed no result")?;
    ensure!(sent.errors.is_empty(), "posthog-node reported {:?}", sent.errors);
    let rows = target.ask_events(stack, "count()", &event).await?;
    ensure!(rows == sent.sent, "{} events were acknowledged and {rows} rows are there", sent.sent);
    Ok((sent.sent, rows))
}

/// Sends one event with the stack's key and expects it to be acknowledged.
pub(crate) async fn send_one(stack: &Stack, event: &str) -> anyhow::Result<()> {
    let load = load_on(stack, event, 1).await?;
    let running = load.start();
    running.wait_for(1, Duration::from_secs(5)).await?;
    running.stop().await;
    Ok(())
}

/// Load on a stack with its key `web`.
pub(crate) async fn load_on(stack: &Stack, event: &str, connections: usize) -> anyhow::Result<Load> {
    let key = stack.secret(&format!("{}-key-web", stack.name)).await?;
    Ok(Load {
        urls: vec![stack.service_url().await?],
        key: key["key"].clone(),
        event: event.into(),
        connections,
        events_per_request: 10,
        pause: Duration::from_millis(5),
        attempts: 2,
    })
}
