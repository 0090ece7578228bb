//! `spec.policy`: what the operator may do, and what deleting the stack does.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator may do.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PolicySpec {
    /// What deleting the stack does to ClickHouse.
    #[serde(default)]
    pub deletion: DeletionPolicy,
}

/// What deleting the stack does to ClickHouse.
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct DeletionPolicy {
    /// Users and roles: `Delete` drops them, `Retain` leaves them as they are. Default: `Delete`.
    #[serde(default)]
    pub access: AccessDeletion,
    /// Database and tables: `Retain` keeps them. Default: `Retain`, the only choice of this version.
    #[serde(default)]
    pub data: DataDeletion,
    /// How long an unreachable ClickHouse can hold the deletion, in seconds, 0 to 86400. After it the stack goes and an
    /// event names what was left behind, with the statements that remove it. Default: 300.
    #[serde(default = "default_timeout")]
    #[schemars(range(min = 0, max = 86_400))]
    pub timeout_seconds: i64,
}

/// What happens to users and roles.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
pub enum AccessDeletion {
    /// They are dropped.
    #[default]
    Delete,
    /// They stay.
    Retain,
}

/// What happens to the database.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
pub enum DataDeletion {
    /// It stays.
    #[default]
    Retain,
}

impl Default for DeletionPolicy {
    fn default() -> Self {
        Self {
            access: AccessDeletion::default(),
            data: DataDeletion::default(),
            timeout_seconds: default_timeout(),
        }
    }
}

fn default_timeout() -> i64 {
    300
}
