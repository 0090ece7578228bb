//! What the pods of a stack have in common: who they run as, what they may, where they may run, mounts and probes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Capabilities, Container, EnvVar, HTTPGetAction, LocalObjectReference, PodSecurityContext, PodSpec, Probe,
    ResourceRequirements, SeccompProfile, SecretVolumeSource, SecurityContext, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::controller::stack::{Image, Stack};

/// User and group of the image.
const USER: i64 = 65532;

/// A pod of the stack under the restricted standard, with one container.
pub(crate) fn pod(stack: &Stack, container: Container, volumes: Vec<Volume>) -> PodSpec {
    let ingest = &stack.ingest;
    PodSpec {
        service_account_name: Some(stack.ingest_name()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        security_context: Some(pod_security()),
        image_pull_secrets: image_pull_secrets(stack),
        node_selector: (!ingest.node_selector.is_empty()).then(|| ingest.node_selector.clone()),
        tolerations: (!ingest.tolerations.is_empty()).then(|| ingest.tolerations.clone()),
        priority_class_name: ingest.priority_class_name.clone(),
        containers: vec![container],
        volumes: Some(volumes),
        ..PodSpec::default()
    }
}

/// A container of the ingest image under the restricted standard, without environment and mounts.
pub(crate) fn container(stack: &Stack, image: &Image, name: &str, args: &[&str]) -> Container {
    Container {
        name: name.into(),
        image: Some(image.pinned.clone()),
        image_pull_policy: Some("IfNotPresent".into()),
        args: Some(args.iter().map(|&argument| argument.to_owned()).collect()),
        resources: Some(resources(stack)),
        security_context: Some(container_security()),
        termination_message_policy: Some("FallbackToLogsOnError".into()),
        ..Container::default()
    }
}

fn pod_security() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(USER),
        run_as_group: Some(USER),
        fs_group: Some(USER),
        fs_group_change_policy: Some("OnRootMismatch".into()),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".into(), ..SeccompProfile::default() }),
        ..PodSecurityContext::default()
    }
}

fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        run_as_non_root: Some(true),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".into()]), ..Capabilities::default() }),
        ..SecurityContext::default()
    }
}

fn image_pull_secrets(stack: &Stack) -> Option<Vec<LocalObjectReference>> {
    let secrets = &stack.ingest.image.pull_secrets;
    (!secrets.is_empty())
        .then(|| secrets.iter().map(|secret| LocalObjectReference { name: secret.name.clone() }).collect())
}

/// A variable with a plain value.
pub(crate) fn env(name: &str, value: impl std::fmt::Display) -> EnvVar {
    EnvVar { name: name.into(), value: Some(format!("{value}")), ..EnvVar::default() }
}

/// A Secret as a read-only folder: the volume and where it is mounted.
pub(crate) fn secret_folder(volume: &str, secret: String, path: &str) -> (Volume, VolumeMount) {
    let source = SecretVolumeSource {
        secret_name: Some(secret),
        default_mode: Some(0o440),
        ..SecretVolumeSource::default()
    };
    (
        Volume { name: volume.into(), secret: Some(source), ..Volume::default() },
        VolumeMount {
            name: volume.into(),
            mount_path: path.into(),
            read_only: Some(true),
            ..VolumeMount::default()
        },
    )
}

/// A probe of a path on the admin port.
pub(crate) fn probe(path: &str, period_seconds: i32, failure_threshold: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.into()),
            port: IntOrString::String("admin".into()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        failure_threshold: Some(failure_threshold),
        timeout_seconds: Some(2),
        ..Probe::default()
    }
}

/// Memory of a pod beside its buffer: what it needs at rest, and what hostile requests can make of it.
const MEMORY_BESIDE_BUFFER: (i64, i64) = (64, 192);

/// Requests and limits of a pod: those of the spec, or what its buffer needs.
fn resources(stack: &Stack) -> ResourceRequirements {
    stack.ingest.resources.clone().unwrap_or_else(|| default_resources(stack.ingest.buffer.max_bytes))
}

fn default_resources(buffer_bytes: i64) -> ResourceRequirements {
    let quantity = |name: &str, value: String| (name.to_owned(), Quantity(value));
    let mebibytes = (buffer_bytes + (1 << 20) - 1) >> 20;
    let memory = |beside: i64| quantity("memory", format!("{}Mi", mebibytes + beside));
    let (request, limit) = MEMORY_BESIDE_BUFFER;
    ResourceRequirements {
        requests: Some(BTreeMap::from([quantity("cpu", "100m".into()), memory(request)])),
        limits: Some(BTreeMap::from([memory(limit)])),
        ..ResourceRequirements::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::fixture;

    #[test]
    fn memory_follows_the_buffer_unless_the_spec_names_resources() {
        let mut stack = fixture::checked();
        let memory = |stack: &Stack| {
            let resources = resources(stack);
            [resources.requests, resources.limits].map(|list| list.unwrap_or_default()["memory"].0.clone())
        };
        assert_eq!(memory(&stack), ["128Mi", "256Mi"]);
        stack.ingest.buffer.max_bytes = (1 << 30) + 1;
        assert_eq!(memory(&stack), ["1089Mi", "1217Mi"]);
        let given = default_resources(0);
        stack.ingest.resources = Some(given.clone());
        assert_eq!(resources(&stack), given);
    }
}
