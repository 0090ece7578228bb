//! The order of changes in ClickHouse among themselves.

use crate::access::{Action as Access, Class, Entity, QuotaChange, RowsChange, narrowing};

/// Whether `second` must not be done before `first`.
pub(super) fn precedes(first: &Access, second: &Access) -> bool {
    match (first, second) {
        (Access::CreateLedger, _) => !matches!(second, Access::CreateLedger),
        // What is taken over is planned from what is there then.
        (Access::Adopt(takeover), _) => {
            second.target().is_some_and(|entity| takeover.entities.contains(&entity))
        }
        // The logins as a whole, before it is over.
        (
            Access::CloseLogin(_) | Access::ReplaceGrants { .. } | Access::RevokeRole { .. },
            Access::SettleAdoption(over),
        ) => {
            first.target().is_some_and(|entity| over.iter().any(|adoption| adoption.intent.entity == entity))
        }
        // What an earlier stack left is claimed before its claim is given up, or a crash in between leaves it to nobody, and
        // what nobody claimed is nobody's to repair.
        (Access::RecordIntents(claims), Access::CloseIntents(intents)) => {
            claims.iter().any(|claim| intents.iter().any(|intent| intent.entity == claim.entity))
        }
        // The claim is what makes an entity the stack's own after a crash.
        (Access::RecordIntents(claims), _) => {
            created(second).is_some_and(|entity| claims.iter().any(|claim| claim.entity == entity))
        }
        (Access::Rows(_) | Access::Quota(_), _) | (_, Access::Rows(_) | Access::Quota(_))
            if narrowing::precedes(first, second) =>
        {
            true
        }
        // Dropped before given up, or a crash in between leaves it to nobody.
        (
            Access::DropUser(_)
            | Access::DropRole(_)
            | Access::Rows(RowsChange::Drop(_))
            | Access::Quota(QuotaChange::Drop(_)),
            Access::CloseIntents(intents),
        ) => dropped(first).is_some_and(|entity| intents.iter().any(|intent| intent.entity == entity)),
        (Access::DropUser(_), Access::DropRole(_)) => true,
        // Two migrations at once can spoil the tables, and the next pass ends an earlier one only while the user of the next is
        // missing.
        (Access::DropUser(earlier), Access::CreateUser(user)) if user.class == Class::Migrate => {
            let is_run = |role: &String| earlier.starts_with(&format!("{role}_")) && *earlier != user.name;
            user.role.as_ref().is_some_and(is_run)
        }
        // Added before anything is taken.
        (Access::Grant { to, .. }, Access::ReplaceGrants { of, .. }) => to == of,
        (Access::GrantRole { user, .. }, Access::RevokeRole { from, .. }) => *from == Entity::user(user),
        _ => created(first).is_some_and(|entity| changes(second, &entity)),
    }
}

/// What an action makes.
pub(super) fn created(action: &Access) -> Option<Entity> {
    match action {
        Access::CreateDatabase(name) => Some(Entity::database(name)),
        Access::CreateRole(name) => Some(Entity::role(name)),
        Access::CreateUser(user) => Some(Entity::user(&user.name)),
        Access::Rows(change @ RowsChange::Create(_)) => Some(change.entity()),
        Access::Quota(change @ QuotaChange::Create(_)) => Some(change.entity()),
        _ => None,
    }
}

fn dropped(action: &Access) -> Option<Entity> {
    match action {
        Access::DropUser(name) => Some(Entity::user(name)),
        Access::DropRole(name) => Some(Entity::role(name)),
        Access::Rows(change @ RowsChange::Drop(_)) => Some(change.entity()),
        Access::Quota(change @ QuotaChange::Drop(_)) => Some(change.entity()),
        _ => None,
    }
}

/// Whether an action needs that entity to exist.
fn changes(action: &Access, entity: &Entity) -> bool {
    match action {
        Access::Grant { to, .. } => to == entity,
        Access::GrantRole { role, user } => *entity == Entity::role(role) || *entity == Entity::user(user),
        Access::AlterUser(user)
        | Access::OpenLogin(user)
        | Access::AddPassword(user)
        | Access::LimitPasswords(user) => *entity == Entity::user(&user.name),
        _ => false,
    }
}
