//! What ClickHouse holds, asked when something changed and otherwise at least once in a drift period.

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt as _;
use tokio::time::Instant;
use weir_crds::{AnalyticsStack, ConditionType, Reason};

use super::dependencies::Dependencies;
use crate::access::{Catalogue, Freshness};
use crate::clickhouse::{Comment, Connection, ConnectionSettings, Error};
use crate::controller::Context;
use crate::controller::memory::Memory;
use crate::controller::observed::{Fault, Observed};
use crate::controller::validate::{Found, Invalid, Rules, addresses, validate};

/// Time that one statement may take.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(15);
/// Age that a read may have for a stack that is new or was edited.
const RECENT: Duration = Duration::from_secs(5);

/// The fault that an error of ClickHouse stands for.
pub(crate) fn fault(stage: ConditionType, error: &Error) -> Fault {
    let object = format!("ClickHouse/{}", error.endpoint);
    Fault { stage, object, reason: error.reason(), hint: error.hint() }
}

/// The same for a statement of the administrator: a refused login names its Secret.
pub(super) fn administrator_fault(stack: &AnalyticsStack, error: &Error) -> Fault {
    let mut fault = fault(ConditionType::DependenciesReady, error);
    if fault.reason == Reason::ClickhouseAuthenticationFailed {
        let secret = &stack.spec.clickhouse.admin_secret_ref.name;
        fault.hint = format!(
            "it refused the administrator's login; check username and password in Secret/{secret}, which spec.clickhouse.adminSecretRef names"
        );
    }
    fault
}

/// Makes the connection, or takes the one that was made from the same Secrets. There is none to an address that the stack
/// may not name, whatever the pass is for.
pub(super) fn connect(
    stack: &AnalyticsStack,
    rules: &Rules,
    dependencies: &Dependencies,
    memory: &mut Memory,
) -> Result<Connection, Fault> {
    permitted(stack, rules)?;
    let admin = match &dependencies.admin {
        Ok(admin) => admin,
        Err(fault) => return last_connection(stack, memory).ok_or_else(|| fault.clone()),
    };
    let endpoints = addresses(stack);
    let generation = stack.metadata.generation.unwrap_or(0);
    let key = format!("{generation}|{}|{}|{:?}", endpoints.join(","), admin.version, dependencies.ca_pem);
    if let Some((_, connection)) = memory.connection.as_ref().filter(|(made_from, _)| *made_from == key) {
        return Ok(connection.clone());
    }
    let settings = ConnectionSettings {
        endpoints,
        ca_pem: dependencies.ca_pem.clone().map(String::into_bytes),
        timeout: STATEMENT_TIMEOUT,
        barred: Arc::clone(&rules.api_server_addresses),
    };
    let comment = Comment {
        stack: format!("{}/{}", stack.namespace().unwrap_or_default(), stack.name_any()),
        uid: stack.uid().unwrap_or_default(),
        generation,
        reason: if stack.metadata.deletion_timestamp.is_some() { "deletion" } else { "access" }.into(),
    };
    let connection = Connection::new(&settings, &admin.user, admin.password.clone(), &comment)
        .map_err(|error| fault(ConditionType::DependenciesReady, &error))?;
    memory.connection = Some((key, connection.clone()));
    memory.catalogue = None;
    memory.probe = None;
    Ok(connection)
}

/// A namespace that is deleted often loses the administrator's Secret before the stack; what it said is still known.
fn last_connection(stack: &AnalyticsStack, memory: &Memory) -> Option<Connection> {
    stack.metadata.deletion_timestamp.as_ref()?;
    memory.connection.as_ref().map(|(_, connection)| connection.clone())
}

/// Whether the spec's addresses may be connected to. Other problems of a spec do not keep a deletion from ClickHouse.
fn permitted(stack: &AnalyticsStack, rules: &Rules) -> Result<(), Fault> {
    let problems = validate(stack, rules, Found::default()).err().unwrap_or_default();
    match problems.into_iter().find(|problem| problem.field.starts_with("spec.clickhouse")) {
        Some(problem) => Err(Fault::dependency("spec", Invalid::REASON, problem.hint)),
        None => Ok(()),
    }
}

/// The catalogue, shared with every stack on the same server while nothing that this one depends on changed.
pub(super) async fn catalogue(
    ctx: &Context,
    stack: &AnalyticsStack,
    connection: &Connection,
    observed: &Observed,
    memory: &mut Memory,
) -> Result<Arc<Catalogue>, Fault> {
    let key = key(stack, observed);
    let is_asked_again = memory.catalogue.as_ref().is_some_and(|(asked_for, _)| *asked_for == key);
    let recent = Instant::now().checked_sub(RECENT).filter(|_| !is_asked_again);
    let freshness =
        Freshness { not_before: memory.changed.max(recent), lifetime: ctx.settings.jittered_drift() };
    let read = ctx.catalogues.read(connection, freshness).await;
    memory.catalogue = Some((key, read.expires));
    read.answer.map_err(|error| administrator_fault(stack, &error))
}

/// What the answer depends on besides time: the spec, the Secrets that hold credentials, and what is to be taken over.
fn key(stack: &AnalyticsStack, observed: &Observed) -> String {
    let secrets: Vec<_> = observed
        .secrets
        .values()
        .filter(|secret| secret.immutable == Some(true))
        .map(|secret| secret.uid().unwrap_or_default())
        .collect();
    // Whoever approves a preview knows what another stack wrote into the ledger just now.
    let adopt = stack.annotations().get("weir.dev/adopt").map_or("", String::as_str);
    format!("{}|{}|{adopt}", stack.metadata.generation.unwrap_or(0), secrets.join(","))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;

    use super::*;
    use crate::controller::fixture;
    use crate::controller::observe::dependencies::Admin;

    fn rules(allow_inline_clickhouse: bool) -> Rules {
        Rules { allow_inline_clickhouse, ..Rules::default() }
    }

    fn dependencies() -> Dependencies {
        let admin = Admin { user: "admin".into(), password: "password".into(), version: "uid/1".into() };
        Dependencies { admin: Ok(admin), ca_pem: None, ca_copy: None, pull: Vec::new(), faults: Vec::new() }
    }

    fn reason(connected: Result<Connection, Fault>) -> Option<Reason> {
        connected.err().map(|fault| fault.reason)
    }

    #[test]
    fn no_connection_is_made_to_an_address_that_the_stack_may_not_name() {
        let mut memory = Memory::default();
        let stack = fixture::stack();
        assert!(connect(&stack, &rules(true), &dependencies(), &mut memory).is_ok());
        let forbidden = connect(&stack, &rules(false), &dependencies(), &mut memory);
        assert_eq!(reason(forbidden), Some(Reason::InvalidSpec), "not even the one that is remembered");
        let mut link_local = fixture::stack();
        link_local.spec.clickhouse.endpoints = vec!["http://169.254.169.254:80".into()];
        let forbidden = connect(&link_local, &rules(true), &dependencies(), &mut memory);
        assert_eq!(reason(forbidden), Some(Reason::InvalidSpec));
    }

    #[test]
    fn a_problem_elsewhere_in_the_spec_does_not_keep_a_deletion_from_clickhouse() {
        let mut stack = fixture::stack();
        stack.spec.keys[0].secret_name = Some("store-ingest-keys".into());
        assert!(connect(&stack, &rules(true), &dependencies(), &mut Memory::default()).is_ok());
    }

    #[test]
    fn only_a_deletion_goes_on_without_the_administrators_secret() {
        let mut memory = Memory::default();
        let mut stack = fixture::stack();
        connect(&stack, &rules(true), &dependencies(), &mut memory).unwrap();
        let gone = Fault::dependency("Secret/db-admin", Reason::SecretNotFound, "create it");
        let without = Dependencies { admin: Err(gone), ..dependencies() };
        let refused = connect(&stack, &rules(true), &without, &mut memory);
        assert_eq!(reason(refused), Some(Reason::SecretNotFound));
        stack.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        stack.metadata.generation = Some(4);
        assert!(connect(&stack, &rules(true), &without, &mut memory).is_ok());
        let unknown = connect(&stack, &rules(true), &without, &mut Memory::default());
        assert_eq!(reason(unknown), Some(Reason::SecretNotFound));
    }
}
