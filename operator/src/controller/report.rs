//! Writes status when it changed, and tells transitions as events.

use kube::Resource as _;
use kube::runtime::events::{Event, EventType};
use serde_json::json;
use weir_crds::{AnalyticsStack, AnalyticsStackStatus, ConditionType, Reason};

use super::Context;
use super::memory::Memory;
use super::status::cut;
use crate::kubernetes::{self, Error};

/// Writes status unless it is what it was.
pub(crate) async fn patch_status(
    ctx: &Context,
    stack: &AnalyticsStack,
    previous: &AnalyticsStackStatus,
    status: &AnalyticsStackStatus,
    memory: &mut Memory,
) -> Result<(), Error> {
    if previous == status {
        return Ok(());
    }
    let namespace = stack.metadata.namespace.clone().unwrap_or_default();
    let name = stack.metadata.name.clone().unwrap_or_default();
    let patch = json!({ "status": merge_patch(previous, status) });
    let written = kubernetes::merge_status::<AnalyticsStack>(&ctx.client, &namespace, &name, &patch).await?;
    let version = written.metadata.resource_version.and_then(|version| version.parse().ok()).unwrap_or(0);
    memory.status = Some((version, status.clone()));
    if let Some(event) = transition(previous, status) {
        publish(ctx, stack, event).await;
    }
    Ok(())
}

/// The whole status, with null for every field that is gone, since a merge keeps what it does not name.
fn merge_patch(previous: &AnalyticsStackStatus, status: &AnalyticsStackStatus) -> serde_json::Value {
    // Status always serializes; an empty patch would only be tried again.
    let value = |status| serde_json::to_value(status).unwrap_or_default();
    let mut next = value(status);
    name_absent(&mut next, &value(previous));
    next
}

fn name_absent(next: &mut serde_json::Value, last: &serde_json::Value) {
    let (Some(next), Some(last)) = (next.as_object_mut(), last.as_object()) else { return };
    for (field, old) in last {
        match next.get_mut(field) {
            Some(new) => name_absent(new, old),
            None => {
                next.insert(field.clone(), serde_json::Value::Null);
            }
        }
    }
}

/// The event of a change of Ready; a pass that changes nothing that matters tells nothing.
fn transition(previous: &AnalyticsStackStatus, status: &AnalyticsStackStatus) -> Option<Event> {
    let ready = |status: &AnalyticsStackStatus| {
        status.conditions.iter().find(|condition| condition.type_ == ConditionType::Ready.as_str()).cloned()
    };
    let now = ready(status)?;
    let before = ready(previous);
    let is_same = before.is_some_and(|before| before.status == now.status && before.reason == now.reason);
    let is_start = now.reason == Reason::Progressing.as_str();
    if is_same || is_start {
        return None;
    }
    let type_ = if now.status == "False" { EventType::Warning } else { EventType::Normal };
    Some(Event {
        type_,
        reason: now.reason,
        note: Some(cut(&now.message)),
        action: "Reconcile".into(),
        secondary: None,
    })
}

/// Tells what a deletion leaves behind, with the statements that remove it.
pub(crate) async fn left_behind(ctx: &Context, stack: &AnalyticsStack, sql: &str) {
    let note = format!(
        "ClickHouse could not be asked in time; to remove what is left, run: {}",
        sql.replace('\n', " ")
    );
    let event = Event {
        type_: EventType::Warning,
        reason: Reason::LeftBehind.as_str().into(),
        note: Some(cut(&note)),
        action: "Delete".into(),
        secondary: None,
    };
    tracing::warn!(sql, "users, roles and what narrows them are left behind in ClickHouse");
    publish(ctx, stack, event).await;
}

/// Tells what was put back, and why.
pub(crate) async fn repaired(ctx: &Context, stack: &AnalyticsStack, cause: &str) {
    let event = Event {
        type_: EventType::Warning,
        reason: Reason::DriftRepaired.as_str().into(),
        note: Some(cut(cause)),
        action: "Reconcile".into(),
        secondary: None,
    };
    tracing::warn!(cause, "access in ClickHouse was put back");
    publish(ctx, stack, event).await;
}

/// Tells what was taken over or given, once status is about to say that the request for it was carried out.
pub(crate) async fn adopted(
    ctx: &Context,
    stack: &AnalyticsStack,
    previous: &AnalyticsStackStatus,
    handled: Option<&str>,
) {
    let Some(hash) = handled.filter(|hash| previous.last_handled_adopt.as_deref() != Some(hash)) else {
        return;
    };
    let shown = previous.adoption.iter().flat_map(|adoption| &adoption.entities);
    let entities: Vec<_> = shown.map(|entity| entity.entity.as_str()).collect();
    // Whoever gives has nothing in its way.
    let (reason, note) = if entities.is_empty() {
        (Reason::HandedOver, format!("given to the stack that asked, as weir.dev/adopt={hash} approved"))
    } else {
        let taken = entities.join(", ");
        (Reason::Adopted, format!("taken over, as weir.dev/adopt={hash} approved: {taken}"))
    };
    tracing::info!(hash, note, "what an annotation approved was carried out");
    let event = Event {
        type_: EventType::Normal,
        reason: reason.as_str().into(),
        note: Some(cut(&note)),
        action: "Adopt".into(),
        secondary: None,
    };
    publish(ctx, stack, event).await;
}

/// An event that is lost costs nobody anything: status says the same.
async fn publish(ctx: &Context, stack: &AnalyticsStack, event: Event) {
    if let Err(error) = ctx.recorder.publish(&event, &stack.object_ref(&())).await {
        tracing::warn!(error = &error as &dyn std::error::Error, "failed to publish an event");
    }
}
