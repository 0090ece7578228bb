//! What would change of an entity that is taken over, in words: from the actions that the planner would come to. Pure.

use super::super::action::Action;
use super::super::catalogue::Catalogue;
use super::super::desired::{Desired, User};
use super::super::plan::{entity_actions, surplus};
use super::super::right::{Right, rights_sql};
use super::super::{Class, Entity, Kind};
use super::{Item, progress};

/// When rights go that the stack does not want.
const LATER: &str = "once the stack's pods are proven";

/// The changes of one entity; `after` is the catalogue with the claims of the stack in place.
pub(super) fn of(desired: &Desired, after: &Catalogue, item: &Item) -> Vec<String> {
    let entity = &item.entity;
    let is_of = |action: &Action| action.target().as_ref() == Some(entity);
    let now = entity_actions(desired, after, &|_| true);
    let mut changes: Vec<_> = now.iter().filter(|action| is_of(action)).map(Action::to_string).collect();
    if entity.kind == Kind::Database {
        changes.push("let the stack's roles in, and migrate its tables; its rows stay".into());
    }
    if let Some(user) = desired.users.iter().find(|user| *entity == Entity::user(&user.name)) {
        changes.extend(login(user, after));
    }
    let later = surplus(desired, after);
    changes.extend(
        later.iter().filter(|action| is_of(action)).map(|action| reduction(after, item.class, action)),
    );
    changes
}

/// What becomes of the login of a user, which is set as a whole at the end.
fn login(user: &User, after: &Catalogue) -> Vec<String> {
    let mut changes = Vec::new();
    if !user.passwords.is_empty() {
        changes.push(format!("let the stack's password in; those that it has end {LATER}"));
    }
    if progress::differs(user, after) {
        changes.push(format!("set its hosts, default roles and settings {LATER}"));
    }
    changes
}

/// Removals in words: what goes, where an action only says what stays.
fn reduction(after: &Catalogue, class: Class, action: &Action) -> String {
    match action {
        Action::ReplaceGrants { of, rights } => format!("take {} {LATER}", surplus_rights(after, of, rights)),
        Action::RevokeRole { role, .. } => format!("take role {role} {LATER}"),
        // A migration run ends those before it, whosever they are.
        Action::DropUser(_) if class == Class::Migrate => "drop it before the stack's migration".into(),
        Action::DropUser(_) | Action::DropRole(_) => format!("drop it {LATER}"),
        other => format!("{other} {LATER}"),
    }
}

fn surplus_rights(after: &Catalogue, of: &Entity, rights: &[Right]) -> String {
    let held = after.grants.get(of).cloned().unwrap_or_default();
    let surplus = held.surplus(rights, &after.privileges);
    match (surplus.is_empty(), held.excess) {
        (true, _) => "grant options and wildcards".into(),
        (false, true) => format!("{}, grant options and wildcards", rights_sql(&surplus)),
        (false, false) => rights_sql(&surplus),
    }
}
