//! `spec.ingest.buffer` and `spec.ingest.spool`: what a pod holds before it is in ClickHouse, in memory and on disk.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

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

/// A log on disk that events are written to before they are acknowledged, so that a ClickHouse that is down or slow is
/// noticed by nobody who sends.
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf")
    .message("spec.ingest.spool: size and storageClassName cannot be changed, since the claims have them already; resize the claims themselves, or remove spool, wait until the claims are drained, delete them, and set it anew"))]
pub struct SpoolSpec {
    /// Size of each pod's claim; nine tenths of it are used, above that requests are answered with 503. Unit Mi, Gi or
    /// Ti. Example: `20Gi`.
    #[schemars(length(min = 3, max = 12), regex(pattern = "^[1-9][0-9]*(Mi|Gi|Ti)$"))]
    #[x_kube(validation = Rule::new("isQuantity(self) && quantity(self).compareTo(quantity('64Mi')) >= 0")
        .message("spec.ingest.spool.size: must be at least 64Mi, such as 20Gi"))]
    pub size: String,
    /// Storage class of the claims. Immutable. Default: the cluster's default class. Example: `fast-ssd`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub storage_class_name: Option<String>,
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
