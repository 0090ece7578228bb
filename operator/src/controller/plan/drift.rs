//! What somebody changed in ClickHouse by hand: told from what the spec, a rotation or a lost server asks for.

use weir_crds::{DriftPolicy, Reason};

use super::{Hold, Steps, View};
use crate::access::{self, Action};
use crate::controller::status::AccessOrder;

/// The changes that would put everything back, when nothing but a hand can have made them necessary.
pub(crate) fn drift(view: &View<'_>) -> Vec<Action> {
    let Ok(catalogue) = &view.observed.catalogue else { return Vec::new() };
    let access = &view.desired.access;
    if !was_in_order(view) {
        return Vec::new();
    }
    let access::Plan { actions: mut changes, conflicts } = access::plan(access, catalogue);
    // What is not the stack's own, or is only being taken over, was not changed by a hand.
    if !conflicts.is_empty() || is_adopting(view) {
        return Vec::new();
    }
    changes.extend(access::surplus(access, catalogue));
    changes
}

fn was_in_order(view: &View<'_>) -> bool {
    view.observed.status.access_digest.as_ref() == Some(&view.desired.access.digest())
}

fn is_adopting(view: &View<'_>) -> bool {
    let catalogue = view.observed.catalogue.as_ref();
    catalogue.is_ok_and(|catalogue| !access::pending(&view.observed.owner, catalogue).is_empty())
}

/// Why everything is put back: a hand, or a server that holds nothing of the stack.
pub(crate) fn cause(view: &View<'_>, changes: &[Action]) -> String {
    let Ok(catalogue) = &view.observed.catalogue else { return String::new() };
    let names = &view.stack.clickhouse.names;
    let is_lost =
        !catalogue.databases.contains(&names.database) || !catalogue.roles.contains(&names.ingest_role());
    let cause = if is_lost { "ClickHouse was replaced or restored" } else { "access was changed by hand" };
    let changes: Vec<_> = changes.iter().map(ToString::to_string).collect();
    format!("{cause}; put back: {}", changes.join("; "))
}

/// Whether what is wanted now has been in order, for status: only what differs from that was changed by hand.
pub(crate) fn access_order(view: &View<'_>) -> AccessOrder {
    let Ok(catalogue) = &view.observed.catalogue else { return AccessOrder::Unknown };
    let access = &view.desired.access;
    let planned = access::plan(access, catalogue);
    let is_in_order = planned.actions.is_empty()
        && planned.conflicts.is_empty()
        && access::surplus(access, catalogue).is_empty()
        // What comes of a condition once ClickHouse can use it is not a hand's doing.
        && access.refused_conditions().is_empty()
        && catalogue.lagging(access).is_empty();
    // In order before says nothing of what is being taken over now.
    let is_moving = !planned.conflicts.is_empty() || is_adopting(view);
    if (is_in_order || was_in_order(view)) && !is_moving {
        AccessOrder::Of(access.digest())
    } else {
        AccessOrder::NotYet
    }
}

/// Whether changes by hand are left, and says so where they are to be reported. A lost database is never left.
pub(super) fn is_left(view: &View<'_>, steps: &mut Steps) -> bool {
    let policy = view.stack.drift;
    if policy == DriftPolicy::Enforce || view.observed.has_lost_database(view.stack) {
        return false;
    }
    let changes = drift(view);
    if changes.is_empty() {
        return false;
    }
    if policy == DriftPolicy::Report {
        let changes: Vec<_> = changes.iter().map(ToString::to_string).collect();
        let hint = format!(
            "it was changed by hand and is left, as spec.policy.drift says; Enforce would {}",
            changes.join("; ")
        );
        steps.hold(Hold::of_access("ClickHouse/access".into(), Reason::DriftFound, hint));
    }
    true
}
