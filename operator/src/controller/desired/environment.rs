//! The environment of the ingest pods: the contract with the image, which `tests/it/ingest_contract.rs` holds against it.

use k8s_openapi::api::core::v1::EnvVar;
use weir_crds::{IngestSpec, IpPolicy};

use super::pod::env;
use super::spool;
use crate::controller::stack::{DRAIN_SECONDS, Stack};

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
    if stack.clickhouse.ca_pem.is_some() {
        variables.push(env("WEIR_CLICKHOUSE_CA_FILE", "/etc/weir/ca/ca.crt"));
    }
    variables.extend(doors(ingest));
    variables.extend(ingest.spool.iter().flat_map(spool::environment));
    variables
}

/// What differs from the defaults of the image: what is served, and what is let in of it.
fn doors(ingest: &IngestSpec) -> Vec<EnvVar> {
    let list = |name, items: &[String]| (!items.is_empty()).then(|| env(name, items.join(",")));
    let number = |name, value: Option<i64>| value.map(|value| env(name, value));
    let ip = match ingest.privacy.ip {
        IpPolicy::Keep => None,
        IpPolicy::Truncate => Some("truncate"),
        IpPolicy::Drop => Some("drop"),
    };
    [
        list("ALLOWED_ORIGINS", &ingest.origins),
        list("WEIR_TRUSTED_PROXIES", &ingest.trusted_proxies),
        (!ingest.posthog.enabled).then(|| env("WEIR_POSTHOG_PATHS", false)),
        ingest.path_prefix.as_ref().map(|prefix| env("WEIR_PATH_PREFIX", prefix)),
        number("WEIR_MAX_EVENT_BYTES", ingest.limits.max_event_bytes),
        number("WEIR_ADDRESS_RATE_LIMIT", ingest.limits.address_rate_limit),
        number("WEIR_KEY_RATE_LIMIT", ingest.limits.key_rate_limit),
        ip.map(|policy| env("WEIR_IP_POLICY", policy)),
        list("WEIR_PROPERTY_DENYLIST", &ingest.privacy.property_denylist),
    ]
    .into_iter()
    .flatten()
    .collect()
}
