//! `spec.users[].quota`: the most that a reader may use in a time.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// A time and the most that the reader may use in it.
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.queries) || has(self.querySelects) || has(self.errors) || has(self.resultRows) || has(self.resultBytes) || has(self.readRows) || has(self.readBytes) || has(self.executionTime)")
    .message("spec.users[].quota[]: limits nothing; give at least one of queries, querySelects, errors, resultRows, resultBytes, readRows, readBytes and executionTime"))]
pub struct QuotaInterval {
    /// The time, from one second to one year, as hours, minutes and seconds. ClickHouse begins it anew at whole multiples of
    /// itself, an hour at each full hour of UTC. Example: `1h`.
    #[schemars(length(min = 2, max = 16))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+h)?([0-9]+m)?([0-9]+s)?$') && duration(self) >= duration('1s') && duration(self) <= duration('8784h')")
        .message("spec.users[].quota[].interval: must be a duration of one second to one year, such as 1h or 24h"))]
    pub interval: String,
    /// Queries of any kind. Default: no limit. Example: 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000_000_000_i64))]
    pub queries: Option<i64>,
    /// SELECT queries. Default: no limit. Example: 500.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000_000_000_i64))]
    pub query_selects: Option<i64>,
    /// Queries that failed. Default: no limit. Example: 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000_000_000_i64))]
    pub errors: Option<i64>,
    /// Rows of all results. Default: no limit. Example: 1000000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000_000_000_i64))]
    pub result_rows: Option<i64>,
    /// Bytes of all results, uncompressed. Default: no limit. Example: 1073741824.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000_000_000_i64))]
    pub result_bytes: Option<i64>,
    /// Rows that are read from tables, in all servers together. Default: no limit. Example: 1000000000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000_000_000_i64))]
    pub read_rows: Option<i64>,
    /// Bytes that are read from tables, uncompressed. Default: no limit. Example: 107374182400.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000_000_000_i64))]
    pub read_bytes: Option<i64>,
    /// Time that all queries take together, as hours, minutes and seconds. Default: no limit. Example: `10m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 16))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+h)?([0-9]+m)?([0-9]+s)?$') && duration(self) >= duration('1s')")
        .message("spec.users[].quota[].executionTime: must be a duration of at least one second, such as 90s or 10m"))]
    pub execution_time: Option<String>,
}
