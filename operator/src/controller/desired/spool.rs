//! The spool of an ingest pod: its claim, and the Job that drains the claim of a pod that left.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{
    Container, EnvVar, PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeClaimVolumeSource,
    PodSpec, PodTemplateSpec, Volume, VolumeMount, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use weir_crds::SpoolSpec;

use super::environment;
use super::metadata::{Component, labels, metadata};
use super::pod::{container, env, pod};
use super::workload::folders;
use crate::controller::stack::{Image, Stack};

const VOLUME: &str = "spool";
const FOLDER: &str = "/var/lib/weir/spool";
/// Attempts of a drain. ClickHouse may be away for days, and the events are safe meanwhile.
const ATTEMPTS: i32 = 100_000;

/// Builds the claim that each pod gets. Its labels are for people: the operator neither reads nor deletes claims.
pub(super) fn claim(stack: &Stack, spec: &SpoolSpec) -> PersistentVolumeClaim {
    let requests = BTreeMap::from([("storage".to_owned(), Quantity(spec.size.clone()))]);
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(VOLUME.into()),
            labels: Some(labels(stack, Component::Ingest)),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".into()]),
            resources: Some(VolumeResourceRequirements {
                requests: Some(requests),
                ..VolumeResourceRequirements::default()
            }),
            storage_class_name: spec.storage_class_name.clone(),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }
}

/// Where the claim is mounted.
pub(super) fn mount() -> VolumeMount {
    VolumeMount { name: VOLUME.into(), mount_path: FOLDER.into(), ..VolumeMount::default() }
}

/// Tells a pod of its spool. A tenth of the claim is left to the file system and to segments that are being removed.
pub(super) fn environment(spec: &SpoolSpec) -> [EnvVar; 2] {
    [env("WEIR_SPOOL_DIR", FOLDER), env("WEIR_SPOOL_MAX_BYTES", bytes(&spec.size) / 10 * 9)]
}

/// Bytes of a size such as `20Gi`; the schema admits no other form.
fn bytes(size: &str) -> u64 {
    let digits = size.trim_end_matches(|character: char| !character.is_ascii_digit());
    let unit = match size.trim_start_matches(|character: char| character.is_ascii_digit()) {
        "Ti" => 1 << 40,
        "Gi" => 1 << 30,
        _ => 1 << 20,
    };
    digits.parse::<u64>().unwrap_or(0).saturating_mul(unit)
}

/// Name of the Job that drains the claim of an ordinal.
pub(crate) fn drain_name(stack: &Stack, ordinal: i32) -> String {
    stack.child_name(&format!("drain-{ordinal}"))
}

/// Ordinal of the claim that a Job of this name drains.
pub(crate) fn drained_ordinal(stack: &Stack, job: &str) -> Option<i32> {
    job.strip_prefix(&stack.child_name("drain-"))?.parse().ok()
}

/// Builds the Job that drains the claim of a pod that left. It inserts as the pods do, and ends when nothing is left.
pub(crate) fn drain(stack: &Stack, image: &Image, ordinal: i32) -> Job {
    Job {
        metadata: metadata(stack, drain_name(stack, ordinal), Component::Drain),
        spec: Some(JobSpec {
            backoff_limit: Some(ATTEMPTS),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(labels(stack, Component::Drain)),
                    ..ObjectMeta::default()
                }),
                spec: Some(drain_pod(stack, image, ordinal)),
            },
            ..JobSpec::default()
        }),
        ..Job::default()
    }
}

fn drain_pod(stack: &Stack, image: &Image, ordinal: i32) -> PodSpec {
    let (mut volumes, mut mounts) = folders(stack);
    volumes.push(Volume {
        name: VOLUME.into(),
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name: format!("{VOLUME}-{}-{ordinal}", stack.ingest_name()),
            ..PersistentVolumeClaimVolumeSource::default()
        }),
        ..Volume::default()
    });
    mounts.push(mount());
    let mut variables = environment::environment(stack);
    variables.retain(|variable| !variable.name.starts_with("WEIR_SPOOL_"));
    variables.push(env("WEIR_SPOOL_DIR", FOLDER));
    let container = Container {
        env: Some(variables),
        volume_mounts: Some(mounts),
        ..container(stack, image, "drain", &["spool", "drain"])
    };
    // In the same pod, so that the claim stays where it is attached.
    PodSpec { restart_policy: Some("OnFailure".into()), ..pod(stack, container, volumes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_binary_units() {
        let read = ["64Mi", "20Gi", "2Ti"].map(bytes);
        assert_eq!(read, [64 << 20, 20 << 30, 2 << 40]);
    }
}
