//! What `observe` found, as a value. A read that failed is a fault here, never an empty answer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use weir_crds::{AnalyticsStackStatus, ConditionType, CredentialStep, Reason};

use super::child::{AppliedChild, ChildKey, ChildKind, Live};
use super::consumers::Consumers;
use super::credential::{Highest, Use};
use super::desired::metadata::ca_hash;
use super::desired::spool;
use super::pod_report::PodReport;
use super::rotation::Evidence;
use super::stack::{Image, Stack};
use super::supply::Supplied;
use super::workload::Workload;
use crate::access::{AdoptionRules, Catalogue, Forms, Owner};

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
    /// The stack as owner in ClickHouse.
    pub(crate) owner: Owner,
    /// Whether the stack carries the finalizer.
    pub(crate) has_finalizer: bool,
    /// Referenced Secrets that cannot be used.
    pub(crate) dependencies: Vec<Fault>,
    /// Image that the stack should run.
    pub(crate) image: Result<Image, Fault>,
    /// What ClickHouse holds.
    pub(crate) catalogue: Result<Arc<Catalogue>, Fault>,
    /// What ClickHouse makes of the conditions of the readers' rows.
    pub(crate) forms: Forms,
    /// Values that the owners of Secrets keep.
    pub(crate) supplied: Supplied,
    /// Secrets that the stack owns, by name.
    pub(crate) secrets: BTreeMap<String, Secret>,
    /// Children that the stack owns.
    pub(crate) live: BTreeMap<ChildKey, Live>,
    /// What this process applied, and what came back.
    pub(crate) applied: BTreeMap<ChildKey, AppliedChild>,
    /// What runs the ingest pods, by kind; both while one takes over from the other.
    pub(crate) workloads: BTreeMap<ChildKind, Workload>,
    /// What the ingest pods say while a rollout is not over.
    pub(crate) pods: PodReport,
    /// Migrations and drains, by name.
    pub(crate) jobs: BTreeMap<String, Job>,
    /// What the pods of Jobs say that do not run well, by name of the Job; none where that could not be read.
    pub(crate) job_reports: BTreeMap<String, PodReport>,
    /// Ordinals of spools whose claim is not there.
    pub(crate) lost_claims: BTreeSet<i32>,
    /// What the ingest pods say that they read.
    pub(crate) consumers: Consumers,
    /// Use of the old users that are about to go, by name.
    pub(crate) evidence: BTreeMap<String, Evidence>,
    /// What decides about taking over what is in the way of the stack.
    pub(crate) adoption: AdoptionRules,
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

    /// Whether pods were made for other endpoints than the spec names now.
    pub(crate) fn has_moved(&self, stack: &Stack) -> bool {
        let wanted = stack.endpoint_list();
        self.workloads.values().filter_map(Workload::endpoints).any(|endpoints| endpoints != wanted)
    }

    /// Endpoints that pods were made for.
    pub(crate) fn pod_endpoints(&self) -> impl Iterator<Item = &str> {
        self.workloads.values().filter_map(Workload::endpoints).flat_map(|list| list.split(','))
    }

    /// CA bundle that the pods are to trust: the one that ClickHouse was reached with. While it is not reached the pods
    /// keep what they have, so that a wrong bundle moves nobody and taking it back moves nobody either.
    pub(crate) fn ca_of_pods(&self, named: Option<String>, copy: Option<String>) -> Option<String> {
        let pods = self.workloads.values().next().filter(|_| self.catalogue.is_err());
        let Some(pods) = pods else { return named };
        let hash = pods.ca_hash()?;
        let is_theirs = |pem: &String| ca_hash(pem) == hash;
        // A copy that somebody edited is no longer theirs.
        copy.filter(is_theirs).or(named)
    }

    /// How many claims of the spool may hold events that ClickHouse does not have: those that status has noted or that
    /// pods have now, without those that were drained since, or that somebody deleted.
    pub(crate) fn spool_claims(&self, stack: &Stack) -> i32 {
        let used = self.used_claims().max(stack.spool_pods());
        let mut claims = self.noted_claims().max(self.used_claims());
        let is_empty = |ordinal| {
            let drain = spool::drain_name(stack, ordinal);
            self.job_state(&drain) == JobState::Succeeded || self.lost_claims.contains(&ordinal)
        };
        while claims > used && is_empty(claims - 1) {
            claims -= 1;
        }
        claims
    }

    /// Claims that status has noted.
    pub(crate) fn noted_claims(&self) -> i32 {
        self.status.spool.as_ref().map_or(0, |spool| spool.claims)
    }

    /// Claims that pods have now.
    pub(crate) fn used_claims(&self) -> i32 {
        self.workloads.get(&ChildKind::StatefulSet).map_or(0, |set| set.wanted.max(set.pods))
    }

    /// Digest whose migrations status remembers.
    pub(crate) fn recorded_digest(&self) -> Option<&str> {
        self.status.schema.as_ref()?.digest.as_deref()
    }

    /// Pods that are ready now.
    pub(crate) fn ready_pods(&self) -> i32 {
        self.workloads.values().map(|workload| workload.ready).sum()
    }

    /// Pods that serve now.
    pub(crate) fn available_pods(&self) -> i32 {
        self.workloads.values().map(|workload| workload.available).sum()
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

    fn revoked(&self, purpose: &Use) -> Option<i64> {
        let status = &self.observed.status;
        let (list, name) = match purpose {
            Use::Reader(name) => (&status.users, name),
            Use::Key(name, _) => (&status.keys, name),
            Use::Ingest | Use::Migrate(_) => return None,
        };
        let entry = list.iter().find(|entry| entry.name == *name)?;
        (entry.step == Some(CredentialStep::Revoked)).then_some(entry.generation)
    }
}
