//! Row policies: which rows of a table the users of a role see. Pure.
//!
//! As soon as a table has a policy, a server may show its rows to nobody whom no *permissive* policy admits, and cannot be
//! asked whether it does (`users_without_row_policies_can_read_rows`). A permissive one for the reader alone would add to
//! those that admit everybody. So a filtered table has one policy for each of its readers, *restrictive*, which only takes
//! away and only from that role; and one permissive policy that admits everybody to every row, without which the view's
//! definer, the pods, other readers and people could lose theirs.
//!
//! That one exists only where nobody else has a policy on the table: it would widen theirs, and whom they admit is then for
//! them to say. So Weir's policies never change what anybody but its own readers sees.

mod change;
mod difference;
pub(crate) mod form;

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::action::Action;
use super::catalogue::Catalogue;
use super::desired::Desired;
use super::profile::Reader;
use super::right::{Right, Scope};
use super::{Class, Entity, Kind, ledger};
use crate::names::ClickhouseNames;
use crate::quote::identifier;

pub(crate) use change::Change;
pub(super) use difference::{additions, withheld};
pub(crate) use form::{Form, Forms};

/// What the permissive policy admits, as ClickHouse shows it as well.
const EVERY_ROW: &str = "1";

/// What tells a policy from others: the same name may stand on several tables.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PolicyName {
    /// Its own name.
    pub(crate) name: String,
    /// Database of the table.
    pub(crate) database: String,
    /// The table; empty stands for every table.
    pub(crate) table: String,
}

impl std::fmt::Display for PolicyName {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} ON {}.{}", self.name, self.database, self.table)
    }
}

impl PolicyName {
    /// Reads the name of an entity in the ledger; names that Weir gives hold neither spaces nor points.
    pub(super) fn parse(entity: &str) -> Option<Self> {
        let (name, table) = entity.split_once(" ON ")?;
        let (database, table) = table.split_once('.')?;
        Some(Self { name: name.to_owned(), database: database.to_owned(), table: table.to_owned() })
    }

    pub(super) fn entity(&self) -> Entity {
        Entity { kind: Kind::RowPolicy, name: self.to_string() }
    }

    pub(super) fn sql(&self) -> String {
        let Self { name, database, table } = self;
        format!("{} ON {}.{}", identifier(name), identifier(database), identifier(table))
    }

    /// Whether both are on one table.
    pub(super) fn is_on_table_of(&self, other: &Self) -> bool {
        self.database == other.database && self.table == other.table
    }

    /// Whether it holds for the table of another one.
    fn touches(&self, other: &Self) -> bool {
        let everywhere = self.table.is_empty() || self.table == "*";
        self.database == other.database && (everywhere || self.table == other.table)
    }
}

/// A row policy as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RowPolicy {
    /// Its name and table.
    pub(crate) name: PolicyName,
    /// Condition of the rows, as it was written.
    pub(crate) condition: String,
    /// How ClickHouse shows the condition; `None` while it was not asked.
    pub(crate) form: Option<Form>,
    /// Role that it restricts; `None` admits everybody.
    pub(crate) role: Option<String>,
}

/// A row policy as ClickHouse shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PolicyState {
    /// The condition in ClickHouse's form.
    pub(crate) filter: String,
    /// Whether it takes rows away, and does not admit to rows.
    pub(crate) is_restrictive: bool,
    /// Whether it is for everybody.
    pub(crate) is_for_all: bool,
    /// Roles and users that it is for.
    pub(crate) grantees: BTreeSet<String>,
    /// Roles and users that it is not for, where it is for everybody.
    pub(crate) exceptions: BTreeSet<String>,
}

/// The policies of a stack's readers, those that admit everybody first.
pub(super) fn desired(names: &ClickhouseNames, readers: &[Reader], forms: &Forms) -> Vec<RowPolicy> {
    let on = |name: String, table: &str| PolicyName {
        name,
        database: names.database.clone(),
        table: table.to_owned(),
    };
    let tables: BTreeSet<&String> = readers.iter().flat_map(|reader| reader.rows.keys()).collect();
    let open = tables.into_iter().map(|table| RowPolicy {
        name: on(names.open_rows(), table),
        condition: EVERY_ROW.to_owned(),
        form: Some(Form::Known(EVERY_ROW.to_owned())),
        role: None,
    });
    let filtered = readers.iter().flat_map(|reader| reader.rows.iter().map(move |row| (reader, row)));
    let filtered = filtered.map(|(reader, (table, condition))| RowPolicy {
        name: on(names.reader_role(&reader.name), table),
        condition: condition.clone(),
        form: forms.of(table, condition).cloned(),
        role: Some(names.reader_role(&reader.name)),
    });
    open.chain(filtered).collect()
}

impl Desired {
    /// The same without the policies that admit everybody, on tables that somebody else has policies on.
    pub(super) fn beside_others(&self, catalogue: &Catalogue) -> Cow<'_, Self> {
        let is_foreign = |name: &PolicyName| {
            let owner = ledger::head(catalogue.open_intents(), &name.entity());
            owner.is_none_or(|intent| !self.owner.succeeds(&intent.owner))
        };
        let is_shared = |policy: &RowPolicy| {
            let others = catalogue.policies.keys().filter(|name| name.touches(&policy.name));
            policy.role.is_none() && others.into_iter().any(is_foreign)
        };
        if !self.policies.iter().any(is_shared) {
            return Cow::Borrowed(self);
        }
        let policies = self.policies.iter().filter(|policy| !is_shared(policy)).cloned().collect();
        Cow::Owned(Self { policies, ..self.clone() })
    }

    /// Rights of a role that wait for a policy which cannot be had: without it they would show every row.
    pub(super) fn refused_rows(&self, role: &str) -> BTreeSet<&str> {
        let of_role = self.policies.iter().filter(|policy| policy.role.as_deref() == Some(role));
        let refused = of_role.filter(|policy| !matches!(policy.form, Some(Form::Known(_))));
        refused.map(|policy| policy.name.table.as_str()).collect()
    }

    /// Conditions that ClickHouse cannot use, each with the reader's role, the table and what to do.
    pub(crate) fn refused_conditions(&self) -> Vec<(&str, &str, &str)> {
        let refused = self.policies.iter().filter_map(|policy| match (&policy.form, &policy.role) {
            (Some(Form::Refused(hint)), Some(role)) => {
                Some((role.as_str(), policy.name.table.as_str(), hint.as_str()))
            }
            _ => None,
        });
        refused.collect()
    }
}

/// Whether a right is on one of the tables.
pub(super) fn is_on(right: &Right, tables: &BTreeSet<&str>) -> bool {
    match &right.scope {
        Scope::Table(_, table) | Scope::Column(_, table, _) => tables.contains(table.as_str()),
        Scope::Server | Scope::Database(_) | Scope::Object(_) => false,
    }
}

/// Drops policies, those that admit everybody last: what takes rows away would else leave none to anybody.
pub(super) fn drops<'a>(owned: impl Iterator<Item = &'a Entity>, catalogue: &Catalogue) -> Vec<Action> {
    let policies = owned.filter(|entity| entity.kind == Kind::RowPolicy);
    let mut names: Vec<_> = policies.filter_map(|entity| PolicyName::parse(&entity.name)).collect();
    names.sort_by_key(|name| catalogue.policies.get(name).is_some_and(|state| !state.is_restrictive));
    names.into_iter().map(|name| Action::Rows(Change::Drop(name))).collect()
}

/// What is claimed for the policies.
pub(super) fn entities(policies: &[RowPolicy]) -> impl Iterator<Item = (Entity, Class)> + '_ {
    policies.iter().map(|policy| (policy.name.entity(), Class::Reader))
}
