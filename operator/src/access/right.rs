//! Rights and their canonical form, so that two ways to write the same grants compare equal.
//!
//! ClickHouse folds what it is given: it drops a right that a wider one covers, and shows groups (`ALTER TABLE`) in place
//! of their members wherever all of them are held. The canonical form goes the other way, down to the members, by the
//! server's own `system.privileges`, so that a new version's regrouping changes nothing here.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::quote::identifier;

/// One privilege on one thing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Right {
    /// ClickHouse's name of the privilege or of a group of privileges.
    pub(crate) privilege: String,
    /// Where it holds.
    pub(crate) scope: Scope,
}

/// Where a right holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Scope {
    /// Everywhere.
    Server,
    /// A database and all in it.
    Database(String),
    /// A table, which need not exist.
    Table(String, String),
    /// A column of a table.
    Column(String, String, String),
    /// Something outside databases, such as the user of `SET DEFINER`.
    Object(String),
}

impl Right {
    pub(crate) fn new(privilege: &str, scope: Scope) -> Self {
        Self { privilege: privilege.to_owned(), scope }
    }
}

impl Scope {
    /// Whether a right held here is also held there.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Server, _) => true,
            (
                Self::Database(own),
                Self::Database(database) | Self::Table(database, _) | Self::Column(database, ..),
            ) => own == database,
            (Self::Table(database, table), Self::Table(of, other) | Self::Column(of, other, _)) => {
                database == of && table == other
            }
            _ => self == other,
        }
    }

    /// Whether it is a table or a column of it.
    pub(crate) fn is_on(&self, database: &str, table: &str) -> bool {
        match self {
            Self::Table(own, other) | Self::Column(own, other, _) => own == database && other == table,
            Self::Server | Self::Database(_) | Self::Object(_) => false,
        }
    }

    /// The scope as it stands after ON.
    pub(crate) fn sql(&self) -> String {
        match self {
            Self::Server => "*.*".to_owned(),
            Self::Database(database) => format!("{}.*", identifier(database)),
            Self::Table(database, table) | Self::Column(database, table, _) => {
                format!("{}.{}", identifier(database), identifier(table))
            }
            Self::Object(name) => identifier(name),
        }
    }
}

/// Rights as they stand in GRANT and CHECK GRANT: one list for each scope.
pub(crate) fn rights_sql(rights: &[Right]) -> String {
    let mut by_scope: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for Right { privilege, scope } in rights {
        let privilege = match scope {
            Scope::Column(_, _, column) => format!("{privilege}({})", identifier(column)),
            Scope::Server | Scope::Database(_) | Scope::Table(..) | Scope::Object(_) => privilege.clone(),
        };
        by_scope.entry(scope.sql()).or_default().insert(privilege);
    }
    let lists = by_scope.iter().map(|(scope, privileges)| {
        let privileges: Vec<_> = privileges.iter().map(String::as_str).collect();
        format!("{} ON {scope}", privileges.join(", "))
    });
    lists.collect::<Vec<_>>().join(", ")
}

/// What `system.privileges` says: which privileges a group holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Privileges {
    members: BTreeMap<String, Vec<String>>,
    levels: BTreeMap<String, String>,
}

/// A row of `system.privileges`.
#[derive(Debug, Deserialize)]
pub(crate) struct PrivilegeRow {
    pub(crate) privilege: String,
    /// Narrowest thing that it can be granted on; groups have none.
    #[serde(default)]
    pub(crate) level: Option<String>,
    pub(crate) parent_group: Option<String>,
}

impl Privileges {
    pub(crate) fn new(rows: impl IntoIterator<Item = PrivilegeRow>) -> Self {
        let mut privileges = Self::default();
        for PrivilegeRow { privilege, level, parent_group } in rows {
            if let Some(level) = level {
                privileges.levels.insert(privilege.clone(), level);
            }
            if let Some(group) = parent_group {
                privileges.members.entry(group).or_default().push(privilege);
            }
        }
        privileges
    }

    /// The privileges that a name stands for; a privilege that is no group stands for itself.
    pub(crate) fn leaves(&self, privilege: &str) -> BTreeSet<String> {
        let mut leaves = BTreeSet::new();
        let mut open = vec![privilege.to_owned()];
        while let Some(name) = open.pop() {
            match self.members.get(&name) {
                Some(members) => open.extend(members.iter().cloned()),
                None => {
                    leaves.insert(name);
                }
            }
        }
        leaves
    }

    // Granting a group grants those members that can be held at that scope: SHOW on a table leaves SHOW DATABASES out.
    fn expand(&self, right: &Right) -> Vec<Right> {
        let fits = |leaf: &&String| **leaf == right.privilege || self.fits(leaf, &right.scope);
        let scope = || right.scope.clone();
        self.leaves(&right.privilege).iter().filter(fits).map(|leaf| Right::new(leaf, scope())).collect()
    }

    fn fits(&self, leaf: &str, scope: &Scope) -> bool {
        let Some(level) = self.levels.get(leaf) else { return true };
        match scope {
            Scope::Server | Scope::Object(_) => true,
            Scope::Database(_) => level != "GLOBAL",
            Scope::Table(..) => level != "GLOBAL" && level != "DATABASE",
            Scope::Column(..) => level == "COLUMN",
        }
    }
}

/// A row of `system.grants`, without the grantee. Columns that a version lacks read as empty.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct GrantRow {
    pub(crate) access_type: String,
    pub(crate) access_object: String,
    pub(crate) database: Option<String>,
    pub(crate) table: Option<String>,
    pub(crate) column: Option<String>,
    pub(crate) is_partial_revoke: u8,
    pub(crate) grant_option: u8,
    pub(crate) is_wildcard: u8,
}

/// Everything that one role or user is granted, in canonical form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Grants {
    pub(super) rights: BTreeSet<Right>,
    pub(super) denied: BTreeSet<Right>,
    // Grant options and wildcards: Weir never gives them, so they are surplus whatever they are on.
    pub(super) excess: bool,
}

impl Grants {
    /// Adds a row of `system.grants`.
    pub(crate) fn add(&mut self, row: &GrantRow, privileges: &Privileges) {
        if row.is_wildcard != 0 {
            self.excess = true;
            return;
        }
        self.excess |= row.grant_option != 0;
        let right = Right { privilege: row.access_type.clone(), scope: row.scope() };
        let set = if row.is_partial_revoke != 0 { &mut self.denied } else { &mut self.rights };
        set.extend(privileges.expand(&right));
    }

    /// Desired rights that are not, or not wholly, held. Granting them again also lifts partial revokes below them.
    pub(crate) fn missing(&self, desired: &[Right], privileges: &Privileges) -> Vec<Right> {
        desired
            .iter()
            .filter(|right| !privileges.expand(right).iter().all(|leaf| self.holds(leaf)))
            .cloned()
            .collect()
    }

    /// Whether anything is held that is not desired.
    pub(crate) fn has_surplus(&self, desired: &[Right], privileges: &Privileges) -> bool {
        self.excess || !self.surplus(desired, privileges).is_empty()
    }

    /// Rights that are held and not desired.
    pub(crate) fn surplus(&self, desired: &[Right], privileges: &Privileges) -> Vec<Right> {
        let wanted: BTreeSet<Right> = desired.iter().flat_map(|right| privileges.expand(right)).collect();
        let is_surplus = |held: &&Right| !wanted.iter().any(|right| covers(right, held));
        self.rights.iter().filter(is_surplus).cloned().collect()
    }

    // A denial counts against the wider right that it was cut out of, not against a narrower one granted inside it.
    fn holds(&self, right: &Right) -> bool {
        let cut = |held: &Right| {
            let touches = |denial: &&Right| covers(denial, right) || covers(right, denial);
            self.denied.iter().filter(touches).any(|denial| covers(held, denial))
        };
        self.rights.iter().any(|held| covers(held, right) && !cut(held))
    }
}

fn covers(wide: &Right, narrow: &Right) -> bool {
    wide.privilege == narrow.privilege && wide.scope.covers(&narrow.scope)
}

impl GrantRow {
    fn scope(&self) -> Scope {
        if !self.access_object.is_empty() {
            return Scope::Object(self.access_object.clone());
        }
        match (&self.database, &self.table, &self.column) {
            (Some(database), Some(table), Some(column)) => {
                Scope::Column(database.clone(), table.clone(), column.clone())
            }
            (Some(database), Some(table), None) => Scope::Table(database.clone(), table.clone()),
            (Some(database), None, _) => Scope::Database(database.clone()),
            (None, ..) => Scope::Server,
        }
    }
}
