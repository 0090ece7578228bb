//! How far an adoption is: what belongs to the stack already and is not as the spec says yet. Pure.
//!
//! Between the claim and the end, who used an entity before goes on with it: nothing of its rights, passwords, hosts and
//! settings is taken. What the stack needs is added. The end comes behind the rollout, in one go for each entity, and is
//! noted in the ledger.

use super::super::action::Action;
use super::super::catalogue::Catalogue;
use super::super::desired::{Desired, User};
use super::super::ledger::{self, Adoption};
use super::super::plan::is_as_desired;
use super::super::{Entity, Kind, Owner};
use super::heads;

/// What the stack has taken over and not brought in line yet.
pub(crate) fn pending(owner: &Owner, catalogue: &Catalogue) -> Vec<Entity> {
    let heads = heads(owner, catalogue).into_iter();
    heads.filter(|(_, adoption)| !adoption.is_settled).map(|(entity, _)| entity).collect()
}

/// Whether the stack has taken that over and not brought it in line yet.
pub(crate) fn is_half_adopted(owner: &Owner, catalogue: &Catalogue, entity: &Entity) -> bool {
    // Whoever took nothing over, which is nearly everybody, looks for nothing.
    let is_open = |adoption: &Adoption| !adoption.is_settled && adoption.intent.entity == *entity;
    catalogue.adoptions.iter().any(is_open) && pending(owner, catalogue).contains(entity)
}

/// What the preview of that hash made the stack's own; empty when it was not carried out.
pub(crate) fn adopted(owner: &Owner, catalogue: &Catalogue, hash: &str) -> Vec<Entity> {
    let heads = heads(owner, catalogue).into_iter();
    heads.filter(|(_, adoption)| adoption.hash == hash).map(|(entity, _)| entity).collect()
}

/// A user of another stack that holds a role which this one took over, so that the role keeps what it has.
pub(crate) fn is_held<'a>(
    owner: &Owner,
    catalogue: &'a Catalogue,
    role: &Entity,
) -> Option<(&'a Entity, &'a Owner)> {
    if role.kind != Kind::Role || !catalogue.adoptions.iter().any(|adoption| adoption.intent.entity == *role)
    {
        return None;
    }
    heads(owner, catalogue).get(role)?;
    let holds = |(_, roles): &(&Entity, &std::collections::BTreeSet<String>)| roles.contains(&role.name);
    let users = catalogue.role_grants.iter().filter(holds).map(|(entity, _)| entity);
    users.filter(|user| catalogue.holds(user)).find_map(|user| {
        let head = ledger::head(catalogue.open_intents(), user)?;
        (head.owner != *owner && !head.retained).then_some((user, &head.owner))
    })
}

/// The end of an adoption, behind everything that `surplus` takes: the logins of its users as a whole, and the note that it
/// is over. A role that another stack still uses is not over.
pub(crate) fn settlement(desired: &Desired, catalogue: &Catalogue) -> Vec<Action> {
    let owner = &desired.owner;
    let is_over = |adoption: &Adoption| {
        !adoption.is_settled && is_held(owner, catalogue, &adoption.intent.entity).is_none()
    };
    let over: Vec<_> = heads(owner, catalogue).into_values().filter(is_over).collect();
    if over.is_empty() {
        return Vec::new();
    }
    let is_of = |user: &&User| over.iter().any(|adoption| adoption.intent.entity == Entity::user(&user.name));
    // A password that nobody set again stays: it is of an older generation, which has an end of its own.
    let needs = |user: &&User| !user.passwords.is_empty() || differs(user, catalogue);
    let users = desired.users.iter().filter(is_of).filter(needs).cloned();
    let mut actions: Vec<_> = users.map(Action::CloseLogin).collect();
    actions.push(Action::SettleAdoption(over));
    actions
}

/// Whether hosts, default roles or settings of a user are not as the spec says.
pub(super) fn differs(user: &User, catalogue: &Catalogue) -> bool {
    let state = catalogue.users.get(&user.name);
    state.is_some_and(|state| !is_as_desired(user, state, &catalogue.automatic))
}
