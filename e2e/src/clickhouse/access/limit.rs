//! Row policies and quotas: what narrows the holders of roles.
//!
//! users.xml knows both for users only, and one of each: a row policy as the filter of one user on one table, a quota by
//! its name at a user. So what is kept here is turned into what it comes to for each user (see `render`), by ClickHouse's
//! own rules; the engine then filters and counts. What it shows in its system tables is not what was said, so those are
//! answered from here (see `shown`).

pub(super) mod apply;
pub(super) mod parse;
pub(super) mod render;
pub(crate) mod shown;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Access;
pub(crate) use parse::{Change, Statement};

/// One row policy.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct RowPolicy {
    pub(crate) name: PolicyName,
    pub(crate) is_restrictive: bool,
    /// In the engine's own form.
    pub(crate) filter: String,
    pub(crate) grantees: Grantees,
}

/// Name and table of a row policy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PolicyName {
    pub(crate) short: String,
    pub(crate) database: String,
    pub(crate) table: String,
}

impl std::fmt::Display for PolicyName {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} ON {}.{}", self.short, self.database, self.table)
    }
}

/// One quota.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Quota {
    /// Whether each user has a count of its own.
    pub(crate) is_by_user: bool,
    /// Limits by the seconds of their interval.
    pub(crate) intervals: BTreeMap<u64, BTreeMap<String, String>>,
    pub(crate) grantees: Grantees,
}

/// Whom something is for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Grantees {
    pub(crate) is_all: bool,
    pub(crate) names: BTreeSet<String>,
    pub(crate) except: BTreeSet<String>,
}

impl Grantees {
    fn match_any(&self, names: &BTreeSet<&str>) -> bool {
        let hits = |set: &BTreeSet<String>| set.iter().any(|name| names.contains(name.as_str()));
        if self.is_all { !hits(&self.except) } else { hits(&self.names) }
    }
}

impl Access {
    /// The user and every role that it holds, by way of others included.
    fn identities<'a>(&'a self, user: &'a str) -> BTreeSet<&'a str> {
        let mut found = BTreeSet::from([user]);
        let granted = |user: &str| self.users.get(user).map(|user| &user.granted);
        let mut open: Vec<&str> =
            granted(user).into_iter().flat_map(|of| of.roles.keys()).map(String::as_str).collect();
        while let Some(role) = open.pop() {
            if found.insert(role) {
                let more = self.roles.get(role).into_iter().flat_map(|role| role.granted.roles.keys());
                open.extend(more.map(String::as_str));
            }
        }
        found
    }
}
