//! `spec.users`: people and programs that read the stack's database.

mod quota;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{RotationSpec, ValueSource};

pub use quota::QuotaInterval;

/// One reader of the stack's database. The operator creates its ClickHouse user and publishes the login in a Secret.
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.profile == 'Custom' ? size(self.tables) > 0 : !has(self.tables) && !has(self.settings)")
    .message("spec.users[]: tables and settings belong to profile Custom, which needs at least one table; choose Custom, or leave them out").field_path(".profile"))]
#[x_kube(validation = Rule::new("!has(self.valueFrom) || !has(self.rotation) || !has(self.rotation.interval) && !has(self.rotation.window)")
    .message("spec.users[].rotation: interval and window do not go with valueFrom, since the owner of that Secret decides when the password changes; remove them, or valueFrom").field_path(".rotation"))]
#[x_kube(validation = Rule::new("!has(self.valueFrom) || !has(self.secretName) || self.secretName != self.valueFrom.secretKeyRef.name")
    .message("spec.users[].secretName: is the Secret that the password is taken from, which is never written; choose another name").field_path(".secretName"))]
pub struct UserSpec {
    /// Name of the reader. Example: `grafana`.
    #[schemars(length(min = 1, max = 32), regex(pattern = "^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// What the reader may do. Default: `ReadOnly`.
    #[serde(default)]
    pub profile: UserProfile,
    /// Tables that a reader of profile `Custom` may read; other profiles read all. A table need not exist yet.
    /// Default: none. Example: `[{name: events, columns: [uuid, event, timestamp]}]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub tables: Vec<TableAccess>,
    /// Settings of a reader of profile `Custom`, with what it may change of them. Default: none, so that it may change
    /// every setting.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub settings: Vec<UserSetting>,
    /// Most that the reader may use in a time, of any profile; ClickHouse refuses what goes beyond it until the time is over.
    /// All generations of its login count together, and ClickHouse loses count when it starts anew. The operator's own check
    /// of the login, about once an hour, is one query too. Default: no limit.
    /// Example: `[{interval: 1h, queries: 1000, executionTime: 10m}]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["interval".into()]))]
    #[x_kube(validation = Rule::new("self.all(q, self.exists_one(other, duration(other.interval) == duration(q.interval)))")
        .message("spec.users[].quota: two entries name the same time, such as 60m and 1h; make one of them"))]
    pub quota: Vec<QuotaInterval>,
    /// Networks that the reader may log in from, in CIDR form. The operator has to log in as well, to prove the login, so
    /// they must hold its address. Default: any. Example: `["10.0.0.0/8"]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 49)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = Rule::new("self.all(c, isCIDR(c) && string(cidr(c).masked()) == c)")
        .message("spec.users[].hosts: each must be a network in CIDR form without host bits, such as 10.0.0.0/8"))]
    pub hosts: Vec<String>,
    /// Secret of yours to take the password from, instead of a generated one. The user keeps its name in ClickHouse when
    /// the value there changes; the old password goes on working for `rotation.overlap`, whether it is used or not, and
    /// ClickHouse refuses it at `rotation.cap` at the latest. Default: generated. Example:
    /// `{secretKeyRef: {name: grafana-clickhouse, key: password}}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<ValueSource>,
    /// When the login is replaced by a new generation. Default: only when the annotation `weir.dev/rotate` asks for it, or,
    /// with `valueFrom`, when the value there changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<RotationSpec>,
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
    /// The same, as ClickStack's HyperDX needs it: read-only, with `max_rows_to_read`, `read_overflow_mode`,
    /// `cancel_http_readonly_queries_on_client_close` and `wait_end_of_query` changeable and no other setting.
    HyperDX,
    /// SELECT on the named tables and columns, with the named settings.
    Custom,
}

/// A table that a reader may read.
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TableAccess {
    /// Table or view in the stack's database. Example: `events`.
    #[schemars(length(min = 1, max = 128), regex(pattern = "^[A-Za-z_][A-Za-z0-9_]*$"))]
    pub name: String,
    /// Columns that may be read. Default: all. Example: `[uuid, event]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 128), regex(pattern = "^[A-Za-z_][A-Za-z0-9_]*$")))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub columns: Vec<String>,
    /// Condition that a row must meet to be read: a ClickHouse expression over the columns of this table or view, which
    /// need not be among `columns`. It holds for reads of this table alone; a reader that may also read another table or
    /// view of the same rows needs a condition there too. Comments are refused. Default: every row.
    /// Example: `event = 'purchase' AND timestamp > now() - INTERVAL 90 DAY`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = Rule::new("self.matches('[^ \\t\\r\\n]')")
        .message("spec.users[].tables[].rows: is blank; give a condition, or leave it out so that every row is read"))]
    #[x_kube(validation = Rule::new("!self.matches('(?i)^[ \\t\\r\\n(]*(where|using|select)[^a-z0-9_]')")
        .message("spec.users[].tables[].rows: must be the condition alone, such as event = 'purchase'; leave out WHERE, USING and SELECT"))]
    pub rows: Option<String>,
}

/// A setting of a reader and what it may change of it.
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.value) || has(self.min) || has(self.max) || self.change != 'Writable'")
    .message("spec.users[].settings[]: says nothing of the setting; give value, min or max, or a change other than Writable"))]
pub struct UserSetting {
    /// Name as ClickHouse knows it. Example: `max_threads`.
    #[schemars(length(min = 1, max = 128), regex(pattern = "^[a-z][a-z0-9_]*$"))]
    pub name: String,
    /// Value. Default: the server's. Example: `"4"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = Rule::new("!self.matches('^[-+.0-9]') || self.matches('^-?(0|[1-9][0-9]*)([.][0-9]*[1-9])?$')")
        .message("spec.users[].settings[].value: a number must be written out, such as 10737418240 instead of 10Gi, and without zeros that say nothing"))]
    pub value: Option<String>,
    /// Smallest value that the reader may choose. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = Rule::new("!self.matches('^[-+.0-9]') || self.matches('^-?(0|[1-9][0-9]*)([.][0-9]*[1-9])?$')")
        .message("spec.users[].settings[].min: a number must be written out, such as 10737418240 instead of 10Gi, and without zeros that say nothing"))]
    pub min: Option<String>,
    /// Largest value that the reader may choose. Default: none. Example: `"8"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = Rule::new("!self.matches('^[-+.0-9]') || self.matches('^-?(0|[1-9][0-9]*)([.][0-9]*[1-9])?$')")
        .message("spec.users[].settings[].max: a number must be written out, such as 10737418240 instead of 10Gi, and without zeros that say nothing"))]
    pub max: Option<String>,
    /// Whether the reader may change it: `Writable`, `Const`, or `ChangeableInReadonly`, which holds also for a reader
    /// whose setting `readonly` is 1. Default: `Writable`.
    #[serde(default)]
    pub change: SettingChange,
}

/// Whether a reader may change a setting.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
pub enum SettingChange {
    /// Within the limits, unless `readonly` is 1.
    #[default]
    Writable,
    /// Never.
    Const,
    /// Within the limits, also when `readonly` is 1.
    ChangeableInReadonly,
}
