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
use super::credential::{self, Credential, Highest, Use};
use super::stack::{Image, Stack};
use crate::access;

/// Everything that should exist for a stack.
#[derive(Debug)]
pub(crate) struct Desired {
    /// Databases, roles and users in ClickHouse.
    pub(crate) access: access::Desired,
    /// Credentials, each at its step.
    pub(crate) credentials: Vec<Credential>,
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
pub(crate) struct Inputs<'a, H> {
    /// The stack.
    pub(crate) stack: &'a Stack,
    /// Whose access it is.
    pub(crate) owner: &'a access::Owner,
    /// Secrets that the stack owns.
    pub(crate) secrets: &'a BTreeMap<String, Secret>,
    /// Generations seen before.
    pub(crate) highest: &'a H,
    /// Whether the database is migrated for the image.
    pub(crate) migrated: bool,
    /// Users of older generations that something may still log in with.
    pub(crate) retiring: &'a [access::Login],
}

/// Builds everything that should exist.
pub(crate) fn desired<H: Highest>(inputs: &Inputs<'_, H>) -> Desired {
    let stack = inputs.stack;
    let credentials = credential::credentials(stack, inputs.secrets, inputs.highest);
    let migration = match &stack.image {
        Some(image) if !inputs.migrated => Some(migration_run(stack, image, inputs.secrets)),
        Some(_) | None => None,
    };
    let keys = Child::Secret(Box::new(secret::hashed_keys(stack, &credentials)));
    let ca = secret::ca_bundle(stack).map(|secret| Child::Secret(Box::new(secret)));
    let mut surroundings = vec![
        Child::ServiceAccount(Box::new(ingest::service_account(stack))),
        Child::Service(Box::new(ingest::service(stack))),
        Child::NetworkPolicy(Box::new(network::network_policy(stack, &[]))),
    ];
    surroundings
        .extend(ingest::disruption_budget(stack).map(|budget| Child::PodDisruptionBudget(Box::new(budget))));
    Desired {
        access: access(inputs, &credentials, migration.as_ref()),
        config: ca.into_iter().chain([keys]).collect(),
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

fn access<H>(
    inputs: &Inputs<'_, H>,
    credentials: &[Credential],
    migration: Option<&Migration>,
) -> access::Desired {
    let stack = inputs.stack;
    let readers: Vec<_> = stack.readers.iter().map(|reader| reader.name.clone()).collect();
    let run = migration.map(|migration| &migration.credential);
    let mut logins: Vec<_> =
        credentials.iter().chain(run).filter_map(|credential| login(stack, credential)).collect();
    logins.extend(inputs.retiring.iter().cloned());
    access::desired(&access::DesiredRequest {
        owner: inputs.owner,
        names: &stack.clickhouse.names,
        readers: &readers,
        logins: &logins,
    })
}

fn login(stack: &Stack, credential: &Credential) -> Option<access::Login> {
    let purpose = match &credential.purpose {
        Use::Ingest => access::Purpose::Ingest,
        Use::Migrate(_) => access::Purpose::Migrate,
        Use::Reader(reader) => access::Purpose::Reader(reader.clone()),
        Use::Key(..) => return None,
    };
    let password = access::PasswordHash::of(credential.value()?.secret.expose_secret());
    Some(access::Login { user: credential.user(stack)?, purpose, password: Some(password) })
}
