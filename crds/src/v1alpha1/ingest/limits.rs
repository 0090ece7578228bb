//! `spec.ingest.limits` and `spec.ingest.privacy`: what is let in at the door, and what of it is left out.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What one request, one address and one key may send.
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.maxEventBytes) || self.maxEventBytes <= self.maxBatchBytes")
    .message("spec.ingest.limits.maxEventBytes: must not be more than maxBatchBytes, since no event is larger than its request; lower it or raise maxBatchBytes"))]
pub struct LimitsSpec {
    /// Bytes of one request, compressed and inflated alike; more is answered with 413. Default: 20971520 (20 MiB).
    #[serde(default = "default_batch_bytes")]
    #[schemars(range(min = 1024, max = 268_435_456))]
    pub max_batch_bytes: i64,
    /// Events of one request; more is answered with 413. Default: 10000.
    #[serde(default = "default_batch_events")]
    #[schemars(range(min = 1, max = 100_000))]
    pub max_events_per_batch: i64,
    /// Bytes of properties that one event of PostHog's SDKs may have; a larger one is dropped and the rest of its request is
    /// stored. Default: 1048576 (1 MiB). Example: 262144.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1024, max = 268_435_456))]
    pub max_event_bytes: Option<i64>,
    /// Events a second that one client address may send to one pod, and ten times as many at once after a pause; requests
    /// above it are answered as overload, which SDKs retry. An IPv6 network of 64 bits counts as one address; see `trustedProxies` for whose
    /// address counts. Default: no limit. Example: 500.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub address_rate_limit: Option<i64>,
    /// Events a second that one key may send to one pod, where the key names no limit of its own, and ten times as many at
    /// once after a pause; requests above it are answered as overload. Default: no limit. Example: 10000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub key_rate_limit: Option<i64>,
}

/// What of an event is left out before anything is stored.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PrivacySpec {
    /// The client's address: `Keep` stores it, `Truncate` stores its network (the first 24 bits of IPv4, 48 of IPv6),
    /// `Drop` stores none. Stored rows stay as they are. Default: `Keep`.
    #[serde(default)]
    pub ip: IpPolicy,
    /// Names of properties that are removed from every event, whoever sends them. Default: none.
    /// Example: `["$geoip_city_name", "email"]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), inner(length(min = 1, max = 200)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = Rule::new("self.all(p, !p.contains(',') && p == p.trim())")
        .message("spec.ingest.privacy.propertyDenylist: each must be a property's name without commas and without spaces at its ends"))]
    pub property_denylist: Vec<String>,
}

/// What is stored of a client's address.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
pub enum IpPolicy {
    /// The address.
    #[default]
    Keep,
    /// Its network.
    Truncate,
    /// Nothing.
    Drop,
}

impl Default for LimitsSpec {
    fn default() -> Self {
        Self {
            max_batch_bytes: default_batch_bytes(),
            max_events_per_batch: default_batch_events(),
            max_event_bytes: None,
            address_rate_limit: None,
            key_rate_limit: None,
        }
    }
}

fn default_batch_bytes() -> i64 {
    20 * 1024 * 1024
}

fn default_batch_events() -> i64 {
    10_000
}
