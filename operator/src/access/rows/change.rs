//! One change of a row policy, as text for people and as SQL. Pure.

use super::super::Entity;
use super::{PolicyName, RowPolicy};
use crate::quote::{condition, identifier};

/// One change of a row policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Makes it; fails when it exists.
    Create(RowPolicy),
    /// Sets condition and role of one that exists in one step, so that rows which stay are never absent and no other is seen.
    Alter(RowPolicy),
    /// Drops it.
    Drop(PolicyName),
}

impl std::fmt::Display for Change {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Create(policy) => write!(formatter, "create row policy {}", policy.name),
            Self::Alter(policy) => write!(formatter, "set row policy {} as in the spec", policy.name),
            Self::Drop(name) => write!(formatter, "drop row policy {name}"),
        }
    }
}

impl Change {
    /// The policy.
    pub(crate) const fn name(&self) -> &PolicyName {
        match self {
            Self::Create(policy) | Self::Alter(policy) => &policy.name,
            Self::Drop(name) => name,
        }
    }

    /// The policy as something that is owned.
    pub(crate) fn entity(&self) -> Entity {
        self.name().entity()
    }

    /// Its statement; none for a condition that cannot stand in one, which no plan holds.
    pub(crate) fn statement(&self) -> Option<String> {
        let (verb, policy) = match self {
            Self::Create(policy) => ("CREATE", policy),
            Self::Alter(policy) => ("ALTER", policy),
            Self::Drop(name) => return Some(format!("DROP ROW POLICY IF EXISTS {}", name.sql())),
        };
        let name = policy.name.sql();
        let Some(role) = &policy.role else {
            let rows = &policy.condition;
            return Some(format!("{verb} ROW POLICY {name} AS PERMISSIVE FOR SELECT USING {rows} TO ALL"));
        };
        let (rows, role) = (condition(&policy.condition).ok()?, identifier(role));
        Some(format!("{verb} ROW POLICY {name} AS RESTRICTIVE FOR SELECT USING {rows} TO {role}"))
    }
}
