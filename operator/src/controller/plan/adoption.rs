//! Phase of adoption: what bears the stack's names and is not its own is taken over when exactly that was approved.

use weir_crds::{ConditionType, Reason};

use super::{Action, Hold, Steps, View};
use crate::access::{self, Preview, Refusal};
use crate::controller::status::adoption::is_outdated;

/// Longest part of an annotation's value that a hint repeats.
const MAX_SHOWN: usize = 40;

/// What somebody said about a preview.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict<'a> {
    /// Nothing, or only about an earlier one that was carried out.
    Unasked,
    /// It was approved.
    Approved,
    /// Something else was approved.
    Another(&'a str),
    /// It was approved as it was before it changed.
    Outdated(&'a str),
}

/// The preview of what the stack would take over; none when nothing is in its way.
pub(crate) fn preview(view: &View<'_>) -> Option<Preview> {
    let catalogue = view.observed.catalogue.as_ref().ok()?;
    access::preview(&view.desired.access, catalogue, &view.observed.fixed)
}

/// Value of the request to adopt, once what it approved belongs to the stack.
pub(crate) fn handled(view: &View<'_>) -> Option<String> {
    let value = view.stack.requests.adopt.as_ref()?;
    let catalogue = view.observed.catalogue.as_ref().ok()?;
    let adopted = access::adopted(&view.observed.owner, catalogue, value);
    (!adopted.is_empty()).then(|| value.clone())
}

/// Takes over what was approved, and nothing besides in the same pass: what follows is planned from what is there then.
pub(super) fn adoption(view: &View<'_>, steps: &mut Steps) {
    let Ok(catalogue) = &view.observed.catalogue else { return };
    let approved = preview(view).filter(|preview| verdict(view, preview) == Verdict::Approved);
    let Some(preview) = approved.filter(|preview| preview.refused().is_none()) else {
        return progress(view, steps);
    };
    if catalogue.intents.is_none() {
        steps.act(ConditionType::AccessReady, Action::Access(access::Action::CreateLedger));
    }
    steps.act(ConditionType::AccessReady, Action::Access(preview.action(&view.desired.access)));
    let hint = "it was taken over as approved; it is brought in line next".into();
    let Some(first) = preview.items.first() else { return };
    steps.hold(Hold { blocks: true, ..hold(&first.entity.to_string(), Reason::Progressing, hint) });
}

/// Says what an adoption still waits for: whoever used the entities before goes on with them meanwhile.
fn progress(view: &View<'_>, steps: &mut Steps) {
    let Ok(catalogue) = &view.observed.catalogue else { return };
    let (owner, pending) = (&view.observed.owner, access::pending(&view.observed.owner, catalogue));
    for entity in &pending {
        let Some((user, other)) = access::is_held(owner, catalogue, entity) else { continue };
        let hint = format!(
            "it was taken over, and {user} of {other} still holds it; it keeps every right that it has until that stack is deleted"
        );
        steps.hold(hold(&entity.to_string(), Reason::Retiring, hint));
    }
    let is_free = |entity: &&access::Entity| access::is_held(owner, catalogue, entity).is_none();
    let own: Vec<_> = pending.iter().filter(is_free).map(ToString::to_string).collect();
    if let Some(first) = own.first() {
        let hint = format!(
            "taken over: {}; rights, passwords, hosts and settings that the spec does not ask for stay until the stack's own pods are proven",
            own.join(", ")
        );
        steps.hold(hold(first, Reason::Adopting, hint));
    }
}

fn hold(entity: &str, reason: Reason, hint: String) -> Hold {
    Hold {
        stage: ConditionType::AccessReady,
        object: format!("ClickHouse/{entity}"),
        reason,
        hint,
        blocks: false,
        until: None,
    }
}

/// The wait for a name that is not the stack's own, with what can be done about it.
pub(super) fn conflict(view: &View<'_>, conflict: &access::OwnershipConflict) -> Hold {
    let hint = preview(view).map_or_else(
        || conflict.hint(),
        |preview| format!("{conflict}; {}", what_to_do(view, &preview, conflict)),
    );
    Hold { blocks: true, ..hold(&conflict.entity.to_string(), Reason::OwnershipConflict, hint) }
}

fn what_to_do(view: &View<'_>, preview: &Preview, conflict: &access::OwnershipConflict) -> String {
    if let Some((item, refusal)) = preview.refused() {
        let is_this = item.entity == conflict.entity;
        let what = if is_this { "it".to_owned() } else { item.entity.to_string() };
        let end = if refusal == Refusal::Owned {
            "delete that stack with spec.policy.deletion.access: Retain, or give this one another name or spec.clickhouse.database"
        } else {
            "rename or drop it, or give this stack another name or spec.clickhouse.database"
        };
        return format!("{what} is never taken over, and nothing besides it: {refusal}; {end}");
    }
    let hash = &preview.hash;
    let approve =
        format!("to take it over as status.adoption shows, set the annotation weir.dev/adopt={hash}");
    match verdict(view, preview) {
        Verdict::Approved | Verdict::Unasked => format!(
            "{approve}; otherwise rename or drop it, or give this stack another name or spec.clickhouse.database"
        ),
        Verdict::Another(value) => format!(
            "weir.dev/adopt={} approves another preview, so nothing was taken over; {approve}",
            shown(value)
        ),
        Verdict::Outdated(value) => format!(
            "what weir.dev/adopt={} approved has changed since, so nothing was taken over; {approve}",
            shown(value)
        ),
    }
}

fn verdict<'a>(view: &View<'a>, preview: &Preview) -> Verdict<'a> {
    let status = &view.observed.status;
    match view.stack.requests.adopt.as_deref() {
        None => Verdict::Unasked,
        Some(value) if value == preview.hash => Verdict::Approved,
        Some(value) if status.last_handled_adopt.as_deref() == Some(value) => Verdict::Unasked,
        Some(value) if is_outdated(status.adoption.as_ref(), value, &preview.hash) => {
            Verdict::Outdated(value)
        }
        Some(value) => Verdict::Another(value),
    }
}

fn shown(value: &str) -> String {
    value.chars().take(MAX_SHOWN).collect()
}
