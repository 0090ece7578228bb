//! `spec.users`: people and programs that read the stack's database.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One reader of the stack's database. The operator creates its ClickHouse user and publishes the login in a Secret.
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct UserSpec {
    /// Name of the reader. Example: `grafana`.
    #[schemars(length(min = 1, max = 32), regex(pattern = "^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// What the reader may do. Default: `ReadOnly`.
    #[serde(default)]
    pub profile: UserProfile,
    /// Secret to publish the login in. A Secret that the operator did not make is never overwritten.
    /// Default: `<stack>-user-<name>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub secret_name: Option<String>,
}

/// What a reader may do.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
pub enum UserProfile {
    /// SELECT on the stack's database, and nothing else.
    #[default]
    ReadOnly,
}
