//! The migration Job of one image digest.

use k8s_openapi::api::batch::v1::{
    Job, JobSpec, PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement,
    PodFailurePolicyOnPodConditionsPattern, PodFailurePolicyRule,
};
use k8s_openapi::api::core::v1::{Container, EnvVar, PodSpec, PodTemplateSpec, Volume, VolumeMount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use sha2::{Digest as _, Sha256};

use super::metadata::{Component, SPEC_HASH, annotated, labels, metadata};
use super::pod::{container, env, pod, secret_folder};
use crate::controller::stack::{Image, Stack};

/// Exit codes of the binary for failures that no retry mends: a refusal, and settings that cannot work.
const PERMANENT: [i32; 2] = [1, 64];
/// Longest run, retries included: a mutation of a large table takes hours.
const DEADLINE_SECONDS: i64 = 6 * 3600;

/// Name of the Job and of the Secret of its user.
pub(crate) fn name(stack: &Stack, run: &str) -> String {
    stack.child_name(&format!("migrate-{run}"))
}

/// Builds the Job. Temporary failures are retried by the Job; permanent ones end it at once.
pub(crate) fn job(stack: &Stack, image: &Image) -> Job {
    let run = stack.run(image);
    let spec = JobSpec {
        backoff_limit: Some(6),
        active_deadline_seconds: Some(DEADLINE_SECONDS),
        pod_failure_policy: Some(failure_policy()),
        template: PodTemplateSpec {
            metadata: Some(ObjectMeta {
                labels: Some(labels(stack, Component::Migration)),
                ..ObjectMeta::default()
            }),
            spec: Some(migrating_pod(stack, image, &run)),
        },
        ..JobSpec::default()
    };
    let hash = hex::encode(Sha256::digest(serde_json::to_vec(&spec).unwrap_or_default()));
    let metadata = metadata(stack, name(stack, &run), Component::Migration);
    Job { metadata: annotated(metadata, SPEC_HASH, hash), spec: Some(spec), ..Job::default() }
}

fn failure_policy() -> PodFailurePolicy {
    let evicted =
        PodFailurePolicyOnPodConditionsPattern { type_: "DisruptionTarget".into(), status: "True".into() };
    let permanent = PodFailurePolicyOnExitCodesRequirement {
        operator: "In".into(),
        values: PERMANENT.to_vec(),
        ..PodFailurePolicyOnExitCodesRequirement::default()
    };
    PodFailurePolicy {
        rules: vec![
            PodFailurePolicyRule {
                action: "Ignore".into(),
                on_pod_conditions: Some(vec![evicted]),
                ..PodFailurePolicyRule::default()
            },
            PodFailurePolicyRule {
                action: "FailJob".into(),
                on_exit_codes: Some(permanent),
                ..PodFailurePolicyRule::default()
            },
        ],
    }
}

fn migrating_pod(stack: &Stack, image: &Image, run: &str) -> PodSpec {
    let (volumes, mounts) = folders(stack, run);
    let container = Container {
        env: Some(environment(stack)),
        volume_mounts: Some(mounts),
        ..container(stack, image, "migrate", &["migrate"])
    };
    PodSpec { restart_policy: Some("Never".into()), ..pod(stack, container, volumes) }
}

/// Environment of the migration.
pub(crate) fn environment(stack: &Stack) -> Vec<EnvVar> {
    let names = &stack.clickhouse.names;
    let mut variables = vec![
        env("LOG_LEVEL", "info"),
        env("CLICKHOUSE_URL", stack.endpoint_list()),
        env("CLICKHOUSE_DATABASE", &names.database),
        env("WEIR_CLICKHOUSE_CREDENTIALS_DIR", "/etc/weir/clickhouse"),
        env("WEIR_CLICKHOUSE_DEFINER", names.definer()),
    ];
    if stack.clickhouse.ca_pem.is_some() {
        variables.push(env("WEIR_CLICKHOUSE_CA_FILE", "/etc/weir/ca/ca.crt"));
    }
    variables
}

fn folders(stack: &Stack, run: &str) -> (Vec<Volume>, Vec<VolumeMount>) {
    let mut folders = vec![secret_folder("clickhouse", name(stack, run), "/etc/weir/clickhouse")];
    if stack.clickhouse.ca_pem.is_some() {
        folders.push(secret_folder("ca", stack.child_name("ingest-ca"), "/etc/weir/ca"));
    }
    folders.into_iter().unzip()
}
