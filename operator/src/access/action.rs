//! One change of access, as a value: shown in plans and logs, carried out by `apply`.

use k8s_openapi::jiff::Timestamp;

use super::adoption::Takeover;
use super::desired::User;
use super::ledger::handover::{Answer, Question, Said, Word};
use super::ledger::{Adoption, Intent};
use super::quota;
use super::request::Request;
use super::right::{Right, rights_sql};
use super::{Class, Entity, Owner, rows};

/// A name to claim in the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    /// What is claimed.
    pub(crate) entity: Entity,
    /// What it is for.
    pub(crate) class: Class,
}

/// One change of access. Its text never holds a password or its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Makes the ledger.
    CreateLedger,
    /// Claims names before anything of them is made.
    RecordIntents(Vec<Claim>),
    /// Gives claims up.
    CloseIntents(Vec<Intent>),
    /// Notes that claims stay with the data of a deleted stack.
    RetainIntents(Vec<Intent>),
    /// Tells the owner of a name that this stack asked for it.
    RecordRequest {
        /// What is asked for.
        entity: Entity,
        /// Who asks.
        asker: Owner,
    },
    /// Takes requests back.
    WithdrawRequests(Vec<Request>),
    /// Says something about a handover, to another stack.
    RecordHandovers(Vec<Said>),
    /// Takes over what bears the stack's names and is not its own, as it was approved.
    Adopt(Box<Takeover>),
    /// Notes that adoptions are over.
    SettleAdoption(Vec<Adoption>),
    /// Makes a database; fails when it exists.
    CreateDatabase(String),
    /// Makes a role; fails when it exists.
    CreateRole(String),
    /// Makes a user; fails when it exists.
    CreateUser(User),
    /// Sets hosts, default roles and, when known, the passwords of a user that exists.
    AlterUser(User),
    /// Lets the newest password of `desired`, where there is one, and its hosts log in as a user, besides those that it has.
    OpenLogin(User),
    /// Lets exactly the passwords of `desired`, where it has any, and its hosts log in as a user that was taken over.
    CloseLogin(User),
    /// Adds rights.
    Grant {
        /// Role or user.
        to: Entity,
        /// What is added.
        rights: Vec<Right>,
    },
    /// Sets exactly these rights in one step, so that those that stay are never absent.
    ReplaceGrants {
        /// Role or user.
        of: Entity,
        /// All that it may do afterwards.
        rights: Vec<Right>,
    },
    /// Gives a role to a user.
    GrantRole {
        /// The role.
        role: String,
        /// The user.
        user: String,
    },
    /// Takes a role away.
    RevokeRole {
        /// The role.
        role: String,
        /// Role or user that held it.
        from: Entity,
    },
    /// Makes a user end by itself at a moment.
    ExpireUser(String, Timestamp),
    /// Lets the newest password of a user that exists log in besides the others.
    AddPassword(User),
    /// Lets exactly the passwords of a user that exists log in, each until its end.
    LimitPasswords(User),
    /// Drops a user and ends its queries.
    DropUser(String),
    /// Drops a role.
    DropRole(String),
    /// Changes which rows of a table a role sees.
    Rows(rows::Change),
    /// Changes how much a role may use.
    Quota(quota::Change),
}

impl Action {
    /// The entity that it makes, changes or drops; none for those of the ledger.
    pub(crate) fn target(&self) -> Option<Entity> {
        match self {
            Self::CreateLedger
            | Self::RecordIntents(_)
            | Self::CloseIntents(_)
            | Self::RetainIntents(_)
            | Self::RecordRequest { .. }
            | Self::WithdrawRequests(_)
            | Self::RecordHandovers(_)
            | Self::Adopt(_)
            | Self::SettleAdoption(_) => None,
            Self::CreateDatabase(name) => Some(Entity::database(name)),
            Self::CreateRole(name) | Self::DropRole(name) => Some(Entity::role(name)),
            Self::CreateUser(user)
            | Self::AlterUser(user)
            | Self::OpenLogin(user)
            | Self::CloseLogin(user)
            | Self::AddPassword(user)
            | Self::LimitPasswords(user) => Some(Entity::user(&user.name)),
            Self::DropUser(name) | Self::ExpireUser(name, _) | Self::GrantRole { user: name, .. } => {
                Some(Entity::user(name))
            }
            Self::Grant { to: entity, .. }
            | Self::ReplaceGrants { of: entity, .. }
            | Self::RevokeRole { from: entity, .. } => Some(entity.clone()),
            Self::Rows(change) => Some(change.entity()),
            Self::Quota(change) => Some(change.entity()),
        }
    }
}

impl std::fmt::Display for Action {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::CreateLedger => formatter.write_str("create the ownership ledger"),
            Self::RecordIntents(claims) => {
                write!(formatter, "claim {}", listed(claims.iter().map(|claim| &claim.entity)))
            }
            Self::CloseIntents(intents) => {
                write!(
                    formatter,
                    "give up the claim on {}",
                    listed(intents.iter().map(|intent| &intent.entity))
                )
            }
            Self::RetainIntents(intents) => {
                write!(formatter, "keep the claim on {}", listed(intents.iter().map(|intent| &intent.entity)))
            }
            Self::RecordRequest { entity, .. } => write!(formatter, "note that {entity} was asked for"),
            Self::WithdrawRequests(requests) => {
                let entities = requests.iter().map(|request| &request.entity);
                write!(formatter, "withdraw the request for {}", listed(entities))
            }
            Self::RecordHandovers(said) => {
                let said: Vec<_> = said.iter().map(spoken).collect();
                formatter.write_str(&said.join(", "))
            }
            Self::Adopt(takeover) => {
                write!(formatter, "take over {}, as {} says", listed(takeover.entities.iter()), takeover.hash)
            }
            Self::SettleAdoption(adoptions) => {
                let entities = adoptions.iter().map(|adoption| &adoption.intent.entity);
                write!(formatter, "note that {} is taken over", listed(entities))
            }
            Self::CreateDatabase(name) => write!(formatter, "create database {name}"),
            Self::CreateRole(name) => write!(formatter, "create role {name}"),
            Self::CreateUser(user) => write!(formatter, "create user {}", user.name),
            Self::ExpireUser(name, until) => write!(formatter, "let user {name} end at {until}"),
            Self::AddPassword(user) => write!(formatter, "add a password of user {}", user.name),
            Self::LimitPasswords(user) => write!(formatter, "let older passwords of user {} end", user.name),
            Self::OpenLogin(user) => {
                write!(formatter, "let the stack log in as user {} besides others", user.name)
            }
            Self::CloseLogin(user) => {
                write!(formatter, "let nobody but the stack log in as user {}", user.name)
            }
            Self::AlterUser(user) => write!(formatter, "restore the login of user {}", user.name),
            Self::Grant { to, rights } => write!(formatter, "grant {} to {to}", rights_sql(rights)),
            Self::ReplaceGrants { of, rights } if rights.is_empty() => {
                write!(formatter, "take all rights of {of}")
            }
            Self::ReplaceGrants { of, rights } => {
                write!(formatter, "reduce the rights of {of} to {}", rights_sql(rights))
            }
            Self::GrantRole { role, user } => write!(formatter, "grant role {role} to user {user}"),
            Self::RevokeRole { role, from } => write!(formatter, "revoke role {role} from {from}"),
            Self::DropUser(name) => write!(formatter, "drop user {name} and end its queries"),
            Self::DropRole(name) => write!(formatter, "drop role {name}"),
            Self::Rows(change) => change.fmt(formatter),
            Self::Quota(change) => change.fmt(formatter),
        }
    }
}

fn spoken(said: &Said) -> String {
    let Said { taker, owner, word, hash: _ } = said;
    match word {
        Word::Question(Question::Asked) => format!("ask {owner} for what it owns"),
        Word::Question(Question::Settled) => format!("tell {owner} that it can go"),
        Word::Question(Question::Withdrawn) => format!("ask {owner} for nothing any more"),
        Word::Answer(Answer::Seen) => format!("tell {taker} that its question was seen"),
        Word::Answer(Answer::Given) => format!("give {taker} what it asks for"),
        Word::Answer(Answer::Kept) => format!("give {taker} nothing any more"),
    }
}

fn listed<'a>(entities: impl Iterator<Item = &'a Entity>) -> String {
    entities.map(Entity::to_string).collect::<Vec<_>>().join(", ")
}
