//! The last words of failed migration Jobs.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt as _};
use weir_crds::AnalyticsStack;

use crate::controller::Context;
use crate::controller::memory::Memory;
use crate::controller::observed::{JobState, job_state};
use crate::controller::status::cut;

const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads the message of each failed Job once.
pub(super) async fn messages(
    ctx: &Context,
    stack: &AnalyticsStack,
    jobs: &BTreeMap<String, Job>,
    memory: &mut Memory,
) -> BTreeMap<String, String> {
    let namespace = stack.namespace().unwrap_or_default();
    let mut messages = BTreeMap::new();
    memory.job_messages.retain(|uid, _| jobs.values().any(|job| job.uid().as_ref() == Some(uid)));
    for (name, job) in jobs.iter().filter(|(_, job)| job_state(job) == JobState::Failed) {
        let uid = job.uid().unwrap_or_default();
        if !memory.job_messages.contains_key(&uid) {
            let message = fetch(&ctx.client, &namespace, name).await.or_else(|| condition_message(job));
            memory.job_messages.extend(message.map(|message| (uid.clone(), message)));
        }
        messages.extend(memory.job_messages.get(&uid).map(|message| (name.clone(), message.clone())));
    }
    messages
}

/// The message of the pod that ended last. The migration writes it without secrets.
async fn fetch(client: &Client, namespace: &str, job: &str) -> Option<String> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let params = ListParams::default().labels(&format!("batch.kubernetes.io/job-name={job}"));
    let pods = match tokio::time::timeout(CALL_TIMEOUT, api.list(&params)).await {
        Ok(Ok(pods)) => pods,
        Ok(Err(error)) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                job,
                "failed to read the pods of a failed Job"
            );
            return None;
        }
        Err(_elapsed) => return None,
    };
    let ended = pods.items.into_iter().filter_map(|pod| {
        let statuses = pod.status?.container_statuses?;
        let terminated = statuses.into_iter().find_map(|status| status.state?.terminated)?;
        Some((terminated.finished_at.map(|at| at.0), terminated.message?))
    });
    ended
        .max_by_key(|(at, _)| *at)
        .map(|(_, message)| cut(message.trim()))
        .filter(|message| !message.is_empty())
}

fn condition_message(job: &Job) -> Option<String> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == "Failed")?.message.clone()
}
