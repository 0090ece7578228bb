//! From desired access and catalogue to actions. Pure; `plan` only adds, `surplus` only takes away.

use std::collections::BTreeSet;

use k8s_openapi::jiff::Timestamp;

use super::action::{Action, Claim};
use super::adoption::{is_half_adopted, is_held};
use super::catalogue::{Catalogue, UserState};
use super::desired::{Desired, Password, PasswordHash, Role, User};
use super::handover::gave;
use super::ledger::{self, Intent, OwnershipConflict};
use super::profile::{Automatic, Hosts, Setting, canonical_network};
use super::request::Request;
use super::right::{Grants, Right};
use super::{Class, Entity, Kind, Owner, quota, rows};

/// What is missing, and what cannot be had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Additions in safe order; empty when all is there.
    pub(crate) actions: Vec<Action>,
    /// Names that belong to someone else. Nothing that needs one of them is in `actions`.
    pub(crate) conflicts: Vec<OwnershipConflict>,
}

/// How a name stands towards the stack.
pub(super) enum Standing {
    /// The stack's own claim owns it.
    Own,
    /// Nobody has it; it can be claimed.
    Free,
    /// An earlier stack of the same name and place left it.
    Inherited(Intent),
    /// Somebody else has it.
    Taken(OwnershipConflict),
}

/// Plans what is missing. A conflict on the database stops everything; one on a role or user stops what depends on it.
pub(crate) fn plan(desired: &Desired, catalogue: &Catalogue) -> Plan {
    let desired = &*desired.beside_others(catalogue);
    let mut claims = Vec::new();
    let mut inherited = Vec::new();
    let mut conflicts = Vec::new();
    for (entity, class) in desired.entities() {
        match standing(desired, catalogue, &entity) {
            Standing::Own => {}
            Standing::Free => claims.push(Claim { entity, class }),
            Standing::Inherited(intent) => {
                claims.push(Claim { entity, class });
                inherited.push(intent);
            }
            Standing::Taken(conflict) => conflicts.push(conflict),
        }
    }
    let requests = requests(desired, catalogue, &conflicts);
    if conflicts.iter().any(|conflict| conflict.entity.kind == Kind::Database) {
        return Plan { actions: requests, conflicts };
    }
    let ours = |entity: &Entity| !conflicts.iter().any(|conflict| conflict.entity == *entity);
    let mut actions = ledger_actions(catalogue, claims, &inherited);
    actions.extend(stale_migrations(desired, catalogue));
    actions.extend(entity_actions(desired, catalogue, &ours));
    actions.extend(inherited_logins(desired, catalogue, &inherited));
    actions.extend(requests);
    Plan { actions, conflicts }
}

/// The action that lets the newest of the passwords of `desired` log in as a user that exists.
pub(crate) fn add_password(desired: &Desired, catalogue: &Catalogue, user: &str) -> Option<Action> {
    let half = is_half_adopted(&desired.owner, catalogue, &Entity::user(user));
    let add = if half { Action::OpenLogin } else { Action::AddPassword };
    desired.users.iter().find(|candidate| candidate.name == user).cloned().map(add)
}

/// The action that lets exactly the passwords of `desired` log in as a user, some of them until a moment.
pub(crate) fn limit_passwords(
    desired: &Desired,
    user: &str,
    ends: &[(PasswordHash, Timestamp)],
) -> Option<Action> {
    let user = desired.users.iter().find(|candidate| candidate.name == user)?;
    let limited = |password: &Password| {
        let own = ends.iter().find(|(hash, _)| password.hash == *hash).map(|(_, until)| *until);
        Password { until: password.until.or(own), ..password.clone() }
    };
    let passwords: Vec<_> = user.passwords.iter().map(limited).collect();
    (!passwords.is_empty()).then(|| Action::LimitPasswords(User { passwords, ..user.clone() }))
}

/// The action that gives a user the passwords of `desired` again, for a login that could not be proven; besides those that
/// it has, where it was taken over and is not in line yet.
pub(crate) fn restore_login(desired: &Desired, catalogue: &Catalogue, user: &str) -> Option<Action> {
    let half = is_half_adopted(&desired.owner, catalogue, &Entity::user(user));
    let restore = if half { Action::OpenLogin } else { Action::AlterUser };
    desired.users.iter().find(|candidate| candidate.name == user).cloned().map(restore)
}

pub(super) fn standing(desired: &Desired, catalogue: &Catalogue, entity: &Entity) -> Standing {
    let taken = |owner| Standing::Taken(OwnershipConflict { entity: entity.clone(), owner });
    let own_account = entity.kind == Kind::User && entity.name == catalogue.administrator;
    match ledger::head(catalogue.open_intents(), entity) {
        _ if own_account => taken(None),
        Some(intent) if intent.owner == desired.owner => Standing::Own,
        Some(intent) if desired.owner.succeeds(&intent.owner) => Standing::Inherited(intent.clone()),
        Some(intent) => taken(Some(intent.owner.clone())),
        None if catalogue.holds(entity) => taken(None),
        None => Standing::Free,
    }
}

fn ledger_actions(catalogue: &Catalogue, claims: Vec<Claim>, inherited: &[Intent]) -> Vec<Action> {
    let mut actions = Vec::new();
    if catalogue.intents.is_none() {
        actions.push(Action::CreateLedger);
    }
    if !claims.is_empty() {
        actions.push(Action::RecordIntents(claims));
    }
    if !inherited.is_empty() {
        actions.push(Action::CloseIntents(inherited.to_vec()));
    }
    actions
}

/// Lets the owner of a name that the stack needs know of it, once: the first such name stands for all. What was asked for
/// and is not needed any more, or is had by now, is taken back.
fn requests(desired: &Desired, catalogue: &Catalogue, conflicts: &[OwnershipConflict]) -> Vec<Action> {
    // Whoever gave it away does not ask for it.
    let is_asked = |conflict: &&OwnershipConflict| {
        conflict.owner.as_ref().is_some_and(|owner| !gave(&desired.owner, owner, catalogue))
    };
    let refused = conflicts.iter().find(is_asked).map(|refused| &refused.entity);
    let mut actions: Vec<_> = withdrawals(&desired.owner, catalogue, refused).into_iter().collect();
    let is_known = |entity: &&Entity| of_stack(&desired.owner, catalogue).any(|own| own.entity == **entity);
    if let Some(entity) = refused.filter(|entity| !is_known(entity)) {
        actions.push(Action::RecordRequest { entity: entity.clone(), asker: desired.owner.clone() });
    }
    actions
}

/// Takes back what a stack asked for, but for one name.
pub(super) fn withdrawals(owner: &Owner, catalogue: &Catalogue, but: Option<&Entity>) -> Option<Action> {
    let over: Vec<_> =
        of_stack(owner, catalogue).filter(|request| Some(&request.entity) != but).cloned().collect();
    (!over.is_empty()).then_some(Action::WithdrawRequests(over))
}

fn of_stack<'a>(owner: &'a Owner, catalogue: &'a Catalogue) -> impl Iterator<Item = &'a Request> {
    catalogue.requests.iter().filter(move |request| owner.succeeds(&request.asker))
}

/// What there is to say of others that asked for names of the stack: whose the names are, and who was refused them.
pub(crate) fn contest(desired: &Desired, catalogue: &Catalogue) -> Option<String> {
    let is_other = |request: &&Request| !desired.owner.succeeds(&request.asker);
    let of_own = |request: &&Request| owns(desired, catalogue, &request.entity);
    let told = catalogue.requests.iter().filter(is_other).filter(of_own).map(ToString::to_string);
    let told: Vec<_> = told.collect();
    (!told.is_empty()).then(|| format!("its names belong to {}; {}", desired.owner, told.join("; ")))
}

/// Starting a migration run ends the earlier ones: ClickHouse cannot check a fencing token, but it can refuse a user.
fn stale_migrations(desired: &Desired, catalogue: &Catalogue) -> Vec<Action> {
    let starts = |user: &User| user.class == Class::Migrate && !catalogue.users.contains_key(&user.name);
    if !desired.users.iter().any(starts) {
        return Vec::new();
    }
    let stale = unwanted(desired, catalogue)
        .filter(|intent| intent.class == Class::Migrate && intent.entity.kind == Kind::User);
    drops(catalogue, stale.cloned().collect())
}

/// Drops users of the stack by name, before anything else is looked at.
pub(crate) fn revocations(desired: &Desired, catalogue: &Catalogue, users: &BTreeSet<String>) -> Vec<Action> {
    // A user that was taken over serves those who had it before, until the stack's pods are proven.
    let is_revoked = |intent: &&Intent| {
        intent.entity.kind == Kind::User
            && users.contains(&intent.entity.name)
            && !is_half_adopted(&desired.owner, catalogue, &intent.entity)
    };
    drops(catalogue, unwanted(desired, catalogue).filter(is_revoked).cloned().collect())
}

/// What is missing of databases, roles, users and rights, for the entities that `ours` accepts.
pub(super) fn entity_actions(
    desired: &Desired,
    catalogue: &Catalogue,
    ours: &dyn Fn(&Entity) -> bool,
) -> Vec<Action> {
    let mut actions = Vec::new();
    if !catalogue.databases.contains(&desired.database) {
        actions.push(Action::CreateDatabase(desired.database.clone()));
    }
    // The definer comes first: the migrate role is granted the right to name it.
    let (definers, logins): (Vec<_>, Vec<_>) =
        desired.users.iter().partition(|user| user.class == Class::Definer);
    for user in definers.into_iter().filter(|user| ours(&Entity::user(&user.name))) {
        actions.extend(user_actions(&desired.owner, user, catalogue));
    }
    let for_everybody = desired.policies.iter().filter(|policy| policy.role.is_none());
    actions.extend(rows::additions(for_everybody, catalogue, ours));
    for role in desired.roles.iter().filter(|role| ours(&Entity::role(&role.name))) {
        actions.extend(role_actions(desired, role, catalogue, ours));
    }
    let role_is_ours = |user: &&User| user.role.as_ref().is_none_or(|role| ours(&Entity::role(role)));
    for user in logins.into_iter().filter(|user| ours(&Entity::user(&user.name))).filter(role_is_ours) {
        actions.extend(user_actions(&desired.owner, user, catalogue));
    }
    actions
}

/// What narrows a role comes before what it may do, so that nobody ever sees more than both say.
fn role_actions(
    desired: &Desired,
    role: &Role,
    catalogue: &Catalogue,
    ours: &dyn Fn(&Entity) -> bool,
) -> Vec<Action> {
    let mut actions = Vec::new();
    if !catalogue.roles.contains(&role.name) {
        actions.push(Action::CreateRole(role.name.clone()));
    }
    let policies = desired.policies.iter().filter(|policy| policy.role.as_ref() == Some(&role.name));
    actions.extend(rows::additions(policies, catalogue, ours));
    let quotas = desired.quotas.iter().filter(|quota| quota.role == role.name);
    let quotas = quotas.filter(|quota| ours(&quota::entity(&quota.role)));
    actions.extend(quotas.filter_map(|quota| quota::addition(quota, catalogue)));
    let withheld = rows::withheld(desired, &role.name, catalogue, ours);
    let rights: Vec<_> = role.rights.iter().filter(|right| !rows::is_on(right, &withheld)).cloned().collect();
    actions.extend(grant(Entity::role(&role.name), &rights, catalogue));
    actions
}

fn user_actions(owner: &Owner, user: &User, catalogue: &Catalogue) -> Vec<Action> {
    let entity = Entity::user(&user.name);
    let mut actions = Vec::new();
    match catalogue.users.get(&user.name) {
        None => actions.push(Action::CreateUser(user.clone())),
        Some(state) if is_half_adopted(owner, catalogue, &entity) => {
            // Its passwords are asked for by a proof.
            let open = Action::OpenLogin(User { passwords: Vec::new(), ..user.clone() });
            actions.extend((!lets_in(user, state)).then_some(open));
        }
        Some(state) if !is_as_desired(user, state, &catalogue.automatic) => {
            actions.push(Action::AlterUser(User { passwords: Vec::new(), ..user.clone() }));
        }
        Some(_) => {}
    }
    actions.extend(grant(entity.clone(), &user.rights, catalogue));
    if let Some(role) = &user.role {
        let held = catalogue.role_grants.get(&entity).is_some_and(|roles| roles.contains(role));
        if !held {
            actions.push(Action::GrantRole { role: role.clone(), user: user.name.clone() });
        }
    }
    actions
}

pub(super) fn is_as_desired(user: &User, state: &UserState, automatic: &Automatic) -> bool {
    let canonical = |networks: &BTreeSet<String>| -> BTreeSet<String> {
        networks.iter().map(|network| canonical_network(network)).collect()
    };
    let hosts = match &user.hosts {
        Hosts::Any => state.any_host,
        Hosts::None => !state.has_names && state.networks.is_empty(),
        Hosts::Networks(networks) => !state.has_names && canonical(&state.networks) == canonical(networks),
    };
    let settings = |settings: &[Setting]| -> BTreeSet<Setting> {
        settings.iter().map(|setting| setting.clone().canonical(automatic)).collect()
    };
    hosts && state.default_roles_all && settings(&state.settings) == settings(&user.settings)
}

/// Whether a user that was taken over lets the stack in, whoever else it lets in.
fn lets_in(user: &User, state: &UserState) -> bool {
    let hosts = match &user.hosts {
        Hosts::None => return true,
        Hosts::Any => state.any_host,
        Hosts::Networks(networks) => {
            let held: BTreeSet<_> = state.networks.iter().map(|network| canonical_network(network)).collect();
            state.any_host || networks.iter().all(|network| held.contains(&canonical_network(network)))
        }
    };
    hosts && state.default_roles_all
}

fn grant(to: Entity, rights: &[Right], catalogue: &Catalogue) -> Option<Action> {
    let none = Grants::default();
    // What is recorded for a name that does not exist any more must not hide what a new entity lacks.
    let held = if catalogue.holds(&to) { catalogue.grants.get(&to).unwrap_or(&none) } else { &none };
    let missing = held.missing(rights, &catalogue.privileges);
    (!missing.is_empty()).then_some(Action::Grant { to, rights: missing })
}

/// Logins of an earlier stack have passwords that this one does not know.
fn inherited_logins(desired: &Desired, catalogue: &Catalogue, inherited: &[Intent]) -> Vec<Action> {
    let is_inherited = |user: &&User| {
        let entity = Entity::user(&user.name);
        catalogue.holds(&entity) && inherited.iter().any(|intent| intent.entity == entity)
    };
    let known = |user: &&User| !user.passwords.is_empty();
    desired.users.iter().filter(is_inherited).filter(known).cloned().map(Action::AlterUser).collect()
}

/// Plans what is there and not desired: users, rights, and roles of the stack with what narrowed them. To be applied when
/// nothing that serves needs it any more. Entities of others are not looked at. Users go first: a right that the
/// administrator cannot take back holds up what comes behind it, and no login is to outlive its time for that.
pub(crate) fn surplus(desired: &Desired, catalogue: &Catalogue) -> Vec<Action> {
    let desired = &*desired.beside_others(catalogue);
    let is_over = |intent: &&Intent| !intent.class.stays_with_data();
    let (users, others): (Vec<_>, Vec<_>) = unwanted(desired, catalogue)
        .filter(is_over)
        .cloned()
        .partition(|intent| intent.entity.kind == Kind::User);
    let mut actions = drops(catalogue, users);
    for role in &desired.roles {
        actions.extend(reduce(desired, Entity::role(&role.name), &role.rights, catalogue));
        actions.extend(revoke_roles(desired, &Entity::role(&role.name), None, catalogue));
    }
    for user in &desired.users {
        actions.extend(reduce(desired, Entity::user(&user.name), &user.rights, catalogue));
        actions.extend(revoke_roles(desired, &Entity::user(&user.name), user.role.as_deref(), catalogue));
    }
    actions.extend(drops(catalogue, others));
    actions
}

fn owns(desired: &Desired, catalogue: &Catalogue, entity: &Entity) -> bool {
    ledger::head(catalogue.open_intents(), entity).is_some_and(|intent| intent.owner == desired.owner)
}

fn reduce(desired: &Desired, of: Entity, rights: &[Right], catalogue: &Catalogue) -> Option<Action> {
    let held = catalogue.grants.get(&of).filter(|_| owns(desired, catalogue, &of))?;
    if is_held(&desired.owner, catalogue, &of).is_some() {
        return None;
    }
    held.has_surplus(rights, &catalogue.privileges)
        .then(|| Action::ReplaceGrants { of, rights: rights.to_vec() })
}

fn revoke_roles(
    desired: &Desired,
    from: &Entity,
    wanted: Option<&str>,
    catalogue: &Catalogue,
) -> Vec<Action> {
    let Some(held) = catalogue.role_grants.get(from).filter(|_| owns(desired, catalogue, from)) else {
        return Vec::new();
    };
    if is_held(&desired.owner, catalogue, from).is_some() {
        return Vec::new();
    }
    let surplus = held.iter().filter(|role| Some(role.as_str()) != wanted);
    surplus.map(|role| Action::RevokeRole { role: role.clone(), from: from.clone() }).collect()
}

fn unwanted<'a>(desired: &'a Desired, catalogue: &'a Catalogue) -> impl Iterator<Item = &'a Intent> {
    let wanted = desired.entities();
    catalogue
        .open_intents()
        .iter()
        .filter(|intent| desired.owner.succeeds(&intent.owner))
        .filter(move |intent| !wanted.iter().any(|(entity, _)| *entity == intent.entity))
}

/// Drops what the claims own, users before their roles and both before what narrowed them, and then gives the claims up. A claim that only waits in line is
/// given up without touching what it waits for.
pub(super) fn drops(catalogue: &Catalogue, intents: Vec<Intent>) -> Vec<Action> {
    let heads = |intent: &&Intent| ledger::head(catalogue.open_intents(), &intent.entity) == Some(*intent);
    let exists = |intent: &&Intent| catalogue.holds(&intent.entity);
    let owned: Vec<_> = intents.iter().filter(heads).filter(exists).map(|intent| &intent.entity).collect();
    let users = owned
        .iter()
        .filter(|entity| entity.kind == Kind::User)
        .map(|entity| Action::DropUser(entity.name.clone()));
    let roles = owned
        .iter()
        .filter(|entity| entity.kind == Kind::Role)
        .map(|entity| Action::DropRole(entity.name.clone()));
    let mut actions: Vec<_> = users.chain(roles).collect();
    actions.extend(rows::drops(owned.iter().copied(), catalogue));
    actions.extend(quota::drops(owned.iter().copied()));
    if !intents.is_empty() {
        actions.push(Action::CloseIntents(intents));
    }
    actions
}
