//! What a stack should have in ClickHouse. Pure: no client, no clock, no randomness.

use k8s_openapi::jiff::Timestamp;

use super::profile::{self, Hosts, Reader, Setting};
use super::quota::{self, Quota};
use super::right::{Right, Scope};
use super::rows::{self, Forms, RowPolicy};
use super::{Class, Entity, Owner};
use crate::names::ClickhouseNames;

/// Tables that the ingest writes; it reads none. Granted by name, so that the role can exist before the tables do.
pub(super) const INGEST_TABLES: [&str; 6] =
    ["events_data", "person_properties", "person_set_once", "person_facts", "links", "dead_letters"];

/// What a migration run may do in the stack's database.
const MIGRATE_PRIVILEGES: [&str; 13] = [
    "SHOW",
    "SELECT",
    "INSERT",
    "ALTER TABLE",
    "ALTER VIEW",
    "CREATE TABLE",
    "CREATE VIEW",
    "CREATE DICTIONARY",
    "DROP TABLE",
    "DROP VIEW",
    "DROP DICTIONARY",
    "TRUNCATE",
    "OPTIMIZE",
];

/// Table engines of the migrations: with `table_engines_require_grant`, as shipped with ClickHouse, each needs a right.
const MIGRATE_ENGINES: [&str; 6] = [
    "MergeTree",
    "ReplacingMergeTree",
    "AggregatingMergeTree",
    "ReplicatedMergeTree",
    "ReplicatedReplacingMergeTree",
    "ReplicatedAggregatingMergeTree",
];

/// SHA-256 of a password: of 32 random bytes, or of what the owner of a Secret wrote there. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PasswordHash([u8; 32]);

impl PasswordHash {
    /// Hashes a password.
    pub(crate) fn of(password: &str) -> Self {
        use sha2::Digest as _;
        Self(sha2::Sha256::digest(password.as_bytes()).into())
    }

    /// Hash of a password that nobody knows.
    pub(super) fn unknown() -> Self {
        Self(rand::random())
    }

    /// The hash as ClickHouse takes it.
    pub(super) fn hex(&self) -> String {
        hex::encode(self.0)
    }
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("PasswordHash")
    }
}

/// What the desired access is made from.
#[derive(Clone, Debug)]
pub(crate) struct DesiredRequest<'a> {
    /// The stack.
    pub(crate) owner: &'a Owner,
    /// Its names.
    pub(crate) names: &'a ClickhouseNames,
    /// The declared readers.
    pub(crate) readers: &'a [Reader],
    /// Every user that should exist now, retiring generations included.
    pub(crate) logins: &'a [Login],
    /// What ClickHouse makes of the readers' conditions.
    pub(crate) forms: &'a Forms,
}

/// A user that should exist.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    /// Its name in ClickHouse.
    pub(crate) user: String,
    /// What it is for.
    pub(crate) purpose: Purpose,
    /// Its passwords, the newest first; none leaves those of an existing user alone.
    pub(crate) passwords: Vec<Password>,
}

/// One of the passwords that a user may log in with.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Password {
    /// Its hash.
    pub(crate) hash: PasswordHash,
    /// When ClickHouse refuses it, where it ends.
    pub(crate) until: Option<Timestamp>,
}

impl Password {
    /// A password without an end.
    pub(crate) const fn endless(hash: PasswordHash) -> Self {
        Self { hash, until: None }
    }
}

// Of no use in a digest or in a log either.
impl std::fmt::Debug for Password {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Password")
    }
}

/// What a login is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The ingest pods.
    Ingest,
    /// One migration run.
    Migrate,
    /// The declared reader of that name.
    Reader(String),
}

/// Access of one stack as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Desired {
    /// Whose it is.
    pub(crate) owner: Owner,
    /// Its database.
    pub(crate) database: String,
    /// Roles with their rights.
    pub(crate) roles: Vec<Role>,
    /// Users, the definer first.
    pub(crate) users: Vec<User>,
    /// Row policies of the roles.
    pub(crate) policies: Vec<RowPolicy>,
    /// Quotas of the roles.
    pub(crate) quotas: Vec<Quota>,
}

/// A role as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Role {
    /// Its name.
    pub(crate) name: String,
    /// What it is for.
    pub(crate) class: Class,
    /// What it may do.
    pub(crate) rights: Vec<Right>,
}

/// A user as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    /// Its name.
    pub(crate) name: String,
    /// What it is for.
    pub(crate) class: Class,
    /// Where it may log in from.
    pub(crate) hosts: Hosts,
    /// Role that it holds; the definer holds none.
    pub(crate) role: Option<String>,
    /// Rights of its own; only the definer has them.
    pub(crate) rights: Vec<Right>,
    /// Its settings, exactly.
    pub(crate) settings: Vec<Setting>,
    /// Its passwords, the newest first; none at creation means one that nobody knows.
    pub(crate) passwords: Vec<Password>,
}

/// Builds the desired access of a stack.
pub(crate) fn desired(request: &DesiredRequest<'_>) -> Desired {
    let DesiredRequest { owner, names, readers, logins, forms } = request;
    let mut roles = vec![ingest_role(names), migrate_role(names)];
    roles.extend(readers.iter().map(|reader| reader_role(names, reader)));
    let mut users = vec![definer(names)];
    users.extend(logins.iter().map(|login| login_user(names, readers, login)));
    Desired {
        owner: (*owner).clone(),
        database: names.database.clone(),
        roles,
        users,
        policies: rows::desired(names, readers, forms),
        quotas: quota::desired(names, readers),
    }
}

impl Desired {
    /// Everything that must be owned, with its class, the database first.
    pub(super) fn entities(&self) -> Vec<(Entity, Class)> {
        let mut entities = vec![(Entity::database(&self.database), Class::Data)];
        entities.extend(self.roles.iter().map(|role| (Entity::role(&role.name), role.class)));
        entities.extend(self.users.iter().map(|user| (Entity::user(&user.name), user.class)));
        entities.extend(rows::entities(&self.policies));
        entities.extend(quota::entities(&self.quotas));
        entities
    }

    /// Digest of everything but passwords.
    pub(crate) fn digest(&self) -> String {
        use sha2::Digest as _;
        let Self { owner: _, database, roles, users, policies, quotas } = self;
        // Debug of a hash shows nothing of it.
        let mut text = format!("{database:?} {roles:?} {users:?}");
        // ClickHouse's own form of a condition is not what was asked for.
        text.extend(policies.iter().map(|policy| format!(" {} {:?}", policy.name, policy.condition)));
        text.extend(quotas.iter().map(|quota| format!(" {quota:?}")));
        hex::encode(&sha2::Sha256::digest(text)[..8])
    }

    /// Rights that a user must have before its login is published: its role's and its own.
    pub(crate) fn required(&self, user: &str) -> Vec<Right> {
        let Some(user) = self.users.iter().find(|candidate| candidate.name == user) else {
            return Vec::new();
        };
        let role = self.roles.iter().find(|role| Some(&role.name) == user.role.as_ref());
        let refused = role.map(|role| self.refused_rows(&role.name)).unwrap_or_default();
        let of_role = role.into_iter().flat_map(|role| role.rights.clone());
        of_role.filter(|right| !rows::is_on(right, &refused)).chain(user.rights.clone()).collect()
    }
}

fn ingest_role(names: &ClickhouseNames) -> Role {
    let table =
        |table: &&str| Right::new("INSERT", Scope::Table(names.database.clone(), (*table).to_owned()));
    Role {
        name: names.ingest_role(),
        class: Class::Ingest,
        rights: INGEST_TABLES.iter().map(table).collect(),
    }
}

fn migrate_role(names: &ClickhouseNames) -> Role {
    let mut rights = on_database(&MIGRATE_PRIVILEGES, names);
    rights.push(Right::new("SET DEFINER", Scope::Object(names.definer())));
    rights.extend(
        MIGRATE_ENGINES.iter().map(|engine| Right::new("TABLE ENGINE", Scope::Object((*engine).to_owned()))),
    );
    Role { name: names.migrate_role(), class: Class::Migrate, rights }
}

fn reader_role(names: &ClickhouseNames, reader: &Reader) -> Role {
    Role {
        name: names.reader_role(&reader.name),
        class: Class::Reader,
        rights: profile::rights(&reader.reads, &names.database),
    }
}

fn definer(names: &ClickhouseNames) -> User {
    User {
        name: names.definer(),
        class: Class::Definer,
        hosts: Hosts::None,
        role: None,
        rights: on_database(&["SELECT", "INSERT"], names),
        settings: Vec::new(),
        passwords: Vec::new(),
    }
}

fn login_user(names: &ClickhouseNames, readers: &[Reader], login: &Login) -> User {
    let (class, role) = match &login.purpose {
        Purpose::Ingest => (Class::Ingest, names.ingest_role()),
        Purpose::Migrate => (Class::Migrate, names.migrate_role()),
        Purpose::Reader(reader) => (Class::Reader, names.reader_role(reader)),
    };
    let reader = readers.iter().find(|reader| login.purpose == Purpose::Reader(reader.name.clone()));
    User {
        name: login.user.clone(),
        class,
        hosts: reader.map_or(Hosts::Any, |reader| reader.hosts.clone()),
        role: Some(role),
        rights: Vec::new(),
        settings: reader.map(|reader| reader.settings.clone()).unwrap_or_default(),
        passwords: login.passwords.clone(),
    }
}

fn on_database(privileges: &[&str], names: &ClickhouseNames) -> Vec<Right> {
    let right = |privilege: &&str| Right::new(privilege, Scope::Database(names.database.clone()));
    privileges.iter().map(right).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIGRATION: &str = concat!(
        include_str!("../../../ingest/migrations/0001_product.sql"),
        include_str!("../../../ingest/migrations/0002_dead_letters.sql")
    );

    #[test]
    fn the_ingest_may_write_exactly_the_tables_of_the_migrations() {
        let tables =
            MIGRATION.lines().filter_map(|line| line.strip_prefix("CREATE TABLE IF NOT EXISTS {database}."));
        let settles = |table: &&str| MIGRATION.contains(&format!("APPEND TO {{database}}.{table}\n"));
        let tables = tables.filter_map(|rest| rest.split(' ').next()).filter(|table| !settles(table));
        let tables: Vec<_> = tables.collect();
        assert_eq!(tables, INGEST_TABLES);
    }

    #[test]
    fn every_engine_of_the_migrations_may_be_used() {
        let engines = MIGRATION.split("{engine:").skip(1).filter_map(|rest| rest.split(['}', '(']).next());
        let missing: Vec<_> =
            engines.filter(|engine| !engine.contains('.') && !MIGRATE_ENGINES.contains(engine)).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
