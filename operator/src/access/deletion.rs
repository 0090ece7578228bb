//! What deleting a stack takes away, and what it leaves behind. Pure.

use std::collections::BTreeSet;

use super::action::Action;
use super::adoption::is_held;
use super::catalogue::Catalogue;
use super::desired::{Desired, PasswordHash};
use super::handover::questions;
use super::ledger::Intent;
use super::plan::{drops, withdrawals};
use super::statement::statements;
use super::{Class, Kind, Owner, QuotaChange, RowsChange};

/// Drops the stack's users and roles, keeps its data with a note in the ledger, and takes its requests back. Empty when that has been done.
pub(crate) fn deletion(owner: &Owner, catalogue: &Catalogue) -> Vec<Action> {
    let own = |intent: &&Intent| owner.succeeds(&intent.owner);
    // Another stack's users hold it: it stays for whoever takes it over, with what narrows them.
    let is_held = |intent: &Intent| is_held(owner, catalogue, &intent.entity).is_some();
    let are_others_narrowed = catalogue.open_intents().iter().filter(own).any(is_held);
    let narrows = |intent: &Intent| matches!(intent.entity.kind, Kind::RowPolicy | Kind::Quota);
    let stays = |intent: &Intent| {
        intent.class.stays_with_data() || is_held(intent) || are_others_narrowed && narrows(intent)
    };
    let (kept, dropped): (Vec<_>, Vec<_>) =
        catalogue.open_intents().iter().filter(own).cloned().partition(stays);
    let mut actions = drops(catalogue, dropped);
    let unmarked: Vec<_> = kept.into_iter().filter(|intent| !intent.retained).collect();
    if !unmarked.is_empty() {
        actions.push(Action::RetainIntents(unmarked));
    }
    actions.extend(withdrawals(owner, catalogue, None));
    actions.extend(questions(owner, catalogue, None, (false, 0)));
    actions
}

/// Notes that everything of a stack stays for whoever takes it over. Empty when that has been done.
pub(crate) fn retention(owner: &Owner, catalogue: &Catalogue) -> Vec<Action> {
    let is_unmarked = |intent: &&Intent| owner.succeeds(&intent.owner) && !intent.retained;
    let unmarked: Vec<_> = catalogue.open_intents().iter().filter(is_unmarked).cloned().collect();
    let mut actions = Vec::new();
    if !unmarked.is_empty() {
        actions.push(Action::RetainIntents(unmarked));
    }
    actions.extend(withdrawals(owner, catalogue, None));
    actions.extend(questions(owner, catalogue, None, (false, 0)));
    actions
}

/// What a deletion leaves behind that ClickHouse did not carry out: every role, row policy and quota that the stack wanted,
/// and every user that it wanted or is known to have had.
pub(crate) fn leftovers(desired: &Desired, known: &BTreeSet<String>) -> Vec<Action> {
    let wanted = desired.users.iter().filter(|user| user.class != Class::Definer).map(|user| &user.name);
    let users: BTreeSet<_> = wanted.chain(known).collect();
    let users = users.into_iter().map(|user| Action::DropUser(user.clone()));
    let roles = desired.roles.iter().map(|role| Action::DropRole(role.name.clone()));
    // Those that admit everybody come first among the wanted and go last.
    let policies = desired.policies.iter().rev();
    let policies = policies.map(|policy| Action::Rows(RowsChange::Drop(policy.name.clone())));
    let quotas = desired.quotas.iter().map(|quota| Action::Quota(QuotaChange::Drop(quota.role.clone())));
    users.chain(roles).chain(policies).chain(quotas).collect()
}

/// The drops as SQL that a person can run. Holds no password and no hash, and does not end queries: an event takes few
/// characters, and the ingest's pods are gone.
pub(crate) fn leftovers_sql(actions: &[Action]) -> String {
    let removes = |action: &&Action| {
        matches!(
            action,
            Action::DropUser(_)
                | Action::DropRole(_)
                | Action::Rows(RowsChange::Drop(_))
                | Action::Quota(QuotaChange::Drop(_))
        )
    };
    let unused = PasswordHash::of("");
    let mut sql = String::new();
    for statement in
        actions.iter().filter(removes).filter_map(|action| statements(action, &unused).into_iter().next())
    {
        sql.push_str(&statement);
        sql.push_str(";\n");
    }
    sql
}
