//! What ClickHouse does with row policies and quotas.

use super::super::super::quota::{Quota, QuotaState};
use super::super::super::rows::{Form, PolicyState, RowPolicy};
use super::*;

pub(super) fn change_rows(catalogue: &mut Catalogue, change: &RowsChange) {
    let name = change.name().clone();
    match change {
        RowsChange::Create(policy) => {
            let state = policy_state(catalogue, policy);
            assert!(catalogue.policies.insert(name, state).is_none(), "{} exists", policy.name);
        }
        RowsChange::Alter(policy) => {
            let state = policy_state(catalogue, policy);
            assert!(catalogue.policies.insert(name, state).is_some(), "{} is missing", policy.name);
        }
        RowsChange::Drop(_) => drop(catalogue.policies.remove(&name)),
    }
}

fn policy_state(catalogue: &Catalogue, policy: &RowPolicy) -> PolicyState {
    let Some(Form::Known(filter)) = &policy.form else { panic!("{} cannot be made", policy.name) };
    assert!(policy.role.iter().all(|role| catalogue.roles.contains(role)), "{} has no role", policy.name);
    PolicyState {
        filter: filter.clone(),
        is_restrictive: policy.role.is_some(),
        is_for_all: policy.role.is_none(),
        grantees: policy.role.iter().cloned().collect(),
        exceptions: std::collections::BTreeSet::new(),
    }
}

pub(super) fn change_quota(catalogue: &mut Catalogue, change: &QuotaChange) {
    let name = change.name().clone();
    match change {
        QuotaChange::Create(quota) => {
            let state = quota_state(catalogue, quota, BTreeMap::new());
            assert!(catalogue.quotas.insert(name, state).is_none(), "{} exists", quota.role);
        }
        QuotaChange::Alter(quota, over) => {
            let mut intervals = catalogue.quotas[&name].intervals.clone();
            intervals.retain(|seconds, _| !over.contains(seconds));
            let state = quota_state(catalogue, quota, intervals);
            catalogue.quotas.insert(name, state);
        }
        QuotaChange::Drop(_) => drop(catalogue.quotas.remove(&name)),
    }
}

/// Intervals that a statement does not name stay, as ClickHouse keeps them.
fn quota_state(catalogue: &Catalogue, quota: &Quota, before: BTreeMap<u64, Limits>) -> QuotaState {
    assert!(catalogue.roles.contains(&quota.role), "{} has no role", quota.role);
    let intervals = before.into_iter().chain(quota.intervals.clone()).collect();
    QuotaState { intervals, grantees: [quota.role.clone()].into(), ..QuotaState::default() }
}
