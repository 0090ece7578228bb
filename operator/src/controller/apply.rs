//! Carries a plan out, step by step, and stops at the first that fails or must wait. The only place that writes.

mod child;
mod secret;
#[cfg(test)]
mod tests;

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use weir_crds::{AnalyticsStack, ConditionType, FINALIZER, Reason, SchemaStatus};

use super::Context;
use super::child::Child;
use super::consumers::TOLD;
use super::desired::metadata::{EXPIRES_AT, PUBLISHED_AT};
use super::memory::Memory;
use super::observe::{fault, now};
use super::plan::order;
use super::plan::{Action, Hold, Plan, Proof, Step};
use crate::access::{self, Owner};
use crate::clickhouse::Connection;
use crate::kubernetes;
use crate::quote::identifier;

/// Time that proving one login may take on all endpoints.
const PROOF_TIMEOUT: Duration = Duration::from_secs(30);

/// What a plan came to.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    /// How many steps were done.
    pub(crate) done: usize,
    /// What is waited for, failures included.
    pub(crate) holds: Vec<Hold>,
    /// Version of the schema, when it was read.
    pub(crate) schema: Option<SchemaStatus>,
    /// Whether the stack was let go.
    pub(crate) released: bool,
}

/// What the steps work with.
#[derive(Debug)]
pub(crate) struct Tools<'a> {
    /// Shared handles.
    pub(crate) ctx: &'a Context,
    /// The stack as it was read.
    pub(crate) stack: &'a AnalyticsStack,
    /// Namespace of the stack.
    pub(crate) namespace: &'a str,
    /// Name of the stack.
    pub(crate) name: &'a str,
    /// Checked stack; none while it is deleted.
    pub(crate) checked: Option<&'a super::stack::Stack>,
    /// Whose access it is.
    pub(crate) owner: &'a Owner,
    /// Administrator's connection, where there is one.
    pub(crate) connection: Option<&'a Connection>,
}

/// A step that did not work out.
#[derive(Debug)]
pub(super) enum Failure {
    /// Kubernetes refused or did not answer.
    Kubernetes(kubernetes::Error),
    /// ClickHouse refused or did not answer.
    Access(Box<access::Error>),
    /// Anything that is a wait by itself.
    Hold(Hold),
}

impl From<kubernetes::Error> for Failure {
    fn from(error: kubernetes::Error) -> Self {
        Self::Kubernetes(error)
    }
}

/// Carries a plan out.
pub(crate) async fn apply(tools: &Tools<'_>, plan: Plan, memory: &mut Memory) -> Applied {
    let mut applied = Applied::default();
    if let Err(out_of_order) = order::check(&plan) {
        let hold = out_of_order.hold();
        tracing::error!(hint = %hold.hint, "a plan is out of order");
        applied.holds.push(hold);
        return applied;
    }
    for step in plan.steps {
        let (stage, action) = match step {
            Step::Hold(hold) if hold.blocks => {
                applied.holds.push(hold);
                return applied;
            }
            Step::Hold(hold) => {
                applied.holds.push(hold);
                continue;
            }
            Step::Do(stage, action) => (stage, action),
        };
        tools.ctx.metrics.action(action.kind());
        match act(tools, &action, memory, &mut applied).await {
            Ok(()) => applied.done += 1,
            Err(failure) => {
                applied.holds.push(hold(stage, &action, failure));
                return applied;
            }
        }
    }
    applied
}

async fn act(
    tools: &Tools<'_>,
    action: &Action,
    memory: &mut Memory,
    applied: &mut Applied,
) -> Result<(), Failure> {
    let client = &tools.ctx.client;
    match action {
        Action::AddFinalizer => finalizer(tools, true).await,
        Action::RemoveFinalizer => {
            finalizer(tools, false).await?;
            applied.released = true;
            Ok(())
        }
        Action::Access(action) => {
            // Before, since the pass may be given up, and after, since others may read meanwhile.
            memory.distrust_catalogue();
            let applied = access::apply(connection(tools)?, tools.owner, action).await;
            memory.distrust_catalogue();
            if let access::Action::Adopt(takeover) = action {
                memory.doubt_logins(takeover.users());
            }
            applied.map_err(|error| Failure::Access(Box::new(error)))
        }
        Action::Generate(generate) => secret::generate(tools, generate).await,
        Action::Create(child) => secret::create(tools, child).await,
        Action::Prove(proof) => prove(tools, proof, memory).await,
        Action::Tell(pods, what) => tell(tools, pods, what).await,
        Action::MarkPublished { secret, .. } => secret::mark(tools, secret, PUBLISHED_AT, now()).await,
        Action::MarkExpiry(secret, until) => secret::mark(tools, secret, EXPIRES_AT, *until).await,
        Action::RecordMigration(proof) => {
            applied.schema = Some(record_migration(tools, proof.as_ref()).await?);
            Ok(())
        }
        Action::Apply(child) => child::apply(tools, child, memory).await,
        Action::Delete(key, uid) => {
            memory.applied.remove(key);
            Ok(child::delete(client, tools.namespace, key, uid).await?)
        }
        Action::DeletePods(key, uid) => Ok(child::delete_pods(client, tools.namespace, key, uid).await?),
    }
}

fn connection<'a>(tools: &Tools<'a>) -> Result<&'a Connection, Failure> {
    tools.connection.ok_or_else(|| {
        Failure::Hold(Hold {
            stage: ConditionType::DependenciesReady,
            object: "ClickHouse".into(),
            reason: Reason::ClickhouseUnreachable,
            hint: "there is no connection to it".into(),
            blocks: true,
            until: None,
        })
    })
}

/// Adds or removes the finalizer. The test makes the write fail when the list changed meanwhile; a resourceVersion would
/// also make it fail when only status did.
async fn finalizer(tools: &Tools<'_>, wanted: bool) -> Result<(), Failure> {
    const PATH: &str = "/metadata/finalizers";
    let current = &tools.stack.metadata.finalizers;
    let mut next = current.clone().unwrap_or_default();
    next.retain(|finalizer| finalizer != FINALIZER);
    if wanted {
        next.push(FINALIZER.into());
    }
    // A test for null passes where the list is absent.
    let patch = json!([
        { "op": "test", "path": PATH, "value": current },
        { "op": "add", "path": PATH, "value": next },
    ]);
    let client = &tools.ctx.client;
    match kubernetes::patch_json::<AnalyticsStack>(client, tools.namespace, tools.name, patch).await {
        Ok(()) => Ok(()),
        Err(error) if !wanted && error.code() == Some(404) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Changes an annotation of pods. One that is gone meanwhile needs to be told nothing.
async fn tell(tools: &Tools<'_>, pods: &[String], what: &str) -> Result<(), Failure> {
    let patch = json!({ "metadata": { "annotations": { TOLD: what } } });
    for pod in pods {
        match kubernetes::merge::<Pod>(&tools.ctx.client, tools.namespace, pod, &patch).await {
            Ok(_) => {}
            Err(error) if error.code() == Some(404) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

async fn prove(tools: &Tools<'_>, proof: &Proof, memory: &mut Memory) -> Result<(), Failure> {
    let attempt = access::prove(connection(tools)?, &proof.user, &proof.password, &proof.required);
    let proven = match tokio::time::timeout(PROOF_TIMEOUT, attempt).await {
        Ok(proven) => proven,
        Err(_elapsed) => {
            return Err(Failure::Hold(Hold {
                stage: ConditionType::CredentialsReady,
                object: format!("ClickHouse/user {}", proof.user),
                reason: Reason::ClickhouseUnreachable,
                hint: "the login could not be tried in time".into(),
                blocks: true,
                until: None,
            }));
        }
    };
    match proven {
        Ok(()) => {
            memory.refused.remove(&proof.user);
            memory.proven.insert(proof.user.clone(), tokio::time::Instant::now());
            Ok(())
        }
        Err(error) => {
            memory.proven.remove(&proof.user);
            if error.reason() == Reason::LoginNotProven {
                memory.refused.insert(proof.user.clone());
            }
            Err(Failure::Access(Box::new(error)))
        }
    }
}

/// The version is read as the migration's own user, who alone may read the migration's ledger. It is for people: a
/// migration that the Job calls done is done without it.
async fn record_migration(tools: &Tools<'_>, proof: Option<&Proof>) -> Result<SchemaStatus, Failure> {
    let Some(stack) = tools.checked else { return Ok(SchemaStatus::default()) };
    let digest = stack.image.as_ref().map(|image| image.digest().to_owned());
    let known = tools.stack.status.as_ref().and_then(|status| status.schema.as_ref()?.version);
    let version = match proof {
        Some(proof) => read_version(tools, proof, &stack.clickhouse.names.database).await?,
        None => None,
    };
    Ok(SchemaStatus { version: version.or(known), digest })
}

async fn read_version(tools: &Tools<'_>, proof: &Proof, database: &str) -> Result<Option<i64>, Failure> {
    let query = format!("SELECT max(version) FROM {}.schema_migrations", identifier(database));
    let login = connection(tools)?.with_login(&proof.user, proof.password.clone());
    match login.value(&query).await {
        Ok(version) => Ok(version.parse().ok()),
        Err(error) if error.is_transient() => {
            let fault = fault(ConditionType::SchemaReady, &error);
            Err(Failure::Hold(Hold::from_fault(&fault, true)))
        }
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "failed to read the schema version");
            Ok(None)
        }
    }
}

fn hold(stage: ConditionType, action: &Action, failure: Failure) -> Hold {
    let built =
        |reason, hint| Hold { stage, object: object(action), reason, hint, blocks: true, until: None };
    match failure {
        Failure::Hold(hold) => hold,
        Failure::Access(error) => {
            tracing::warn!(error = &*error as &dyn std::error::Error, %action, "a step failed");
            built(error.reason(), format!("{}; the step was: {action}", error.hint()))
        }
        Failure::Kubernetes(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, %action, "a step failed");
            let Some(refusal) = error.refusal() else {
                return built(
                    Reason::ApplyFailed,
                    format!("the API server did not {action}; it is tried again"),
                );
            };
            let refused = format!("the API server refused to {action} ({refusal})");
            if error.code() == Some(422) && passes_fields_through(action) {
                return built(
                    Reason::InvalidSpec,
                    format!("{refused}; mend the fields of the stack's spec that these are made from"),
                );
            }
            built(Reason::ApplyFailed, format!("{refused}; see the operator's log"))
        }
    }
}

/// Whether an action sends fields that the spec holds unchecked, so that a refusal lasts until somebody edits it. A Secret
/// has none.
const fn passes_fields_through(action: &Action) -> bool {
    matches!(action, Action::Apply(child) if !matches!(child, Child::Secret(_)))
}

/// Kind and name of what an action changes; the action itself is for the hint.
fn object(action: &Action) -> String {
    match action {
        Action::AddFinalizer | Action::RemoveFinalizer | Action::RecordMigration(_) => {
            "AnalyticsStack".into()
        }
        Action::Access(action) => format!("ClickHouse/{}", changed(action)),
        Action::Generate(generate) => format!("Secret/{}", generate.secret),
        Action::Prove(proof) => format!("ClickHouse/user {}", proof.user),
        Action::Tell(pods, _) => format!("Pod/{}", pods.first().map_or("", String::as_str)),
        Action::MarkPublished { secret, .. } | Action::MarkExpiry(secret, _) => format!("Secret/{secret}"),
        Action::Create(child) | Action::Apply(child) => child.key().to_string(),
        Action::Delete(key, _) | Action::DeletePods(key, _) => key.to_string(),
    }
}

fn changed(action: &access::Action) -> String {
    action.target().map_or_else(|| "ownership ledger".into(), |entity| entity.to_string())
}
