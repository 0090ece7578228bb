//! What is missing of row policies, and which rights have to wait for them. Pure.

use std::collections::BTreeSet;

use super::super::action::Action;
use super::super::catalogue::Catalogue;
use super::super::desired::Desired;
use super::super::{Entity, ledger};
use super::{Change, Form, PolicyState, RowPolicy};

/// Makes the policies that are missing, and sets those that are otherwise. One that takes rows away comes behind the one
/// that admits everybody to its table.
pub(in crate::access) fn additions<'a>(
    policies: impl Iterator<Item = &'a RowPolicy>,
    catalogue: &Catalogue,
    ours: &dyn Fn(&Entity) -> bool,
) -> Vec<Action> {
    let change = |policy: &RowPolicy| {
        let Some(Form::Known(form)) = &policy.form else { return None };
        match catalogue.policies.get(&policy.name) {
            None => Some(Change::Create(policy.clone())),
            Some(state) if !state.is_of(policy, form) => Some(Change::Alter(policy.clone())),
            Some(_) => None,
        }
    };
    policies.filter(|policy| ours(&policy.name.entity())).filter_map(change).map(Action::Rows).collect()
}

/// Tables of a role whose policy neither stands nor can be made now: to grant them would show every row. One that stands
/// goes on filtering by the condition before, when the next one cannot be used.
pub(in crate::access) fn withheld<'a>(
    desired: &'a Desired,
    role: &str,
    catalogue: &Catalogue,
    ours: &dyn Fn(&Entity) -> bool,
) -> BTreeSet<&'a str> {
    let of_role = desired.policies.iter().filter(|policy| policy.role.as_deref() == Some(role));
    let stands = |policy: &RowPolicy| {
        let entity = policy.name.entity();
        let is_own = ledger::head(catalogue.open_intents(), &entity)
            .is_some_and(|intent| desired.owner.succeeds(&intent.owner));
        let restricts =
            |state: &PolicyState| state.is_restrictive && !state.is_for_all && state.grantees.contains(role);
        let has_one = is_own && catalogue.policies.get(&policy.name).is_some_and(restricts);
        has_one || ours(&entity) && matches!(policy.form, Some(Form::Known(_)))
    };
    of_role.filter(|policy| !stands(policy)).map(|policy| policy.name.table.as_str()).collect()
}

impl PolicyState {
    fn is_of(&self, policy: &RowPolicy, form: &str) -> bool {
        let Self { filter, is_restrictive, is_for_all, grantees, exceptions } = self;
        filter == form
            && *is_restrictive == policy.role.is_some()
            && *is_for_all == policy.role.is_none()
            && grantees.iter().eq(policy.role.iter())
            && exceptions.is_empty()
    }
}
