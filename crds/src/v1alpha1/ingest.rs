//! `spec.ingest`: the pods that SDKs send to.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ResourceRequirements, Toleration, TopologySpreadConstraint};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SecretReference;

/// Ingest service that SDKs send to.
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct IngestSpec {
    /// Image of the service. Pods run the digest that it resolves to, never the tag.
    pub image: ImageSpec,
    /// Number of pods, 0 to 100. 0 stops ingest and keeps access and data. Default: 2.
    #[serde(default = "default_replicas")]
    #[schemars(range(min = 0, max = 100))]
    pub replicas: i32,
    /// CPU and memory of one pod; memory has to hold `buffer.maxBytes` and about 128Mi besides.
    /// Default: requests of 100m CPU and 128Mi, limit of 256Mi memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Browser origins that may send without a key: scheme, host and port, compared exactly.
    /// Default: none. Example: `["https://app.example.com"]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 253)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = Rule::new("self.all(o, o.matches('^[a-z][a-z0-9+.-]*://[^/?#@,]+$'))")
        .message("spec.ingest.origins: each must be a scheme, a host and an optional port, without a path or trailing slash, such as https://app.example.com"))]
    pub origins: Vec<String>,
    /// Networks of proxies whose `X-Forwarded-For` is believed, in CIDR form. Default: none, so that the address of
    /// the connection counts. Example: `["10.0.0.0/8"]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 49)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = Rule::new("self.all(c, isCIDR(c))")
        .message("spec.ingest.trustedProxies: each must be a network in CIDR form, such as 10.0.0.0/8"))]
    pub trusted_proxies: Vec<String>,
    /// Largest request that is accepted.
    #[serde(default)]
    pub limits: LimitsSpec,
    /// How events are gathered before they are inserted. Every reply waits for its insert.
    #[serde(default)]
    pub buffer: BufferSpec,
    /// Labels and annotations added to the pods.
    #[serde(default)]
    pub pod_metadata: PodMetadata,
    /// Labels that a node must have. Default: none. Example: `{disktype: ssd}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the pods tolerate. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub tolerations: Vec<Toleration>,
    /// How pods are spread over nodes and zones. Default: one pod a node where possible.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
    /// Priority class of the pods. Default: the cluster's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub priority_class_name: Option<String>,
}

/// Image of the ingest service.
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.updatePolicy != 'Never' || self.reference.contains('@sha256:')")
    .message("spec.ingest.image.updatePolicy: Never needs a digest in reference, such as registry.example.com/weir-ingest@sha256:...").field_path(".updatePolicy"))]
pub struct ImageSpec {
    /// Repository with a tag or a digest. Example: `registry.example.com/weir-ingest:0.1.0`.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9.-]+(:[0-9]{1,5})?(/[a-z0-9._-]+)+(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}|@sha256:[0-9a-f]{64})$')")
        .message("spec.ingest.image.reference: must be host/repository:tag or host/repository@sha256:digest, such as registry.example.com/weir-ingest:0.1.0"))]
    pub reference: String,
    /// What a moved tag does. `IfNotPresent` keeps the first digest, `Always` follows the tag at `interval`, `Never`
    /// demands a digest in `reference`. Default: `IfNotPresent`.
    #[serde(default)]
    pub update_policy: UpdatePolicy,
    /// How often the tag is looked up under `Always`, at least one minute. Default: `1h`. Example: `15m`.
    #[serde(default = "default_interval")]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+h)?([0-9]+m)?([0-9]+s)?$') && duration(self) >= duration('1m')")
        .message("spec.ingest.image.interval: must be a duration of at least one minute, such as 15m or 1h30m"))]
    #[schemars(length(min = 2, max = 16))]
    pub interval: String,
    /// Secrets of type `kubernetes.io/dockerconfigjson` that may read the image; used by the operator and by the pods.
    /// Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub pull_secrets: Vec<SecretReference>,
}

/// What a moved tag does to running pods.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
pub enum UpdatePolicy {
    /// The first digest that was resolved stays until `reference` changes.
    #[default]
    IfNotPresent,
    /// The tag is looked up every `interval`, and a new digest is rolled out.
    Always,
    /// Nothing is looked up: `reference` must carry a digest.
    Never,
}

/// Largest request that is accepted.
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct LimitsSpec {
    /// Bytes of one request, compressed and inflated alike; more is answered with 413. Default: 20971520 (20 MiB).
    #[serde(default = "default_batch_bytes")]
    #[schemars(range(min = 1024, max = 268_435_456))]
    pub max_batch_bytes: i64,
    /// Events of one request; more is answered with 413. Default: 10000.
    #[serde(default = "default_batch_events")]
    #[schemars(range(min = 1, max = 100_000))]
    pub max_events_per_batch: i64,
}

/// How events are gathered before they are inserted.
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.flushMaxBytes <= self.maxBytes")
    .message("spec.ingest.buffer.flushMaxBytes: must not be more than maxBytes, which bounds what a pod holds; lower it or raise maxBytes"))]
pub struct BufferSpec {
    /// Rows that start an insert. Default: 10000.
    #[serde(default = "default_rows")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub flush_max_rows: i64,
    /// Encoded bytes that start an insert. Default: 8388608 (8 MiB).
    #[serde(default = "default_flush_bytes")]
    #[schemars(range(min = 1024, max = 268_435_456))]
    pub flush_max_bytes: i64,
    /// Longest wait of a lone event before its insert starts, in milliseconds. Default: 20.
    #[serde(default = "default_age")]
    #[schemars(range(min = 1, max = 10_000))]
    pub flush_max_age_milliseconds: i64,
    /// Encoded bytes held and not yet acknowledged in one pod; above it requests are answered with 503. It bounds the
    /// pod's memory. Default: 67108864 (64 MiB).
    #[serde(default = "default_buffer_bytes")]
    #[schemars(range(min = 1_048_576, max = 8_589_934_592_i64))]
    pub max_bytes: i64,
}

/// Labels and annotations added to the pods.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PodMetadata {
    /// Labels, beside the operator's own. Default: none. Example: `{team: shop}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[x_kube(validation = Rule::new("self.all(k, !k.startsWith('app.kubernetes.io/') && !k.startsWith('weir.dev/'))")
        .message("spec.ingest.podMetadata.labels: app.kubernetes.io/ and weir.dev/ are set by the operator; use another prefix"))]
    #[schemars(extend("maxProperties" = 32))]
    pub labels: BTreeMap<String, String>,
    /// Annotations. Default: none. Example: `{prometheus.io/scrape: "true"}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub annotations: BTreeMap<String, String>,
}

impl Default for LimitsSpec {
    fn default() -> Self {
        Self { max_batch_bytes: default_batch_bytes(), max_events_per_batch: default_batch_events() }
    }
}

impl Default for BufferSpec {
    fn default() -> Self {
        Self {
            flush_max_rows: default_rows(),
            flush_max_bytes: default_flush_bytes(),
            flush_max_age_milliseconds: default_age(),
            max_bytes: default_buffer_bytes(),
        }
    }
}

fn default_replicas() -> i32 {
    2
}
fn default_interval() -> String {
    "1h".into()
}
fn default_batch_bytes() -> i64 {
    20 * 1024 * 1024
}
fn default_batch_events() -> i64 {
    10_000
}
fn default_rows() -> i64 {
    10_000
}
fn default_flush_bytes() -> i64 {
    8 * 1024 * 1024
}
fn default_age() -> i64 {
    20
}
fn default_buffer_bytes() -> i64 {
    64 * 1024 * 1024
}
