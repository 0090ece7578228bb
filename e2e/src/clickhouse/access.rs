//! What the development server knows of users, roles, row policies and quotas: the entities, the statements that change them, and their
//! form in the engine's users.xml. Pure: nothing here touches a file, a clock or the engine.
//!
//! Rights and syntax are judged by the engine; only the storage of users is ours, so this keeps just what a statement
//! says. Privileges stay the text that the engine has already accepted.

pub(crate) mod apply;
mod cursor;
pub(crate) mod error;
pub(crate) mod limit;
pub(crate) mod parse;
pub(crate) mod render;
mod token;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub(crate) use error::AccessError;
pub(crate) use parse::{Statement, parse};

/// Everything that was created through SQL.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Access {
    pub(crate) users: BTreeMap<String, User>,
    pub(crate) roles: BTreeMap<String, Role>,
    /// Row policies by their name with the table.
    #[serde(default)]
    pub(crate) policies: BTreeMap<String, limit::RowPolicy>,
    #[serde(default)]
    pub(crate) quotas: BTreeMap<String, limit::Quota>,
}

/// One user.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct User {
    pub(crate) methods: Vec<Method>,
    pub(crate) hosts: Hosts,
    pub(crate) default_roles: DefaultRoles,
    pub(crate) default_database: Option<String>,
    pub(crate) settings: Vec<Setting>,
    pub(crate) granted: Granted,
}

/// One role.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Role {
    pub(crate) granted: Granted,
}

/// What a user or a role holds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Granted {
    /// Role to whether it came with the admin option.
    pub(crate) roles: BTreeMap<String, bool>,
    /// `GRANT … ON …` and `REVOKE … ON …` in the order they were given; the engine folds them.
    pub(crate) privileges: Vec<String>,
}

/// One authentication method.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Method {
    /// SHA-256 of the password in lower-case hex, or none for a user without a password.
    pub(crate) sha256: Option<String>,
    pub(crate) valid_until: Option<Timestamp>,
}

/// Where a user may connect from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) enum Hosts {
    #[default]
    Any,
    None,
    Listed(Vec<Host>),
}

/// One entry of `HOST`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Host {
    Local,
    Ip(String),
    Name(String),
    Regexp(String),
}

/// The roles that a login starts with.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) enum DefaultRoles {
    #[default]
    All,
    Only(BTreeSet<String>),
}

/// One entry of `SETTINGS`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Setting {
    pub(crate) name: String,
    pub(crate) value: Option<String>,
    pub(crate) min: Option<String>,
    pub(crate) max: Option<String>,
    pub(crate) writability: Option<Writability>,
}

/// Whether a user may change a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Writability {
    Writable,
    Const,
    ChangeableInReadonly,
}

/// What the stored methods say about a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Login {
    Accepted,
    Expired,
    Refused,
}

impl Hosts {
    /// Both.
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Any, _) | (_, Self::Any) => Self::Any,
            (Self::None, hosts) | (hosts, Self::None) => hosts,
            (Self::Listed(mut listed), Self::Listed(others)) => {
                listed.extend(others);
                Self::Listed(listed)
            }
        }
    }
}

impl User {
    /// Judges a password against the methods; a method that is over only counts when no other one matches.
    pub(crate) fn login(&self, password: &str, now: Timestamp) -> Login {
        let given = hex::encode(Sha256::digest(password.as_bytes()));
        let mut login = Login::Refused;
        for method in &self.methods {
            if method.sha256.as_ref().is_some_and(|sha256| *sha256 != given) {
                continue;
            }
            if method.valid_until.is_none_or(|until| now < until) {
                return Login::Accepted;
            }
            login = Login::Expired;
        }
        login
    }
}
