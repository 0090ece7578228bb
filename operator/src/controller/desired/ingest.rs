//! The ingest pods: Deployment, ServiceAccount, Service and disruption budget.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{
    Container, ContainerPort, EnvVar, PodSpec, PodTemplateSpec, Service, ServiceAccount, ServicePort,
    ServiceSpec, TopologySpreadConstraint, Volume, VolumeMount,
};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use sha2::{Digest as _, Sha256};

use super::metadata::{CA_HASH, Component, labels, metadata, selector, selector_labels};
use super::pod::{
    container_security, default_resources, env, image_pull_secrets, pod_security, probe, secret_folder,
};
use crate::controller::stack::{DRAIN_SECONDS, Image, Stack};

/// Builds the account of the pods. It has no rights, and its token is mounted nowhere.
pub(crate) fn service_account(stack: &Stack) -> ServiceAccount {
    ServiceAccount {
        metadata: metadata(stack, stack.ingest_name(), Component::Ingest),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

/// Builds the Service that SDKs send to. The admin port is not part of it.
pub(crate) fn service(stack: &Stack) -> Service {
    Service {
        metadata: metadata(stack, stack.ingest_name(), Component::Ingest),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".into()),
            selector: Some(selector_labels(stack, Component::Ingest)),
            ports: Some(vec![ServicePort {
                name: Some("http".into()),
                port: 8080,
                target_port: Some(IntOrString::String("http".into())),
                protocol: Some("TCP".into()),
                app_protocol: Some("http".into()),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// Builds the budget that lets nodes drain one pod at a time; a single pod has none, so that nodes drain at all.
pub(crate) fn disruption_budget(stack: &Stack) -> Option<PodDisruptionBudget> {
    (stack.ingest.replicas > 1).then(|| PodDisruptionBudget {
        metadata: metadata(stack, stack.ingest_name(), Component::Ingest),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(selector(stack, Component::Ingest)),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    })
}

/// Builds the Deployment of the pods, pinned by digest.
pub(crate) fn deployment(stack: &Stack, image: &Image) -> Deployment {
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

fn pod_template(stack: &Stack, image: &Image) -> PodTemplateSpec {
    let (volumes, mounts) = folders(stack);
    let mut pod_labels = stack.ingest.pod_metadata.labels.clone();
    pod_labels.extend(labels(stack, Component::Ingest));
    let mut annotations = stack.ingest.pod_metadata.annotations.clone();
    let ca_hash = stack.clickhouse.ca_pem.as_ref().map(|ca| hex::encode(Sha256::digest(ca)));
    annotations.extend(ca_hash.map(|hash| (CA_HASH.to_owned(), hash)));
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(pod_labels),
            annotations: (!annotations.is_empty()).then_some(annotations),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            service_account_name: Some(stack.ingest_name()),
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            security_context: Some(pod_security()),
            image_pull_secrets: image_pull_secrets(stack),
            // Beyond the drain, so that the process ends itself before the kubelet ends it.
            termination_grace_period_seconds: Some(DRAIN_SECONDS + 10),
            node_selector: (!stack.ingest.node_selector.is_empty())
                .then(|| stack.ingest.node_selector.clone()),
            tolerations: (!stack.ingest.tolerations.is_empty()).then(|| stack.ingest.tolerations.clone()),
            topology_spread_constraints: Some(spread(stack)),
            priority_class_name: stack.ingest.priority_class_name.clone(),
            containers: vec![container(stack, image, mounts)],
            volumes: Some(volumes),
            ..PodSpec::default()
        }),
    }
}

fn container(stack: &Stack, image: &Image, mounts: Vec<VolumeMount>) -> Container {
    let port = |name: &str, container_port: i32| ContainerPort {
        name: Some(name.into()),
        container_port,
        protocol: Some("TCP".into()),
        ..ContainerPort::default()
    };
    Container {
        name: "ingest".into(),
        image: Some(image.pinned.clone()),
        image_pull_policy: Some("IfNotPresent".into()),
        args: Some(vec!["serve".into()]),
        env: Some(environment(stack)),
        ports: Some(vec![port("http", 8080), port("admin", 9090)]),
        volume_mounts: Some(mounts),
        resources: Some(stack.ingest.resources.clone().unwrap_or_else(default_resources)),
        security_context: Some(container_security()),
        startup_probe: Some(probe("/livez", 1, 60)),
        liveness_probe: Some(probe("/livez", 10, 3)),
        readiness_probe: Some(probe("/readyz", 1, 1)),
        termination_message_policy: Some("FallbackToLogsOnError".into()),
        ..Container::default()
    }
}

/// Environment of the pods; a change of it rolls them, unlike a change of what the mounted Secrets hold.
pub(crate) fn environment(stack: &Stack) -> Vec<EnvVar> {
    let ingest = &stack.ingest;
    let mut variables = vec![
        env("LOG_LEVEL", "info"),
        env("MAX_BATCH_BYTES", ingest.limits.max_batch_bytes),
        env("MAX_EVENTS_PER_BATCH", ingest.limits.max_events_per_batch),
        env("CLICKHOUSE_URL", stack.endpoint_list()),
        env("CLICKHOUSE_DATABASE", &stack.clickhouse.names.database),
        env("WEIR_KEYS_FILE", "/etc/weir/keys/keys.json"),
        env("WEIR_CLICKHOUSE_CREDENTIALS_DIR", "/etc/weir/clickhouse"),
        env("WEIR_FLUSH_MAX_ROWS", ingest.buffer.flush_max_rows),
        env("WEIR_FLUSH_MAX_BYTES", ingest.buffer.flush_max_bytes),
        env("WEIR_FLUSH_MAX_AGE_MS", ingest.buffer.flush_max_age_milliseconds),
        env("WEIR_BUFFER_MAX_BYTES", ingest.buffer.max_bytes),
        env("WEIR_DRAIN_SECONDS", DRAIN_SECONDS),
    ];
    if !ingest.origins.is_empty() {
        variables.push(env("ALLOWED_ORIGINS", ingest.origins.join(",")));
    }
    if !ingest.trusted_proxies.is_empty() {
        variables.push(env("WEIR_TRUSTED_PROXIES", ingest.trusted_proxies.join(",")));
    }
    if stack.clickhouse.ca_pem.is_some() {
        variables.push(env("WEIR_CLICKHOUSE_CA_FILE", "/etc/weir/ca/ca.crt"));
    }
    variables
}

fn folders(stack: &Stack) -> (Vec<Volume>, Vec<VolumeMount>) {
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
