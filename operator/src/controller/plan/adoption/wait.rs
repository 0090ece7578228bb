//! The wait for a name that is not the stack's own: whose it is, and what can be done about it.

use k8s_openapi::jiff::SignedDuration;
use weir_crds::Reason;

use super::super::lag::again;
use super::super::{Hold, View};
use super::{Verdict, hold, verdict};
use crate::access::{self, Consent, OwnershipConflict, Preview};

/// Time after which a preview that was never shown is made again.
const FIRST: SignedDuration = SignedDuration::from_secs(1);
/// Longest part of an annotation's value that a hint repeats.
const MAX_SHOWN: usize = 40;
/// What to do where nothing is to be taken over.
const OTHERWISE: &str = "rename or drop it, or give this stack another name or spec.clickhouse.database";

/// The wait for one name.
pub(in crate::controller::plan) fn conflict(
    view: &View<'_>,
    conflict: &OwnershipConflict,
    preview: Option<&Preview>,
) -> Hold {
    let object = conflict.entity.to_string();
    // What another stack says is in the ledger, which nothing watches.
    let soon = || again(view, &format!("ClickHouse/{object}"));
    if gave(view, conflict) {
        let is_settled = is_settled(view, conflict);
        let hint = format!("{conflict}; {}", after_giving(is_settled));
        let until = soon().filter(|_| !is_settled);
        return Hold { blocks: true, until, ..hold(&object, Reason::HandedOver, hint) };
    }
    let hint = preview.map_or_else(
        || conflict.hint(),
        |preview| format!("{conflict}; {}", what_to_do(view, preview, conflict)),
    );
    let until = if view.observed.status.adoption.is_none() {
        // The next pass asks which of them can be changed at all.
        view.observed.now.checked_add(FIRST).ok()
    } else {
        preview.filter(|preview| is_awaited(view, preview)).and_then(|_| soon())
    };
    Hold { blocks: true, until, ..hold(&object, Reason::OwnershipConflict, hint) }
}

/// Whether the word of an owner is awaited.
fn is_awaited(view: &View<'_>, preview: &Preview) -> bool {
    let consent = preview.awaited().map(|item| item.consent);
    let is_approved = verdict(view, preview) == Verdict::Approved;
    let is_first = view.observed.status.adoption.is_none();
    is_first
        || preview.refused().is_none()
            && (consent == Some(Consent::Unknown) || is_approved && consent.is_some())
}

/// Whether this stack gave away what is in its way now.
fn gave(view: &View<'_>, conflict: &OwnershipConflict) -> bool {
    let Ok(catalogue) = &view.observed.catalogue else { return false };
    let owner = &view.observed.owner;
    conflict.owner.as_ref().is_some_and(|taker| access::gave(owner, taker, catalogue))
}

/// Whether the pods of the stack that has it now are proven.
fn is_settled(view: &View<'_>, conflict: &OwnershipConflict) -> bool {
    let known = conflict.owner.as_ref().zip(view.observed.catalogue.as_ref().ok());
    known.is_some_and(|(taker, catalogue)| access::is_settled(&view.observed.owner, taker, catalogue))
}

/// What the giver is told: its pods go on until it is deleted.
fn after_giving(is_settled: bool) -> String {
    let pods =
        if is_settled { "the pods of that one are proven" } else { "once the pods of that one are proven" };
    format!(
        "this stack gave it, and its own pods go on meanwhile; {pods}, lead its clients there and delete this stack, which drops nothing but its own users and roles"
    )
}

fn what_to_do(view: &View<'_>, preview: &Preview, conflict: &OwnershipConflict) -> String {
    if let Some((item, refusal)) = preview.refused() {
        let is_this = item.entity == conflict.entity;
        let what = if is_this { "it".to_owned() } else { item.entity.to_string() };
        return format!("{what} is never taken over, and nothing besides it: {refusal}; {OTHERWISE}");
    }
    let approve = approve(preview);
    match verdict(view, preview) {
        Verdict::Approved => format!("this stack approved that; {approve}"),
        Verdict::Unasked => format!("{approve}; otherwise {OTHERWISE}"),
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

/// How the preview is approved, and by whom.
fn approve(preview: &Preview) -> String {
    let hash = &preview.hash;
    let awaited = preview.awaited().and_then(|item| Some((item.consent, item.owner.as_ref()?)));
    match awaited {
        Some((Consent::Unknown, owner)) => format!(
            "{owner} is asked whether it lives; what could be taken over is known when it answers, or has not for so long that it counts as lost"
        ),
        Some((_, owner)) => format!(
            "to take it over as status.adoption shows, set the annotation weir.dev/adopt={hash} on this stack and on {owner}, which lives, or delete that one with spec.policy.deletion.access: Retain"
        ),
        None => {
            let lost = preview.items.iter().find(|item| item.consent == Consent::Silent);
            let lost = lost.and_then(|item| item.owner.as_ref());
            let silent = lost.map(|owner| format!("{owner} does not answer and counts as lost; "));
            format!(
                "{}to take it over as status.adoption shows, set the annotation weir.dev/adopt={hash}",
                silent.unwrap_or_default()
            )
        }
    }
}

fn shown(value: &str) -> String {
    value.chars().take(MAX_SHOWN).collect()
}
