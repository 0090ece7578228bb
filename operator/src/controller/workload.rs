//! What runs the ingest pods, as the watch shows it: a Deployment, or a StatefulSet where they have a spool. Pure.

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::child::{ChildKey, ChildKind};
use super::desired::metadata::CA_HASH;

/// A Deployment or StatefulSet, reduced to what a pass asks.
#[derive(Debug, Clone)]
pub(crate) struct Workload {
    /// Kind and name.
    pub(crate) key: ChildKey,
    /// Whether its controller has seen its spec.
    pub(crate) is_seen: bool,
    /// Whether it is being deleted.
    pub(crate) is_going: bool,
    /// Whether its controller gave the rollout up; a StatefulSet's never does.
    pub(crate) is_late: bool,
    /// Pods that its spec asks for.
    pub(crate) wanted: i32,
    /// Pods that there are, ending ones of a StatefulSet included.
    pub(crate) pods: i32,
    /// Pods of the current template.
    pub(crate) updated: i32,
    /// Pods that are ready.
    pub(crate) ready: i32,
    /// Pods that serve.
    pub(crate) available: i32,
    /// Template of the pods.
    pub(crate) template: PodTemplateSpec,
}

impl Workload {
    /// Comma list of the endpoints that the pods were made for.
    pub(crate) fn endpoints(&self) -> Option<&str> {
        let pod = self.template.spec.as_ref()?;
        let variables = pod.containers.iter().flat_map(|container| container.env.iter().flatten());
        let mut endpoints = variables.filter(|variable| variable.name == "CLICKHOUSE_URL");
        endpoints.next()?.value.as_deref()
    }

    /// Hash of the CA bundle that the pods were made for.
    pub(crate) fn ca_hash(&self) -> Option<&str> {
        self.template.metadata.as_ref()?.annotations.as_ref()?.get(CA_HASH).map(String::as_str)
    }

    /// Whether every pod runs the current template and serves, and no other is left.
    pub(crate) fn is_rolled_out(&self) -> bool {
        self.is_seen
            && self.updated >= self.wanted
            && self.available >= self.wanted
            && self.pods <= self.wanted.max(self.updated)
    }
}

impl From<&Deployment> for Workload {
    fn from(deployment: &Deployment) -> Self {
        let status = deployment.status.clone().unwrap_or_default();
        let is_late = status.conditions.iter().flatten().any(|condition| {
            condition.type_ == "Progressing"
                && condition.reason.as_deref() == Some("ProgressDeadlineExceeded")
        });
        let spec = deployment.spec.clone().unwrap_or_default();
        Self {
            key: key(ChildKind::Deployment, &deployment.metadata),
            is_seen: is_seen(&deployment.metadata, status.observed_generation),
            is_going: deployment.metadata.deletion_timestamp.is_some(),
            is_late,
            wanted: spec.replicas.unwrap_or(1),
            pods: status.replicas.unwrap_or(0),
            updated: status.updated_replicas.unwrap_or(0),
            ready: status.ready_replicas.unwrap_or(0),
            available: status.available_replicas.unwrap_or(0),
            template: spec.template,
        }
    }
}

impl From<&StatefulSet> for Workload {
    fn from(set: &StatefulSet) -> Self {
        let status = set.status.clone().unwrap_or_default();
        let spec = set.spec.clone().unwrap_or_default();
        // A StatefulSet counts its updated pods only while two revisions differ.
        let is_one_revision = status.current_revision == status.update_revision;
        let updated = status.updated_replicas.unwrap_or(0);
        Self {
            key: key(ChildKind::StatefulSet, &set.metadata),
            is_seen: is_seen(&set.metadata, status.observed_generation),
            is_going: set.metadata.deletion_timestamp.is_some(),
            is_late: false,
            wanted: spec.replicas.unwrap_or(1),
            pods: status.replicas,
            updated: if is_one_revision {
                updated.max(status.current_replicas.unwrap_or(0))
            } else {
                updated
            },
            ready: status.ready_replicas.unwrap_or(0),
            available: status.available_replicas.unwrap_or(0),
            template: spec.template,
        }
    }
}

fn key(kind: ChildKind, metadata: &ObjectMeta) -> ChildKey {
    ChildKey::new(kind, metadata.name.clone().unwrap_or_default())
}

/// A status without a generation is one that no controller has written yet.
fn is_seen(metadata: &ObjectMeta, observed: Option<i64>) -> bool {
    observed.is_some_and(|observed| observed >= metadata.generation.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(status: &serde_json::Value) -> Workload {
        let set: StatefulSet = serde_json::from_value(json!({
            "metadata": { "name": "store-ingest", "generation": 2 },
            "spec": { "replicas": 2, "selector": {}, "serviceName": "store-ingest", "template": {} },
            "status": status,
        }))
        .unwrap();
        Workload::from(&set)
    }

    #[test]
    fn a_stateful_set_is_rolled_out_when_all_its_pods_are_of_one_revision_and_serve() {
        let settled = json!({
            "observedGeneration": 2, "replicas": 2, "readyReplicas": 2, "availableReplicas": 2,
            "currentRevision": "a", "updateRevision": "a", "currentReplicas": 2, "updatedReplicas": 2,
        });
        let with = |field: &str, value: serde_json::Value| {
            let mut status = settled.clone();
            status[field] = value;
            set(&status)
        };
        assert!(set(&settled).is_rolled_out());
        assert!(!with("observedGeneration", json!(1)).is_rolled_out(), "it has not seen its spec");
        assert!(!with("availableReplicas", json!(1)).is_rolled_out());
        assert!(!with("replicas", json!(3)).is_rolled_out(), "a pod still ends");
        let mut rolling = settled.clone();
        rolling["updateRevision"] = json!("b");
        rolling["updatedReplicas"] = json!(1);
        assert!(!set(&rolling).is_rolled_out());
        assert!(!set(&json!({ "replicas": 0 })).is_rolled_out(), "no controller has written it");
    }
}
