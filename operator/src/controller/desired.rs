//! From a checked stack to everything that should exist. Pure, and it cannot fail.

mod environment;
pub(crate) mod ingest;
pub(crate) mod metadata;
pub(crate) mod migration;
pub(crate) mod network;
mod pod;
pub(crate) mod secret;
pub(crate) mod spool;
#[cfg(test)]
mod tests;
pub(crate) mod workload;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use secrecy::ExposeSecret as _;

use super::child::Child;
use super::credential::{self, Credential, Origin, Use, Value};
use super::rotation::{self, Retirement, Retirements};
use super::stack::{Image, Stack};
use crate::access;
use secret::HashedKeys;

/// Everything that should exist for a stack.
#[derive(Debug)]
pub(crate) struct Desired {
    /// Databases, roles and users in ClickHouse.
    pub(crate) access: access::Desired,
    /// Credentials, each at its step.
    pub(crate) credentials: Vec<Credential>,
    /// What becomes of old generations.
    pub(crate) retirements: Retirements,
    /// Keys that the pods should accept.
    pub(crate) keys: HashedKeys,
    /// Secrets that the pods mount, besides logins.
    pub(crate) config: Vec<Child>,
    /// Migration of the image, unless it is done or the image is unknown.
    pub(crate) migration: Option<Migration>,
    /// Children of the pods that need no image.
    pub(crate) surroundings: Vec<Child>,
    /// What runs the pods, once the image is known.
    pub(crate) workload: Option<Child>,
}

/// One migration run.
#[derive(Debug)]
pub(crate) struct Migration {
    /// Its credential.
    pub(crate) credential: Credential,
    /// Its Job.
    pub(crate) job: Child,
}

/// What the desired state is made from.
#[derive(Debug)]
pub(crate) struct Inputs<'a> {
    /// The stack.
    pub(crate) stack: &'a Stack,
    /// Whose access it is.
    pub(crate) owner: &'a access::Owner,
    /// Secrets that the stack owns.
    pub(crate) secrets: &'a BTreeMap<String, Secret>,
    /// Credentials, each at its step.
    pub(crate) credentials: Vec<Credential>,
    /// Whether the database is migrated for the image.
    pub(crate) migrated: bool,
    /// What becomes of old generations.
    pub(crate) retirements: Retirements,
    /// What ClickHouse makes of the readers' conditions.
    pub(crate) forms: &'a access::Forms,
}

/// Builds everything that should exist.
pub(crate) fn desired(inputs: Inputs<'_>) -> Desired {
    let Inputs { stack, owner, secrets, credentials, migrated, retirements, forms } = inputs;
    let migration = match &stack.image {
        Some(image) if !migrated => Some(migration_run(stack, image, secrets)),
        Some(_) | None => None,
    };
    let keys = secret::hashed_keys(stack, &credentials, &retirements);
    let keys_file = Child::Secret(Box::new(secret::keys_file(stack, &keys)));
    let ca = secret::ca_bundle(stack).map(|secret| Child::Secret(Box::new(secret)));
    let mut surroundings = vec![
        Child::ServiceAccount(Box::new(ingest::service_account(stack))),
        Child::Service(Box::new(ingest::service(stack))),
        Child::NetworkPolicy(Box::new(network::network_policy(stack, &[]))),
    ];
    surroundings
        .extend(ingest::disruption_budget(stack).map(|budget| Child::PodDisruptionBudget(Box::new(budget))));
    Desired {
        access: access(stack, (owner, forms), (&credentials, &retirements), migration.as_ref()),
        retirements,
        keys,
        config: ca.into_iter().chain([keys_file]).collect(),
        workload: stack.image.as_ref().map(|image| workload::workload(stack, image)),
        credentials,
        migration,
        surroundings,
    }
}

fn migration_run(stack: &Stack, image: &Image, secrets: &BTreeMap<String, Secret>) -> Migration {
    let credential = credential::migration(stack, &stack.run(image), secrets);
    Migration { credential, job: Child::Job(Box::new(migration::job(stack, image))) }
}

fn access(
    stack: &Stack,
    (owner, forms): (&access::Owner, &access::Forms),
    (credentials, retirements): (&[Credential], &Retirements),
    migration: Option<&Migration>,
) -> access::Desired {
    let readers: Vec<_> = stack.readers.iter().map(|reader| reader.access.clone()).collect();
    let run = migration.map(|migration| &migration.credential);
    let mut logins = Vec::new();
    for credential in credentials.iter().chain(run) {
        logins.extend(credential_logins(stack, credential, retirements));
    }
    access::desired(&access::DesiredRequest {
        owner,
        names: &stack.clickhouse.names,
        readers: &readers,
        logins: &logins,
        forms,
    })
}

/// A user for each generation that still counts, and one for all passwords that a Secret's owner wrote. The password of an
/// old generated one is not set again: whoever has it keeps it.
fn credential_logins(
    stack: &Stack,
    credential: &Credential,
    retirements: &Retirements,
) -> Vec<access::Login> {
    let purpose = match &credential.purpose {
        Use::Ingest => access::Purpose::Ingest,
        Use::Migrate(_) => access::Purpose::Migrate,
        Use::Reader(reader) => access::Purpose::Reader(reader.clone()),
        Use::Key(..) => return Vec::new(),
    };
    let login = |generation: i64, passwords: Vec<access::Password>| {
        let user = credential.user_of(stack, generation)?;
        Some(access::Login { user, purpose: purpose.clone(), passwords })
    };
    let current = rotation::current(credential).map(|value| value.generation);
    let is_generated = |value: &&Value| value.origin == Origin::Generated;
    let serves = |value: &&Value| Some(value.generation) == current;
    let newest = credential.value();
    let serving = credential.older.iter().filter(serves).chain(newest).filter(is_generated);
    let mut logins: Vec<_> = serving
        .filter_map(|value| login(value.generation, vec![access::Password::endless(hash(value))]))
        .collect();
    let is_other = |generation: i64| {
        credential.generations().any(|value| value.generation == generation && !is_generated(&value))
    };
    let old = retirements.of(credential).iter().filter(|(_, retirement)| **retirement != Retirement::Gone);
    let old = old.map(|(generation, _)| *generation).filter(|generation| !is_other(*generation));
    logins.extend(old.filter_map(|generation| login(generation, Vec::new())));
    let (newest, passwords) = supplied_passwords(stack, credential, retirements);
    logins.extend(newest.and_then(|generation| login(generation, passwords)));
    logins
}

/// The passwords that a Secret's owner wrote and that still count, the newest first, each with the end that it has. A value
/// that was written a second time is one password.
fn supplied_passwords(
    stack: &Stack,
    credential: &Credential,
    retirements: &Retirements,
) -> (Option<i64>, Vec<access::Password>) {
    let counts =
        |value: &&Value| value.origin == Origin::Supplied && retirements.keeps(credential, value.generation);
    let mut values: Vec<_> = credential.generations().filter(counts).collect();
    values.reverse();
    let mut passwords: Vec<access::Password> = Vec::new();
    for value in &values {
        let hash = hash(value);
        let policy = rotation::policy(stack, credential);
        let until = policy.and_then(|policy| rotation::cap_of(credential, value.generation, policy));
        if !passwords.iter().any(|known| known.hash == hash) {
            passwords.push(access::Password { hash, until });
        }
    }
    (values.first().map(|value| value.generation), passwords)
}

fn hash(value: &Value) -> access::PasswordHash {
    access::PasswordHash::of(value.secret.expose_secret())
}
