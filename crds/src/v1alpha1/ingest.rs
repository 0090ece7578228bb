//! `spec.ingest`: the pods that SDKs send to.

mod buffer;
mod image;
mod limits;

use std::collections::BTreeMap;

pub use buffer::{BufferSpec, SpoolSpec};
pub use image::{ImageSpec, UpdatePolicy};
use k8s_openapi::api::core::v1::{ResourceRequirements, Toleration, TopologySpreadConstraint};
use kube::KubeSchema;
pub use limits::{IpPolicy, LimitsSpec, PrivacySpec};
use serde::{Deserialize, Serialize};

/// Ingest service that SDKs send to.
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.resources) || !has(self.resources.limits) || !('memory' in self.resources.limits) || !isQuantity(string(self.resources.limits['memory'])) || quantity(string(self.resources.limits['memory'])).compareTo(quantity('64Mi').add(self.buffer.maxBytes)) >= 0")
    .message("spec.ingest.resources.limits.memory: must hold buffer.maxBytes and 64Mi besides, or the pods are ended for want of memory; raise it or lower buffer.maxBytes"))]
pub struct IngestSpec {
    /// Image of the service. Pods run the digest that it resolves to, never the tag.
    pub image: ImageSpec,
    /// Number of pods, 0 to 100. 0 stops ingest and keeps access and data. Default: 2.
    #[serde(default = "default_replicas")]
    #[schemars(range(min = 0, max = 100))]
    pub replicas: i32,
    /// CPU and memory of one pod, of the migration and of a drain alike. Given, they are taken as they are; the limit of
    /// memory has to hold `buffer.maxBytes` and 64Mi besides. Default: requests of 100m CPU and `buffer.maxBytes` plus
    /// 64Mi of memory, a limit of `buffer.maxBytes` plus 192Mi of memory.
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
    /// PostHog's own paths, which its SDKs send to.
    #[serde(default)]
    pub posthog: PosthogSpec,
    /// Path that every path is served under besides itself, for a proxy that passes it on. Default: none.
    /// Example: `/ingest`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 128))]
    #[x_kube(validation = Rule::new("self.matches('^(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+$')")
        .message("spec.ingest.pathPrefix: must begin with a slash, end without one and hold letters, digits, dots, dashes, underscores and tildes, such as /ingest"))]
    #[x_kube(validation = Rule::new("!(self.split('/')[1] in ['api', 'array', 'batch', 'capture', 'decide', 'e', 'engage', 'flags', 'health', 'i', 's', 'track'])")
        .message("spec.ingest.pathPrefix: must not begin with a part that a path of the service begins with, such as /api or /batch; choose another, such as /ingest"))]
    pub path_prefix: Option<String>,
    /// What one request, one address and one key may send.
    #[serde(default)]
    pub limits: LimitsSpec,
    /// What of an event is left out before anything is stored.
    #[serde(default)]
    pub privacy: PrivacySpec,
    /// How events are gathered before they are inserted. Every reply waits for its insert.
    #[serde(default)]
    pub buffer: BufferSpec,
    /// A log on disk that events are written to before they are acknowledged. With it the pods are those of a StatefulSet,
    /// each with a claim of its own that outlives it. Claims of pods that leave are drained into ClickHouse by a Job, one
    /// after the other; so are all of them when the spool is removed. Default: none, events are acknowledged when
    /// ClickHouse has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spool: Option<SpoolSpec>,
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

/// PostHog's own paths.
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PosthogSpec {
    /// Whether the paths of PostHog's SDKs are served beside `/batch/`. Off, only `/batch/` is served, with its own strict
    /// answers. Default: true.
    #[serde(default = "on")]
    pub enabled: bool,
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

impl Default for PosthogSpec {
    fn default() -> Self {
        Self { enabled: true }
    }
}

fn default_replicas() -> i32 {
    2
}

fn on() -> bool {
    true
}
