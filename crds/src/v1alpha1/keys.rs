//! `spec.keys`: the ingestion keys that SDKs send with their events.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{RotationSpec, ValueSource};

/// One ingestion key. The operator generates it, or takes it from a Secret of yours, and publishes it in a Secret; stored
/// rows carry its name only.
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.valueFrom) || !has(self.rotation) || !has(self.rotation.interval) && !has(self.rotation.window)")
    .message("spec.keys[].rotation: interval and window do not go with valueFrom, since the owner of that Secret decides when the key changes; remove them, or valueFrom").field_path(".rotation"))]
#[x_kube(validation = Rule::new("!has(self.valueFrom) || !has(self.secretName) || self.secretName != self.valueFrom.secretKeyRef.name")
    .message("spec.keys[].secretName: is the Secret that the key is taken from, which is never written; choose another name").field_path(".secretName"))]
pub struct KeySpec {
    /// Name of the key, as it is stored with every event. Example: `web`.
    #[schemars(length(min = 1, max = 32), regex(pattern = "^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// `Public` for keys that live in pages and apps, `Secret` for keys of servers. Default: `Public`.
    #[serde(default, rename = "type")]
    pub key_type: KeyType,
    /// What the key may send. Default: `[capture]`.
    #[serde(default = "default_scopes")]
    #[schemars(length(min = 1, max = 2))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub scopes: Vec<KeyScope>,
    /// Browser origins that may use the key; requests without an origin are always allowed. Default: any origin in
    /// `spec.ingest.origins`. Example: `["https://app.example.com"]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 253)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = Rule::new("self.all(o, o.matches('^[a-z][a-z0-9+.-]*://[^/?#@,]+$'))")
        .message("spec.keys[].origins: each must be a scheme, a host and an optional port, without a path or trailing slash, such as https://app.example.com"))]
    pub origins: Vec<String>,
    /// Events a second that the key may send to one pod, and ten times as many at once after a pause; requests above it are
    /// answered as overload. Default: `spec.ingest.limits.keyRateLimit`. Example: 500.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub rate_limit: Option<i64>,
    /// Secret of yours to take the key from, instead of a generated one. Another value there replaces the key. Default:
    /// generated. Example: `{secretKeyRef: {name: shop-web-key, key: token}}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<ValueSource>,
    /// When the key is replaced by a new generation. Default: only when the annotation `weir.dev/rotate` asks for it, or,
    /// with `valueFrom`, when the value there changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<RotationSpec>,
    /// Secret to publish the key in. A Secret that the operator did not make is never overwritten.
    /// Default: `<stack>-key-<name>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub secret_name: Option<String>,
}

/// Where a key lives.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
pub enum KeyType {
    /// In pages and apps, where anybody can read it.
    #[default]
    Public,
    /// On servers only.
    Secret,
}

/// What a key may send.
#[derive(JsonSchema, Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum KeyScope {
    /// Product events.
    Capture,
}

fn default_scopes() -> Vec<KeyScope> {
    vec![KeyScope::Capture]
}
