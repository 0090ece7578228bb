//! What pods say that do not run well: those of Jobs, those of a rollout that is not over, and the claims of spools that
//! are to be drained. Nothing is asked while all is well.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};
use weir_crds::AnalyticsStack;

use crate::controller::Context;
use crate::controller::memory::Memory;
use crate::controller::observed::{JobState, Observed, job_state};
use crate::controller::pod_report::{self, PodReport};
use crate::kubernetes;

const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Pods that have not ended: one that was evicted long ago says nothing about a rollout.
const RUNNING: &str = "status.phase!=Failed,status.phase!=Succeeded";

/// Reads it into the value.
pub(super) async fn read(
    ctx: &Context,
    stack: &AnalyticsStack,
    observed: &mut Observed,
    memory: &mut Memory,
) {
    let namespace = stack.namespace().unwrap_or_default();
    observed.job_reports = jobs(ctx, &namespace, &observed.jobs, memory).await;
    if observed.workloads.values().any(|workload| !workload.is_rolled_out()) {
        let labels =
            format!("app.kubernetes.io/name=weir-ingest,app.kubernetes.io/instance={}", stack.name_any());
        let params = ListParams::default().labels(&labels).fields(RUNNING);
        observed.pods = list(ctx, &namespace, params).await.unwrap_or_default();
    }
    let kept = stack.spec.ingest.spool.as_ref().map_or(0, |_| stack.spec.ingest.replicas);
    for ordinal in kept..observed.noted_claims() {
        let claim = format!("spool-{}-ingest-{ordinal}", stack.name_any());
        let found =
            kubernetes::fetch_metadata::<PersistentVolumeClaim>(&ctx.client, &namespace, &claim).await;
        // Where it could not be read it counts as there.
        if let Ok(None) = found {
            observed.lost_claims.insert(ordinal);
        }
    }
}

/// A failed Job is read once, one that has trouble each time.
async fn jobs(
    ctx: &Context,
    namespace: &str,
    jobs: &BTreeMap<String, Job>,
    memory: &mut Memory,
) -> BTreeMap<String, PodReport> {
    let mut reports = BTreeMap::new();
    memory.job_reports.retain(|uid, _| jobs.values().any(|job| job.uid().as_ref() == Some(uid)));
    for (name, job) in jobs {
        let uid = job.uid().unwrap_or_default();
        let state = job_state(job);
        if !has_trouble(job, state) {
            continue;
        }
        if let Some(known) = memory.job_reports.get(&uid) {
            reports.insert(name.clone(), known.clone());
            continue;
        }
        let labels = format!("batch.kubernetes.io/job-name={name}");
        let params = ListParams::default().labels(&labels);
        let Some(mut report) = list(ctx, namespace, params).await else { continue };
        if state == JobState::Failed {
            report.last_words = report.last_words.or_else(|| condition_message(job));
            memory.job_reports.insert(uid, report.clone());
        }
        reports.insert(name.clone(), report);
    }
    reports
}

fn has_trouble(job: &Job, state: JobState) -> bool {
    let status = job.status.as_ref();
    let is_idle = status.and_then(|status| status.ready).unwrap_or(0) == 0;
    let has_failed = status.and_then(|status| status.failed).unwrap_or(0) > 0;
    match state {
        JobState::Absent | JobState::Succeeded => false,
        JobState::Running => is_idle || has_failed,
        JobState::Failed => true,
    }
}

async fn list(ctx: &Context, namespace: &str, params: ListParams) -> Option<PodReport> {
    let api: Api<Pod> = Api::namespaced(ctx.client.clone(), namespace);
    match tokio::time::timeout(CALL_TIMEOUT, api.list(&params)).await {
        Ok(Ok(pods)) => Some(pod_report::read(&pods.items)),
        Ok(Err(error)) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "failed to list pods");
            None
        }
        Err(_elapsed) => None,
    }
}

fn condition_message(job: &Job) -> Option<String> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == "Failed")?.message.clone()
}
