//! The ingest pods and what runs them.

use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment, StatefulSet,
    StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec, StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{
    Container, ContainerPort, PodSpec, PodTemplateSpec, TopologySpreadConstraint, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use weir_crds::SpoolSpec;

use super::environment::environment;
use super::metadata::{CA_HASH, Component, ca_hash, labels, metadata, selector};
use super::pod::{container, pod, probe, secret_folder};
use super::spool;
use crate::controller::child::Child;
use crate::controller::stack::{DRAIN_SECONDS, Image, Stack};

/// Builds what runs the pods, pinned by digest: a StatefulSet where each has a spool of its own, else a Deployment.
pub(crate) fn workload(stack: &Stack, image: &Image) -> Child {
    match &stack.ingest.spool {
        Some(spec) => Child::StatefulSet(Box::new(stateful_set(stack, image, spec))),
        None => Child::Deployment(Box::new(deployment(stack, image))),
    }
}

fn deployment(stack: &Stack, image: &Image) -> Deployment {
    Deployment {
        metadata: metadata(stack, stack.ingest_name(), Component::Ingest),
        spec: Some(DeploymentSpec {
            replicas: Some(stack.ingest.replicas),
            selector: selector(stack, Component::Ingest),
            // A new pod is proven before an old one goes, so that capacity never falls in a rollout.
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".into()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_unavailable: Some(IntOrString::Int(0)),
                    max_surge: Some(IntOrString::Int(1)),
                }),
            }),
            progress_deadline_seconds: Some(600),
            revision_history_limit: Some(3),
            template: pod_template(stack, image),
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}

fn stateful_set(stack: &Stack, image: &Image, spec: &SpoolSpec) -> StatefulSet {
    let retain = || Some("Retain".to_owned());
    StatefulSet {
        metadata: metadata(stack, stack.ingest_name(), Component::Ingest),
        spec: Some(StatefulSetSpec {
            replicas: Some(stack.ingest.replicas),
            selector: selector(stack, Component::Ingest),
            // Nobody asks for a pod by name, so the Service of all of them is enough.
            service_name: Some(stack.ingest_name()),
            // Pods need no order among them; with one, a pod that never gets ready would keep its own mending away.
            pod_management_policy: Some("Parallel".into()),
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("RollingUpdate".into()),
                ..StatefulSetUpdateStrategy::default()
            }),
            persistent_volume_claim_retention_policy: Some(StatefulSetPersistentVolumeClaimRetentionPolicy {
                when_deleted: retain(),
                when_scaled: retain(),
            }),
            revision_history_limit: Some(3),
            template: pod_template(stack, image),
            volume_claim_templates: Some(vec![spool::claim(stack, spec)]),
            ..StatefulSetSpec::default()
        }),
        ..StatefulSet::default()
    }
}

/// Builds the template of the pods.
pub(crate) fn pod_template(stack: &Stack, image: &Image) -> PodTemplateSpec {
    let (volumes, mut mounts) = folders(stack);
    mounts.extend(stack.ingest.spool.is_some().then(spool::mount));
    let mut pod_labels = stack.ingest.pod_metadata.labels.clone();
    pod_labels.extend(labels(stack, Component::Ingest));
    let mut annotations = stack.ingest.pod_metadata.annotations.clone();
    annotations.extend(stack.clickhouse.ca_pem.as_ref().map(|ca| (CA_HASH.to_owned(), ca_hash(ca))));
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(pod_labels),
            annotations: (!annotations.is_empty()).then_some(annotations),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            // Beyond the drain, so that the process ends itself before the kubelet ends it.
            termination_grace_period_seconds: Some(DRAIN_SECONDS + 10),
            topology_spread_constraints: Some(spread(stack)),
            ..pod(stack, serving(stack, image, mounts), volumes)
        }),
    }
}

fn serving(stack: &Stack, image: &Image, mounts: Vec<VolumeMount>) -> Container {
    let port = |name: &str, container_port: i32| ContainerPort {
        name: Some(name.into()),
        container_port,
        protocol: Some("TCP".into()),
        ..ContainerPort::default()
    };
    Container {
        env: Some(environment(stack)),
        ports: Some(vec![port("http", 8080), port("admin", 9090)]),
        volume_mounts: Some(mounts),
        startup_probe: Some(probe("/livez", 1, 60)),
        liveness_probe: Some(probe("/livez", 10, 3)),
        // Three in a row: a probe that a busy node answers late must not empty the Service. A pod that ends leaves it at
        // once anyway.
        readiness_probe: Some(probe("/readyz", 1, 3)),
        ..container(stack, image, "ingest", &["serve"])
    }
}

/// Secrets that the pods and a drain mount.
pub(super) fn folders(stack: &Stack) -> (Vec<Volume>, Vec<VolumeMount>) {
    let mut folders = vec![
        secret_folder("keys", stack.child_name("ingest-keys"), "/etc/weir/keys"),
        secret_folder("clickhouse", stack.child_name("ingest-clickhouse"), "/etc/weir/clickhouse"),
    ];
    if stack.clickhouse.ca_pem.is_some() {
        folders.push(secret_folder("ca", stack.child_name("ingest-ca"), "/etc/weir/ca"));
    }
    folders.into_iter().unzip()
}

fn spread(stack: &Stack) -> Vec<TopologySpreadConstraint> {
    let given = &stack.ingest.topology_spread_constraints;
    if !given.is_empty() {
        return given.clone();
    }
    vec![TopologySpreadConstraint {
        max_skew: 1,
        topology_key: "kubernetes.io/hostname".into(),
        when_unsatisfiable: "ScheduleAnyway".into(),
        label_selector: Some(selector(stack, Component::Ingest)),
        ..TopologySpreadConstraint::default()
    }]
}
