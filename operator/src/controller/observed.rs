//! What `observe` found, as a value. A read that failed is a fault here, never an empty answer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use weir_crds::{AnalyticsStackStatus, ConditionType, Reason};

use super::child::{AppliedChild, ChildKey, Live};
use super::credential::{Highest, Use};
use super::stack::{Image, Stack};
use crate::access::Catalogue;

/// Something that a stack needs and that could not be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Condition that it belongs to.
    pub(crate) stage: ConditionType,
    /// What is in the way, as kind and name.
    pub(crate) object: String,
    /// Why.
    pub(crate) reason: Reason,
    /// What to do about it.
    pub(crate) hint: String,
}

impl Fault {
    /// A fault of a dependency.
    pub(crate) fn dependency(object: impl Into<String>, reason: Reason, hint: impl Into<String>) -> Self {
        Self { stage: ConditionType::DependenciesReady, object: object.into(), reason, hint: hint.into() }
    }
}

/// Everything that a pass knows about the world.
#[derive(Debug, Clone)]
pub(crate) struct Observed {
    /// When it was observed.
    pub(crate) now: Timestamp,
    /// Whether the stack carries the finalizer.
    pub(crate) has_finalizer: bool,
    /// Referenced Secrets that cannot be used.
    pub(crate) dependencies: Vec<Fault>,
    /// Image that the stack should run.
    pub(crate) image: Result<Image, Fault>,
    /// What ClickHouse holds.
    pub(crate) catalogue: Result<Arc<Catalogue>, Fault>,
    /// Secrets that the stack owns, by name.
    pub(crate) secrets: BTreeMap<String, Secret>,
    /// Children that the stack owns.
    pub(crate) live: BTreeMap<ChildKey, Live>,
    /// What this process applied, and what came back.
    pub(crate) applied: BTreeMap<ChildKey, AppliedChild>,
    /// The ingest Deployment.
    pub(crate) deployment: Option<Deployment>,
    /// Migration Jobs, by name.
    pub(crate) jobs: BTreeMap<String, Job>,
    /// Last words of failed migration Jobs, by name.
    pub(crate) job_messages: BTreeMap<String, String>,
    /// Users whose login was proven lately.
    pub(crate) proven: BTreeSet<String>,
    /// Users whose login was refused when it was last tried.
    pub(crate) refused: BTreeSet<String>,
    /// Status before the pass.
    pub(crate) status: AnalyticsStackStatus,
}

/// How a Job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JobState {
    Absent,
    Running,
    Succeeded,
    Failed,
}

impl Observed {
    /// How the Job of this name stands.
    pub(crate) fn job_state(&self, name: &str) -> JobState {
        let Some(job) = self.jobs.get(name) else { return JobState::Absent };
        job_state(job)
    }

    /// Whether the database is known to be migrated for an image. What status remembers is about the endpoints that the
    /// pods use; others may be another ClickHouse, as soon as one answers there.
    pub(crate) fn is_migrated(&self, stack: &Stack, image: &Image) -> bool {
        let job = super::desired::migration::name(stack, &stack.run(image));
        let is_remembered = self.recorded_digest() == Some(image.digest());
        let is_elsewhere = self.catalogue.is_ok() && self.has_moved(stack);
        self.job_state(&job) == JobState::Succeeded || (is_remembered && !is_elsewhere)
    }

    /// Whether a database that was migrated, or is being migrated, is gone: dropped, or the server was restored without it.
    pub(crate) fn has_lost_database(&self, stack: &Stack) -> bool {
        let is_known = self.recorded_digest().is_some() || !self.jobs.is_empty();
        let database = &stack.clickhouse.names.database;
        is_known && self.catalogue.as_ref().is_ok_and(|catalogue| !catalogue.databases.contains(database))
    }

    /// Whether the pods were made for other endpoints than the spec names now.
    pub(crate) fn has_moved(&self, stack: &Stack) -> bool {
        self.pod_endpoints().is_some_and(|endpoints| endpoints != stack.endpoint_list())
    }

    /// Comma list of the endpoints that the pods were made for.
    pub(crate) fn pod_endpoints(&self) -> Option<&str> {
        let pod = self.deployment.as_ref()?.spec.as_ref()?.template.spec.as_ref()?;
        let variables = pod.containers.iter().flat_map(|container| container.env.iter().flatten());
        let mut endpoints = variables.filter(|variable| variable.name == "CLICKHOUSE_URL");
        endpoints.next()?.value.as_deref()
    }

    /// Digest whose migrations status remembers.
    pub(crate) fn recorded_digest(&self) -> Option<&str> {
        self.status.schema.as_ref()?.digest.as_deref()
    }

    /// Pods that serve now.
    pub(crate) fn available_pods(&self) -> i32 {
        self.deployment
            .as_ref()
            .and_then(|deployment| deployment.status.as_ref()?.available_replicas)
            .unwrap_or(0)
    }
}

/// How a Job stands.
pub(crate) fn job_state(job: &Job) -> JobState {
    let conditions = job.status.as_ref().and_then(|status| status.conditions.as_ref());
    let is = |type_: &str| {
        conditions
            .into_iter()
            .flatten()
            .any(|condition| condition.type_ == type_ && condition.status == "True")
    };
    match (is("Complete"), is("Failed")) {
        (true, _) => JobState::Succeeded,
        (false, true) => JobState::Failed,
        (false, false) => JobState::Running,
    }
}

/// Where generations were seen: in ClickHouse, and in status.
#[derive(Debug)]
pub(crate) struct Generations<'a> {
    /// The stack.
    pub(crate) stack: &'a Stack,
    /// What was observed.
    pub(crate) observed: &'a Observed,
}

impl Generations<'_> {
    fn in_catalogue(&self, role: &str) -> i64 {
        let Ok(catalogue) = &self.observed.catalogue else { return 0 };
        let prefix = format!("{role}_g");
        let generation = |user: &String| user.strip_prefix(&prefix)?.parse::<i64>().ok();
        catalogue.users.keys().filter_map(generation).max().unwrap_or(0)
    }
}

impl Highest for Generations<'_> {
    fn highest(&self, purpose: &Use) -> i64 {
        let names = &self.stack.clickhouse.names;
        let status = &self.observed.status;
        let in_status = |list: &[weir_crds::CredentialStatus], name: &str| {
            list.iter().find(|entry| entry.name == name).map_or(0, |entry| entry.generation)
        };
        match purpose {
            Use::Ingest => self.in_catalogue(&names.ingest_role()),
            Use::Migrate(_) => 0,
            Use::Reader(reader) => {
                self.in_catalogue(&names.reader_role(reader)).max(in_status(&status.users, reader))
            }
            Use::Key(name, _) => in_status(&status.keys, name),
        }
    }
}
