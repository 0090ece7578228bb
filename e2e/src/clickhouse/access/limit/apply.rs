//! The effect of statements about row policies and quotas, with ClickHouse's refusals.

use std::collections::BTreeMap;

use super::{
    super::{Access, AccessError},
    Change, Quota, RowPolicy, Statement,
    parse::{PolicyClauses, QuotaClauses},
};

impl Access {
    /// Makes a statement true.
    pub(in super::super) fn apply_limit(&mut self, statement: &Statement) -> Result<(), AccessError> {
        match statement {
            Statement::Policy { change, name, clauses } => {
                let new = RowPolicy { name: name.clone(), ..RowPolicy::default() };
                let policy = place(&mut self.policies, *change, "row policy", &name.to_string(), new)?;
                if let Some(policy) = policy {
                    set_policy(policy, clauses);
                }
            }
            Statement::Quota { change, name, clauses } => {
                let quota = place(&mut self.quotas, *change, "quota", name, Quota::default())?;
                if let Some(quota) = quota {
                    set_quota(quota, clauses);
                }
            }
        }
        Ok(())
    }

    /// A role or user that is gone is gone from whatever was for it.
    pub(in super::super) fn forget_grantee(&mut self, name: &str) {
        let policies = self.policies.values_mut().map(|policy| &mut policy.grantees);
        for grantees in policies.chain(self.quotas.values_mut().map(|quota| &mut quota.grantees)) {
            grantees.names.remove(name);
            grantees.except.remove(name);
        }
    }
}

/// What of that name is to be set, after it was made or dropped.
fn place<'a, T>(
    all: &'a mut BTreeMap<String, T>,
    change: Change,
    kind: &'static str,
    name: &str,
    new: T,
) -> Result<Option<&'a mut T>, AccessError> {
    let exists = all.contains_key(name);
    let unknown = || AccessError::Unknown { kind, name: name.to_owned() };
    match change {
        Change::Create { if_not_exists: true } if exists => Ok(None),
        Change::Create { .. } if exists => Err(AccessError::AlreadyExists { kind, name: name.to_owned() }),
        Change::Create { .. } => Ok(Some(all.entry(name.to_owned()).or_insert(new))),
        Change::Alter { if_exists: true } if !exists => Ok(None),
        Change::Alter { .. } => all.get_mut(name).map(Some).ok_or_else(unknown),
        Change::Drop { if_exists } => match all.remove(name) {
            None if !if_exists => Err(unknown()),
            _ => Ok(None),
        },
    }
}

fn set_policy(policy: &mut RowPolicy, clauses: &PolicyClauses) {
    let PolicyClauses { is_restrictive, filter, grantees } = clauses.clone();
    policy.is_restrictive = is_restrictive.unwrap_or(policy.is_restrictive);
    policy.filter = filter.unwrap_or_else(|| std::mem::take(&mut policy.filter));
    policy.grantees = grantees.unwrap_or_else(|| std::mem::take(&mut policy.grantees));
}

/// An interval that is not named stays as it is.
fn set_quota(quota: &mut Quota, clauses: &QuotaClauses) {
    let QuotaClauses { is_by_user, intervals, grantees } = clauses.clone();
    quota.is_by_user = is_by_user.unwrap_or(quota.is_by_user);
    for (seconds, limits) in intervals {
        match limits {
            Some(limits) => drop(quota.intervals.insert(seconds, limits)),
            None => drop(quota.intervals.remove(&seconds)),
        }
    }
    quota.grantees = grantees.unwrap_or_else(|| std::mem::take(&mut quota.grantees));
}
