//! Reads what a pass needs: children from the watches, referenced Secrets, the registry and ClickHouse.

mod adoption;
mod clickhouse;
mod consumers;
mod dependencies;
mod evidence;
mod image;
mod pods;
mod rows;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::{Timestamp, ToSpan as _};
use kube::ResourceExt as _;
use weir_crds::{AnalyticsStack, AnalyticsStackStatus, FINALIZER};

use super::Context;
use super::child::{ChildKey, Live, Version};
use super::credential::text;
use super::desired::metadata::GENERATION;
use super::memory::Memory;
use super::observed::Observed;
use super::pod_report::PodReport;
use super::workload::Workload;
use crate::access::{AdoptionRules, Forms};
pub(crate) use clickhouse::fault;
pub(crate) use image::{Images, interval_seconds};

/// What was observed, with what only `apply` may use.
#[derive(Debug)]
pub(crate) struct Observation {
    /// The value that the pure steps see.
    pub(crate) observed: Observed,
    /// CA bundle of ClickHouse that the pods are to trust.
    pub(crate) ca_pem: Option<String>,
    /// Image to run: the resolved one, or the last one while the lookup fails.
    pub(crate) image: Option<super::stack::Image>,
    /// Connection to ClickHouse, where the Secrets allow one.
    pub(crate) connection: Option<crate::clickhouse::Connection>,
}

/// A moment as Kubernetes writes it: without fractions of a second.
pub(crate) fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// Observes everything; what cannot be read is a fault in the value.
pub(crate) async fn observe(
    ctx: &Context,
    stack: &AnalyticsStack,
    status: &AnalyticsStackStatus,
    memory: &mut Memory,
) -> Observation {
    let now = now();
    let mut observed = children(ctx, stack, status, memory, now);
    pods::read(ctx, stack, &mut observed, memory).await;
    observed.consumers = consumers::ask(ctx, stack, &observed.secrets, !observed.workloads.is_empty()).await;
    let dependencies = dependencies::fetch(ctx, stack, &observed.secrets).await;
    observed.supplied = dependencies::supplied(ctx, stack).await;
    if stack.metadata.deletion_timestamp.is_none() {
        observed.image = image::resolve(ctx, stack, &observed.status, &dependencies, now).await;
    }
    let image = observed.image.clone().ok().or_else(|| image::last(stack, &observed.status));
    let connection = clickhouse::connect(stack, &ctx.settings.rules, &dependencies, memory);
    observed.catalogue = match &connection {
        Ok(connection) => clickhouse::catalogue(ctx, stack, connection, &observed, memory).await,
        Err(fault) => Err(fault.clone()),
    };
    if let Ok(connection) = &connection
        && let Ok(catalogue) = observed.catalogue.clone()
    {
        if stack.metadata.deletion_timestamp.is_none() {
            match rows::forms(stack, connection, &catalogue, memory).await {
                Ok(forms) => observed.forms = forms,
                Err(fault) => observed.catalogue = Err(fault),
            }
        }
        observed.evidence = evidence::evidence(ctx, stack, connection, &observed).await;
        match adoption::fixed(ctx, stack, connection, &observed, memory).await {
            Ok(fixed) => observed.adoption.fixed = fixed,
            Err(fault) => observed.catalogue = Err(fault),
        }
    }
    observed.dependencies = dependencies.faults;
    let ca_pem = observed.ca_of_pods(dependencies.ca_pem, dependencies.ca_copy);
    Observation { observed, ca_pem, image, connection: connection.ok() }
}

/// What the watches and the memory say, before anything is asked.
fn children(
    ctx: &Context,
    stack: &AnalyticsStack,
    status: &AnalyticsStackStatus,
    memory: &Memory,
    now: Timestamp,
) -> Observed {
    let namespace = stack.namespace().unwrap_or_default();
    let owned = ctx.stores.owned_by(&namespace, &stack.uid().unwrap_or_default());
    let mut live = BTreeMap::new();
    for (kind, metadata) in owned.metadata() {
        let key = ChildKey::new(kind, metadata.name.clone().unwrap_or_default());
        let uid = metadata.uid.clone().unwrap_or_default();
        live.insert(key, Live { uid, version: Version::of(metadata) });
    }
    let ingest = format!("{}-ingest", stack.name_any());
    let deployments = owned.deployments.iter().map(|found| Workload::from(&**found));
    let sets = owned.sets.iter().map(|found| Workload::from(&**found));
    let workloads = deployments.chain(sets).map(|workload| (workload.key.kind, workload));
    Observed {
        now,
        owner: super::owner(ctx, stack),
        has_finalizer: stack.finalizers().iter().any(|finalizer| finalizer == FINALIZER),
        dependencies: Vec::new(),
        image: Err(super::observed::Fault::dependency(
            "Image",
            weir_crds::Reason::Waiting,
            "not looked up yet",
        )),
        catalogue: Err(super::observed::Fault::dependency(
            "ClickHouse",
            weir_crds::Reason::Waiting,
            "not asked yet",
        )),
        forms: Forms::default(),
        supplied: BTreeMap::new(),
        secrets: owned.secrets.iter().map(|secret| (secret.name_any(), (**secret).clone())).collect(),
        workloads: workloads.filter(|(_, workload)| workload.key.name == ingest).collect(),
        pods: PodReport::default(),
        jobs: owned.jobs.iter().map(|job| (job.name_any(), (**job).clone())).collect(),
        job_reports: BTreeMap::new(),
        lost_claims: BTreeSet::new(),
        consumers: super::consumers::Consumers::Unasked,
        evidence: BTreeMap::new(),
        adoption: AdoptionRules { silence: silence(ctx), ..AdoptionRules::default() },
        live,
        applied: memory.applied.clone(),
        proven: memory.proven_users(published_users(&owned.secrets), tokio::time::Instant::now()),
        refused: memory.refused.clone(),
        status: status.clone(),
    }
}

/// An operator looks at ClickHouse once in its period, so an owner that lives answers well before three are over.
fn silence(ctx: &Context) -> i64 {
    i64::try_from(3 * ctx.settings.drift.as_secs()).unwrap_or(i64::MAX)
}

/// Users of the logins that are published.
fn published_users(secrets: &[Arc<Secret>]) -> impl Iterator<Item = String> {
    let is_published = |secret: &&Arc<Secret>| secret.annotations().contains_key(GENERATION);
    secrets.iter().filter(is_published).filter_map(|secret| text(secret, "username"))
}

/// Whether a moment lies less than a while back.
pub(super) fn is_within(now: Timestamp, then: Timestamp, seconds: i64) -> bool {
    then.checked_add(seconds.seconds()).is_ok_and(|end| now < end)
}
