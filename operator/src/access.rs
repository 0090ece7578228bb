//! Who may do what in ClickHouse: databases, roles, users, grants, row policies and quotas of a stack, and whose they are.
//!
//! ```text
//! fetch_catalogue ─► Catalogue ─┐
//! desired ─────────► Desired ───┴─► plan ─► Actions ─► apply … prove … (rollout) … surplus ─► Actions ─► apply
//! ```
//!
//! Roles hold grants, row policies and quotas, users hold credentials; each generation of a credential is a user of its own with the same role.
//! `plan` only adds, `surplus` only takes away and runs last, so that a right that is wanted before and after is never
//! absent. Nothing is touched that the ledger does not give to the stack (see `ledger`).

mod action;
mod adopt;
mod adoption;
mod apply;
mod catalogue;
mod deletion;
mod desired;
mod evidence;
mod handover;
mod ledger;
pub(crate) mod narrowing;
mod plan;
mod profile;
mod prove;
mod quota;
mod request;
mod right;
mod rows;
mod shared;
mod statement;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use action::Action;
pub(crate) use adopt::fetch_fixed;
pub(crate) use adoption::{
    AdoptionRules, Item, Preview, adopted, is_half_adopted, is_held, pending, preview, settlement,
};
pub(crate) use apply::{Error, apply};
pub(crate) use catalogue::Catalogue;
#[cfg(test)]
use catalogue::fetch_catalogue;
pub(crate) use deletion::{deletion, leftovers, leftovers_sql, retention};
pub(crate) use desired::{Desired, DesiredRequest, Login, Password, PasswordHash, Purpose, desired};
pub(crate) use evidence::{Logged, fetch_last_use};
pub(crate) use handover::{Consent, answers, gave, given, is_settled, questions, settled, told};
#[cfg(test)]
pub(crate) use ledger::Intent;
pub(crate) use ledger::OwnershipConflict;
#[cfg(test)]
pub(crate) use ledger::handover::{Handover, Question};
pub(crate) use plan::{
    Plan, add_password, contest, limit_passwords, plan, restore_login, revocations, surplus,
};
pub(crate) use profile::{Change, Hosts, Reader, Reads, Setting, hyperdx_settings};
pub(crate) use prove::prove;
pub(crate) use quota::{Change as QuotaChange, Limits, rivals};
pub(crate) use right::Right;
pub(crate) use rows::Change as RowsChange;
pub(crate) use rows::form::{Forms, Wanted, fetch as fetch_forms};
pub(crate) use shared::{Catalogues, Freshness};
#[cfg(test)]
pub(crate) use {quota::QuotaState, rows::Form};

/// The stack that owns something in ClickHouse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    /// UID of the cluster's `kube-system` namespace.
    pub(crate) cluster_id: String,
    /// Namespace of the stack.
    pub(crate) namespace: String,
    /// Name of the stack.
    pub(crate) name: String,
    /// UID of the stack.
    pub(crate) uid: String,
}

impl Owner {
    /// Whether `other` is this stack or an earlier one of the same name in the same place. There is one object of a name
    /// at a time, so an earlier one is gone, and what it left belongs to its successor.
    pub(crate) fn succeeds(&self, other: &Self) -> bool {
        self.cluster_id == other.cluster_id && self.namespace == other.namespace && self.name == other.name
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "AnalyticsStack {}/{} of cluster {}", self.namespace, self.name, self.cluster_id)
    }
}

/// Something in ClickHouse that is owned by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Entity {
    /// What it is.
    pub(crate) kind: Kind,
    /// Its name.
    pub(crate) name: String,
}

/// What an entity is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// A database.
    Database,
    /// A role.
    Role,
    /// A user.
    User,
    /// A row policy, with the table that it is on.
    #[serde(rename = "row policy")]
    RowPolicy,
    /// A quota.
    Quota,
}

impl Kind {
    /// Word for it in the ledger and in texts.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Role => "role",
            Self::User => "user",
            Self::RowPolicy => "row policy",
            Self::Quota => "quota",
        }
    }
}

/// What an entity is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Class {
    /// The stack's data; kept when the stack is deleted.
    Data,
    /// The user that views run as; kept with the data.
    Definer,
    /// The ingest pods.
    Ingest,
    /// Migration runs.
    Migrate,
    /// A declared reader.
    Reader,
}

impl Class {
    /// Word for it in the ledger.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Definer => "definer",
            Self::Ingest => "ingest",
            Self::Migrate => "migrate",
            Self::Reader => "reader",
        }
    }

    /// Whether it outlives the stack.
    pub(crate) const fn stays_with_data(self) -> bool {
        matches!(self, Self::Data | Self::Definer)
    }
}

impl Entity {
    pub(crate) fn database(name: &str) -> Self {
        Self { kind: Kind::Database, name: name.to_owned() }
    }

    pub(crate) fn role(name: &str) -> Self {
        Self { kind: Kind::Role, name: name.to_owned() }
    }

    pub(crate) fn user(name: &str) -> Self {
        Self { kind: Kind::User, name: name.to_owned() }
    }
}

impl std::fmt::Display for Entity {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {}", self.kind.as_str(), self.name)
    }
}
