//! Status of entities in ClickHouse that bear the names of a stack and are not its own.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// What a stack would take over in ClickHouse, if somebody approved it.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AdoptionStatus {
    /// Value of the annotation `weir.dev/adopt` that approves exactly what is listed here. Absent where something listed can
    /// never be taken over, and until it is known whether its owner lives. Example: `9f2c4e1ab05d77c3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// Value of the annotation that approved what was listed here before it changed; it adopts nothing. Example:
    /// `51d0b7a9e3f86c24`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outdated: Option<String>,
    /// What would be taken over, and what would change of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["entity".into()]))]
    pub entities: Vec<AdoptedEntity>,
    /// How many more there are than status has room for; the hash is of all of them. Absent when all are listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub omitted: Option<i32>,
}

/// One database, role, user, row policy or quota in ClickHouse that is not the stack's own.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AdoptedEntity {
    /// Kind and name. Example: `role weir_shop__web_ingest`.
    pub entity: String,
    /// Stack that owns it; absent when Weir did not make it. Example:
    /// `AnalyticsStack shop/web of cluster 6b1f7c0e-3d52-4a0b-9d1c-0e6f5a7b8c9d`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// What its owner says: `Asked` when it may still answer, `Missing` when it lives and has not given it, `Given`, or
    /// `Silent` when it has not answered for three drift periods of the operator and counts as lost. Absent where nobody has
    /// to be asked. Example: `Missing`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent: Option<String>,
    /// Why it is never taken over, where that is so. Example: `it is defined in a file of the server`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// What would change of it. Example: `grant INSERT ON weir_shop__web.events_data`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
}
