//! Plans with two steps swapped are caught, and no plan of the phases is.

use super::*;
use crate::controller::plan::order::{self, OutOfOrder, precedes};

fn swapped(mut plan: Plan, first: usize, second: usize) -> Plan {
    plan.steps.swap(first, second);
    plan
}

/// A new stack whose credentials are written ahead: claims, users, proofs, Secrets and children in one plan.
fn new_stack() -> Plan {
    let mut observed = with_credentials(reachable(), false);
    observed.has_finalizer = false;
    plan_of(&observed)
}

#[test]
fn every_swap_of_steps_that_need_each_other_is_caught() {
    order::check(&new_stack()).expect("the plan as the phases made it");
    let steps = new_stack().steps.len();
    let mut caught = 0;
    for (first, second) in (0..steps).flat_map(|first| (first + 1..steps).map(move |second| (first, second)))
    {
        let needs = match (&new_stack().steps[first], &new_stack().steps[second]) {
            (Step::Do(_, first), Step::Do(_, second)) => precedes(first, second),
            _ => false,
        };
        if needs {
            order::check(&swapped(new_stack(), first, second)).expect_err("the swapped plan");
            caught += 1;
        }
    }
    println!("{caught} swaps of two steps that need each other, each caught");
    assert!(caught > 20, "only {caught} pairs of {steps} steps need each other");
}

#[test]
fn the_error_names_both_steps() {
    for (first, second) in [
        ("add the finalizer", "create the ownership ledger"),
        ("claim ", "create role weir_retail__store_ingest"),
        ("create user weir_retail__store_ingest_g1", "prove the login of user weir_retail__store_ingest_g1"),
        ("prove the login of user weir_retail__store_ingest_g1", "apply Secret/store-ingest-clickhouse"),
        ("apply Secret/store-user-grafana", "mark Secret/store-user-grafana-g1"),
    ] {
        let plan = new_stack();
        let (at, behind) = (position(&plan, first), position(&plan, second));
        let OutOfOrder { first: needed, .. } = order::check(&swapped(plan, at, behind)).unwrap_err();
        assert!(!needed.is_empty());
        // Alone, so that no other pair is out of order.
        let mut pair = new_stack();
        let steps: Vec<_> = std::mem::take(&mut pair.steps);
        let mut kept: Vec<_> =
            steps.into_iter().enumerate().filter(|(index, _)| [at, behind].contains(index)).collect();
        kept.reverse();
        pair.steps = kept.into_iter().map(|(_, step)| step).collect();
        let found = order::check(&pair).unwrap_err();
        assert!(found.first.starts_with(first) && found.second.starts_with(second), "{found:?}");
    }
}
