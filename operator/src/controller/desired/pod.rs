//! What every pod of a stack has in common: the restricted security context, mounts and probes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Capabilities, EnvVar, HTTPGetAction, LocalObjectReference, PodSecurityContext, Probe,
    ResourceRequirements, SeccompProfile, SecretVolumeSource, SecurityContext, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::controller::stack::Stack;

/// User and group of the image.
const USER: i64 = 65532;

/// Security context of a pod under the restricted standard.
pub(crate) fn pod_security() -> PodSecurityContext {
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

/// Security context of a container under the restricted standard.
pub(crate) fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        run_as_non_root: Some(true),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".into()]), ..Capabilities::default() }),
        ..SecurityContext::default()
    }
}

/// Pull secrets of the image.
pub(crate) fn image_pull_secrets(stack: &Stack) -> Option<Vec<LocalObjectReference>> {
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

/// Requests and limits of a pod whose spec names none.
pub(crate) fn default_resources() -> ResourceRequirements {
    let quantity = |name: &str, value: &str| (name.to_owned(), Quantity(value.into()));
    ResourceRequirements {
        requests: Some(BTreeMap::from([quantity("cpu", "100m"), quantity("memory", "128Mi")])),
        limits: Some(BTreeMap::from([quantity("memory", "256Mi")])),
        ..ResourceRequirements::default()
    }
}
