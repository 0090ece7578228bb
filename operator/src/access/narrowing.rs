//! The order of what narrows readers, row policies and quotas, among the other changes. Pure.

use super::{Action, Entity, QuotaChange, Right, RowsChange};

/// Whether `second` must not be done before `first`, as far as row policies and quotas are concerned.
pub(crate) fn precedes(first: &Action, second: &Action) -> bool {
    match (first, second) {
        (Action::CreateRole(role), _) => role_of(second) == Some(role),
        // Made before the role may read more, or every row of it shows for a moment.
        (Action::Rows(change), Action::Grant { to, rights }) => {
            let is_on = |right: &Right| right.scope.is_on(&change.name().database, &change.name().table);
            role_of(first).is_some_and(|role| *to == Entity::role(role)) && rights.iter().any(is_on)
        }
        (Action::Quota(_), Action::Grant { to, .. }) => {
            role_of(first).is_some_and(|role| *to == Entity::role(role))
        }
        // Dropped when nobody reads by that role any more, or reads no more than the role may.
        (
            Action::DropUser(_) | Action::DropRole(_),
            Action::Rows(RowsChange::Drop(_)) | Action::Quota(QuotaChange::Drop(_)),
        ) => true,
        (Action::ReplaceGrants { of, .. }, Action::Rows(RowsChange::Drop(name))) => {
            *of == Entity::role(&name.name)
        }
        // What takes rows away comes behind what admits everybody to the table, and goes before it.
        (Action::Rows(RowsChange::Create(open)), Action::Rows(RowsChange::Create(policy))) => {
            open.role.is_none() && policy.role.is_some() && open.name.is_on_table_of(&policy.name)
        }
        _ => false,
    }
}

/// Role that a change makes or sets limits for.
const fn role_of(action: &Action) -> Option<&String> {
    match action {
        Action::Rows(RowsChange::Create(policy) | RowsChange::Alter(policy)) => policy.role.as_ref(),
        Action::Quota(QuotaChange::Create(quota) | QuotaChange::Alter(quota, _)) => Some(&quota.role),
        _ => None,
    }
}
