//! A model of what ClickHouse does with the actions, on a `Catalogue`.

mod limits;

use super::super::adoption::Takeover;
use super::super::catalogue::UserState;
use super::super::ledger::handover::{Question, Said, Word};
use super::super::ledger::{Adoption, Handover};
use super::super::right::{Grants, PrivilegeRow, Privileges};
use super::*;

/// An empty server that knows the groups which Weir grants.
pub(crate) fn empty_server() -> Catalogue {
    let groups = [
        ("ALTER UPDATE", "ALTER TABLE"),
        ("ALTER TTL", "ALTER TABLE"),
        ("ALTER VIEW MODIFY QUERY", "ALTER VIEW"),
    ];
    let row = |(privilege, group): (&str, &str)| PrivilegeRow {
        privilege: privilege.into(),
        level: None,
        parent_group: Some(group.into()),
    };
    Catalogue {
        administrator: "admin".into(),
        privileges: Privileges::new(groups.map(row)),
        ..Catalogue::default()
    }
}

/// Does what ClickHouse does.
pub(crate) fn apply(catalogue: &mut Catalogue, owner: &Owner, action: &Action) {
    match action {
        Action::CreateLedger => catalogue.intents = Some(Vec::new()),
        Action::RecordIntents(claims) => record(catalogue, owner, claims),
        Action::CloseIntents(closed) => {
            intents(catalogue).retain(|intent| !closed.iter().any(|closed| closed.nonce == intent.nonce));
        }
        Action::RetainIntents(kept) => {
            let is_kept = |intent: &Intent| kept.iter().any(|kept| kept.nonce == intent.nonce);
            intents(catalogue)
                .iter_mut()
                .filter(|intent| is_kept(intent))
                .for_each(|intent| intent.retained = true);
        }
        Action::RecordRequest { entity, asker } => {
            let request = Request { entity: entity.clone(), asker: asker.clone(), asked_at: 0 };
            catalogue.requests.push(request);
        }
        Action::WithdrawRequests(over) => catalogue.requests.retain(|request| !over.contains(request)),
        Action::Adopt(takeover) => take_over(catalogue, owner, takeover),
        Action::SettleAdoption(over) => {
            let is_over = |adoption: &&mut Adoption| over.iter().any(|over| over.intent == adoption.intent);
            catalogue.adoptions.iter_mut().filter(is_over).for_each(|adoption| adoption.is_settled = true);
        }
        Action::RecordHandovers(said) => said.iter().for_each(|said| say(catalogue, said)),
        Action::OpenLogin(user) => open_login(catalogue, user),
        Action::CreateDatabase(name) => assert!(catalogue.databases.insert(name.clone()), "{name} exists"),
        Action::CreateRole(name) => assert!(catalogue.roles.insert(name.clone()), "{name} exists"),
        Action::CreateUser(user) => {
            assert!(catalogue.users.insert(user.name.clone(), state(user)).is_none(), "{} exists", user.name);
        }
        Action::AlterUser(user) | Action::CloseLogin(user) => {
            assert!(
                catalogue.users.insert(user.name.clone(), state(user)).is_some(),
                "{} is missing",
                user.name
            );
        }
        Action::ExpireUser(name, _) => assert!(catalogue.users.contains_key(name), "{name} is missing"),
        Action::AddPassword(user) | Action::LimitPasswords(user) => {
            assert!(catalogue.users.contains_key(&user.name), "{} is missing", user.name);
        }
        Action::Grant { to, rights } => grant(catalogue, to, rights),
        Action::ReplaceGrants { of, rights } => {
            catalogue.grants.insert(of.clone(), Grants::default());
            grant(catalogue, of, rights);
        }
        Action::GrantRole { role, user } => {
            assert!(catalogue.roles.contains(role), "{role} is missing");
            catalogue.role_grants.entry(Entity::user(user)).or_default().insert(role.clone());
        }
        Action::RevokeRole { role, from } => {
            assert!(catalogue.role_grants.get_mut(from).is_some_and(|roles| roles.remove(role)));
        }
        Action::DropUser(name) => drop_entity(catalogue, &Entity::user(name)),
        Action::DropRole(name) => drop_entity(catalogue, &Entity::role(name)),
        Action::Rows(change) => limits::change_rows(catalogue, change),
        Action::Quota(change) => limits::change_quota(catalogue, change),
    }
}

/// Gives a role or user one more role, as a hand would.
pub(crate) fn grant_role(catalogue: &mut Catalogue, to: &Entity, role: &str) {
    catalogue.role_grants.entry(to.clone()).or_default().insert(role.into());
}

/// Takes every right of a role or user, as a hand would.
pub(crate) fn forget_grants(catalogue: &mut Catalogue, of: &Entity) {
    catalogue.grants.remove(of);
}

fn intents(catalogue: &mut Catalogue) -> &mut Vec<Intent> {
    catalogue.intents.as_mut().expect("the ledger exists")
}

fn record(catalogue: &mut Catalogue, owner: &Owner, claims: &[Claim]) {
    for claim in claims {
        let intent = Intent {
            entity: claim.entity.clone(),
            class: claim.class,
            owner: owner.clone(),
            nonce: uuid::Uuid::new_v4().to_string(),
            retained: false,
        };
        intents(catalogue).push(intent);
    }
}

fn take_over(catalogue: &mut Catalogue, owner: &Owner, takeover: &Takeover) {
    let preview = preview(
        &takeover.desired,
        catalogue,
        &AdoptionRules { silence: takeover.silence, ..AdoptionRules::default() },
    );
    let preview = preview.expect("something to take over");
    assert_eq!(preview.hash, takeover.hash, "what was approved");
    for item in preview.items {
        intents(catalogue).retain(|intent| !item.claims.contains(intent));
        record(catalogue, owner, &[Claim { entity: item.entity, class: item.class }]);
        let intent = catalogue.open_intents().last().expect("the claim").clone();
        catalogue.adoptions.push(Adoption { intent, hash: takeover.hash.clone(), is_settled: false });
    }
}

/// Keeps what each side said last, as the query of the ledger tells it.
fn say(catalogue: &mut Catalogue, said: &Said) {
    let Said { taker, owner, word, hash } = said.clone();
    let is_same = |pair: &Handover| pair.taker == taker && pair.owner == owner;
    let found = catalogue.handovers.iter().position(is_same);
    let known = found.map(|position| catalogue.handovers.remove(position));
    let answer = known.as_ref().and_then(|known| known.answer.clone());
    let next = match word {
        Word::Question(question) => {
            Handover { taker, owner, question, hash, age: 0, answer, is_answered: false }
        }
        Word::Answer(answer) => {
            let Some(known) = known else { return };
            Handover { answer: Some((answer, hash)), is_answered: true, ..known }
        }
    };
    if next.question != Question::Withdrawn {
        catalogue.handovers.push(next);
    }
}

fn open_login(catalogue: &mut Catalogue, user: &User) {
    let held = catalogue.users.get_mut(&user.name).expect("the user exists");
    let added = state(user);
    held.any_host |= added.any_host;
    held.networks.extend(added.networks);
    held.default_roles_all = true;
}

fn state(user: &User) -> UserState {
    let networks = match &user.hosts {
        Hosts::Any => ["::/0".to_owned()].into(),
        Hosts::None => std::collections::BTreeSet::new(),
        Hosts::Networks(networks) => networks.clone(),
    };
    let settings = user.settings.clone();
    UserState {
        any_host: user.hosts == Hosts::Any,
        has_names: false,
        networks,
        default_roles_all: true,
        settings,
    }
}

fn grant(catalogue: &mut Catalogue, to: &Entity, rights: &[Right]) {
    assert!(catalogue.holds(to), "{to} is missing");
    let privileges = catalogue.privileges.clone();
    let held = catalogue.grants.entry(to.clone()).or_default();
    for right in rights {
        for leaf in privileges.leaves(&right.privilege) {
            held.denied.retain(|denied| denied.privilege != leaf || !right.scope.covers(&denied.scope));
            held.rights.insert(Right::new(&leaf, right.scope.clone()));
        }
    }
}

fn drop_entity(catalogue: &mut Catalogue, entity: &Entity) {
    catalogue.users.remove(&entity.name).map_or_else(|| catalogue.roles.remove(&entity.name), |_| true);
    catalogue.grants.remove(entity);
    catalogue.role_grants.remove(entity);
}
