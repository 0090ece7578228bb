//! Quotas: the most that the users of a reader's role may use in a time. Pure.
//!
//! A quota counts all users of the role together, so that a new generation of a login begins no new count. ClickHouse counts
//! a query by one quota only, and of several that apply it takes any: whoever makes another one for a reader, or for
//! everybody, is named (see `rivals`).

use std::collections::{BTreeMap, BTreeSet};

use super::action::Action;
use super::catalogue::Catalogue;
use super::desired::Desired;
use super::profile::Reader;
use super::{Class, Entity, Kind, ledger};
use crate::names::ClickhouseNames;
use crate::quote::identifier;

/// Limits by ClickHouse's name, each with its amount as ClickHouse shows it; seconds for `execution_time`.
pub(crate) type Limits = BTreeMap<String, String>;

/// A quota as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Quota {
    /// Its name, and that of the role that it is for.
    pub(crate) role: String,
    /// Limits by the seconds of their interval.
    pub(crate) intervals: BTreeMap<u64, Limits>,
}

/// A quota as ClickHouse shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct QuotaState {
    /// What has a count of its own: users, addresses and the like.
    pub(crate) keys: BTreeSet<String>,
    /// Limits by the seconds of their interval; without limits where an interval only counts.
    pub(crate) intervals: BTreeMap<u64, Limits>,
    /// Whether an interval begins at a moment of its own for each count.
    pub(crate) is_randomized: bool,
    /// Whether it is for everybody.
    pub(crate) is_for_all: bool,
    /// Roles and users that it is for.
    pub(crate) grantees: BTreeSet<String>,
    /// Roles and users that it is not for, where it is for everybody.
    pub(crate) exceptions: BTreeSet<String>,
}

/// One change of a quota.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Makes it; fails when it exists.
    Create(Quota),
    /// Sets all limits of one that exists in one step, and takes these intervals away. What was used stays counted.
    Alter(Quota, BTreeSet<u64>),
    /// Drops it.
    Drop(String),
}

/// The quotas of a stack's readers.
pub(super) fn desired(names: &ClickhouseNames, readers: &[Reader]) -> Vec<Quota> {
    let limited = readers.iter().filter(|reader| !reader.quota.is_empty());
    let quota =
        |reader: &Reader| Quota { role: names.reader_role(&reader.name), intervals: reader.quota.clone() };
    limited.map(quota).collect()
}

/// What is claimed for the quotas.
pub(super) fn entities(quotas: &[Quota]) -> impl Iterator<Item = (Entity, Class)> + '_ {
    quotas.iter().map(|quota| (entity(&quota.role), Class::Reader))
}

/// The entity of that name.
pub(crate) fn entity(name: &str) -> Entity {
    Entity { kind: Kind::Quota, name: name.to_owned() }
}

/// Makes a quota that is missing, or sets one that is otherwise.
pub(super) fn addition(quota: &Quota, catalogue: &Catalogue) -> Option<Action> {
    let change = match catalogue.quotas.get(&quota.role) {
        None => Change::Create(quota.clone()),
        Some(state) if !state.is_of(quota) => {
            let over = state.intervals.keys().filter(|seconds| !quota.intervals.contains_key(seconds));
            Change::Alter(quota.clone(), over.copied().collect())
        }
        Some(_) => return None,
    };
    Some(Action::Quota(change))
}

/// Drops quotas.
pub(super) fn drops<'a>(owned: impl Iterator<Item = &'a Entity>) -> impl Iterator<Item = Action> {
    let quotas = owned.filter(|entity| entity.kind == Kind::Quota);
    quotas.map(|entity| Action::Quota(Change::Drop(entity.name.clone())))
}

/// Quotas of others that apply to a reader with one of its own, each with the reader's role.
pub(crate) fn rivals<'a>(desired: &'a Desired, catalogue: &'a Catalogue) -> Vec<(&'a str, &'a str)> {
    let mut rivals = Vec::new();
    for Quota { role, .. } in &desired.quotas {
        let users = desired.users.iter().filter(|user| user.role.as_ref() == Some(role));
        let own: BTreeSet<&String> = users.map(|user| &user.name).chain([role]).collect();
        let hits = |named: &BTreeSet<String>| named.iter().any(|name| own.contains(name));
        let applies = |state: &QuotaState| {
            if state.is_for_all { !hits(&state.exceptions) } else { hits(&state.grantees) }
        };
        let is_own = |name: &str| {
            ledger::head(catalogue.open_intents(), &entity(name))
                .is_some_and(|intent| desired.owner.succeeds(&intent.owner))
        };
        let others = catalogue.quotas.iter().filter(|(name, state)| applies(state) && !is_own(name));
        rivals.extend(others.map(|(name, _)| (role.as_str(), name.as_str())));
    }
    rivals
}

impl QuotaState {
    fn is_of(&self, quota: &Quota) -> bool {
        let Self { keys, intervals, is_randomized, is_for_all, grantees, exceptions } = self;
        keys.is_empty()
            && *intervals == quota.intervals
            && !*is_randomized
            && !*is_for_all
            && grantees.iter().eq([&quota.role])
            && exceptions.is_empty()
    }
}

impl Change {
    /// Name of the quota.
    pub(crate) const fn name(&self) -> &String {
        match self {
            Self::Create(quota) | Self::Alter(quota, _) => &quota.role,
            Self::Drop(name) => name,
        }
    }

    /// The quota as something that is owned.
    pub(crate) fn entity(&self) -> Entity {
        entity(self.name())
    }

    /// Its statement.
    pub(crate) fn statement(&self) -> String {
        let none = BTreeSet::new();
        let (verb, quota, over) = match self {
            Self::Create(quota) => ("CREATE", quota, &none),
            Self::Alter(quota, over) => ("ALTER", quota, over),
            Self::Drop(name) => return format!("DROP QUOTA IF EXISTS {}", identifier(name)),
        };
        let limits = |limits: &Limits| {
            let limits: Vec<_> = limits.iter().map(|(name, amount)| format!("{name} = {amount}")).collect();
            limits.join(", ")
        };
        let set = quota
            .intervals
            .iter()
            .map(|(seconds, of)| format!("FOR INTERVAL {seconds} second MAX {}", limits(of)));
        let over = over.iter().map(|seconds| format!("FOR INTERVAL {seconds} second NO LIMITS"));
        let intervals: Vec<_> = set.chain(over).collect();
        let role = identifier(&quota.role);
        format!("{verb} QUOTA {role} NOT KEYED {} TO {role}", intervals.join(", "))
    }
}

impl std::fmt::Display for Change {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Create(quota) => write!(formatter, "create quota {}", quota.role),
            Self::Alter(quota, _) => write!(formatter, "set quota {} as in the spec", quota.role),
            Self::Drop(name) => write!(formatter, "drop quota {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intervals(of: &[(u64, &[(&str, &str)])]) -> BTreeMap<u64, Limits> {
        let limits = |limits: &[(&str, &str)]| {
            limits.iter().map(|(name, amount)| ((*name).to_owned(), (*amount).to_owned())).collect()
        };
        of.iter().map(|(seconds, of)| (*seconds, limits(of))).collect()
    }

    #[test]
    fn all_limits_are_set_in_one_statement_and_intervals_that_are_gone_are_taken_away_in_it() {
        let of: &[(u64, &[_])] =
            &[(60, &[("queries", "5")]), (3600, &[("execution_time", "600"), ("read_rows", "7")])];
        let quota = Quota { role: "r".into(), intervals: intervals(of) };
        let set = "NOT KEYED FOR INTERVAL 60 second MAX queries = 5, FOR INTERVAL 3600 second MAX execution_time = 600, read_rows = 7";
        assert_eq!(Change::Create(quota.clone()).statement(), format!("CREATE QUOTA `r` {set} TO `r`"));
        let alter = Change::Alter(quota, [10].into()).statement();
        assert_eq!(alter, format!("ALTER QUOTA `r` {set}, FOR INTERVAL 10 second NO LIMITS TO `r`"));
        assert_eq!(Change::Drop("r".into()).statement(), "DROP QUOTA IF EXISTS `r`");
    }
}
