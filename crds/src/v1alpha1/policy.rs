//! `spec.policy`: what the operator may do, and what deleting the stack does.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::RotationSpec;

/// What the operator may do.
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PolicySpec {
    /// What deleting the stack does to ClickHouse.
    #[serde(default)]
    pub deletion: DeletionPolicy,
    /// What happens when somebody changes the stack's users, roles, grants, row policies or quotas in ClickHouse by hand: `Enforce` puts them
    /// back, `Report` says so in status and leaves them, `Ignore` leaves them. A change of the spec, a rotation or a lost
    /// database puts everything in order in any case. Default: `Enforce`.
    #[serde(default)]
    pub drift: DriftPolicy,
    /// When the login of the ingest pods, which nobody else uses, is replaced. Default: every `720h`, with an overlap of
    /// `10m`, a quiet period of `10m` and a cap of `24h`.
    #[serde(default = "service_rotation")]
    pub rotation: RotationSpec,
}

/// What happens to a change by hand.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
pub enum DriftPolicy {
    /// It is taken back.
    #[default]
    Enforce,
    /// It is shown in status.
    Report,
    /// It is left alone.
    Ignore,
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

/// What happens to users, roles, row policies and quotas.
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

impl Default for PolicySpec {
    fn default() -> Self {
        Self {
            deletion: DeletionPolicy::default(),
            drift: DriftPolicy::default(),
            rotation: service_rotation(),
        }
    }
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

fn service_rotation() -> RotationSpec {
    let duration = str::to_owned;
    RotationSpec {
        interval: Some(duration("720h")),
        overlap: duration("10m"),
        quiet_period: duration("10m"),
        cap: duration("24h"),
        window: None,
    }
}
