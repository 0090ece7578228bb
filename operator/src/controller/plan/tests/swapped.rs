//! Plans with two steps swapped are refused by `apply` before anything is done, and no plan of the phases is.
//!
//! Each pair is written down by the texts of its steps, with the reason why one of them comes first: which pairs matter is
//! not for `order` itself to say. Those of rotations, revocations, migrations, edits and deletions stand in `turning`,
//! beside the world that their plans are made in.

mod started;

use super::*;
use crate::controller::apply::Applied;

/// Two steps by the starts of their texts, the one that has to come first before the other, and why.
pub(super) type Pair<'a> = (&'a str, &'a str, &'a str);

/// Sees to it that each pair is in the plan and in order, and that the plan with the two swapped is refused as a whole.
pub(super) async fn each_swap_is_refused(plan: impl Fn() -> Plan, pairs: &[Pair<'_>]) {
    order::check(&plan()).expect("the plan as the phases made it");
    for &(first, second, why) in pairs {
        let (at, behind) = (position(&plan(), first), position(&plan(), second));
        assert!(at < behind, "the phases would {second} before they would {first}: {why}");
        // Alone, so that no other pair is out of order and each needs a rule of its own.
        refused([step(plan(), second), step(plan(), first)], (first, second, why)).await;
        let mut swapped = plan();
        swapped.steps.swap(at, behind);
        Applied::refused(swapped, why).await;
    }
}

/// Sees to it that these steps are refused, and for the reason that the pair gives.
pub(super) async fn refused(steps: impl Into<Vec<Step>>, (first, second, why): Pair<'_>) {
    let hint = Applied::refused(Plan { steps: steps.into() }, why).await;
    let is_second = hint.starts_with(&format!("the plan would {second}"));
    assert!(is_second && hint.contains(&format!("before it would {first}")), "{why}: {hint}");
}

/// The step of a plan that starts like that, alone.
pub(super) fn step(mut plan: Plan, text: &str) -> Step {
    let at = position(&plan, text);
    plan.steps.swap_remove(at)
}
