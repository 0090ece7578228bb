//! What of an object a pass looks at, as text; an event that leaves it unchanged wakes nobody. Pure.

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;

use super::Guarded;

/// What of an object a pass looks at.
pub(super) type Mark<K> = fn(&K) -> String;

/// Any change of the object at all.
pub(super) fn any<K: Resource>(object: &K) -> String {
    object.meta().resource_version.clone().unwrap_or_default()
}

/// Spec, finalizers, annotations; status is written by the operator.
pub(super) fn stack(stack: &Guarded) -> String {
    let metadata = stack.meta();
    let stamp =
        (&metadata.generation, &metadata.finalizers, &metadata.annotations, &metadata.deletion_timestamp);
    format!("{stamp:?}")
}

/// Spec, labels and owners, and how far the rollout is.
pub(super) fn deployment(deployment: &Deployment) -> String {
    let status = deployment.status.clone().unwrap_or_default();
    let reasons: Vec<_> =
        status.conditions.iter().flatten().map(|condition| (&condition.type_, &condition.reason)).collect();
    let pods =
        (status.observed_generation, status.replicas, status.updated_replicas, status.available_replicas);
    format!("{}{pods:?}{reasons:?}", spec(&deployment.metadata))
}

/// Spec, labels and owners, and how far the rollout is.
pub(super) fn stateful_set(set: &StatefulSet) -> String {
    let status = set.status.clone().unwrap_or_default();
    let pods =
        (status.observed_generation, status.replicas, status.updated_replicas, status.available_replicas);
    let revisions = (status.current_revision, status.update_revision, status.current_replicas);
    format!("{}{pods:?}{revisions:?}", spec(&set.metadata))
}

/// Labels and owners, whether the Job has ended, and how its attempts go.
pub(super) fn job(job: &Job) -> String {
    let status = job.status.clone().unwrap_or_default();
    let conditions: Vec<_> =
        status.conditions.iter().flatten().map(|condition| (&condition.type_, &condition.status)).collect();
    format!("{}{:?}{conditions:?}", spec(&job.metadata), (status.ready, status.failed))
}

fn spec(metadata: &ObjectMeta) -> String {
    let spec =
        (&metadata.generation, &metadata.labels, &metadata.owner_references, &metadata.deletion_timestamp);
    format!("{spec:?}")
}
