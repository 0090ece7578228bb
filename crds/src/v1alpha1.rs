//! `AnalyticsStack`: everything that an application team wants from Weir, in one object.

mod adoption;
mod clickhouse;
mod ingest;
mod keys;
mod policy;
mod rotation;
mod schema;
mod status;
mod users;
mod value;

pub use adoption::{AdoptedEntity, AdoptionStatus};
pub use clickhouse::{CaReference, ClickhouseSpec, SecretReference};
pub use ingest::{
    BufferSpec, ImageSpec, IngestSpec, IpPolicy, LimitsSpec, PodMetadata, PosthogSpec, PrivacySpec,
    SpoolSpec, UpdatePolicy,
};
pub use keys::{KeyScope, KeySpec, KeyType};
use kube::{CustomResource, KubeSchema};
pub use policy::{AccessDeletion, DataDeletion, DeletionPolicy, DriftPolicy, PolicySpec};
pub use rotation::{CredentialStep, RotationSpec, RotationWindow};
pub use schema::{SchemaModules, SchemaSpec};
use serde::{Deserialize, Serialize};
pub use status::{
    AnalyticsStackStatus, BlockedBy, ConditionType, CredentialStatus, ImageStatus, Reason, SchemaStatus,
    SpoolStatus,
};
pub use users::{QuotaInterval, SettingChange, TableAccess, UserProfile, UserSetting, UserSpec};
pub use value::{CREDENTIAL_LABEL, SecretKeyReference, ValueSource};

/// Finalizer that keeps a stack until what it owns in ClickHouse is gone or given up.
pub const FINALIZER: &str = "weir.dev/clickhouse-access";
/// Type that a Secret must have to be used as ClickHouse's administrator.
pub const ADMIN_SECRET_TYPE: &str = "weir.dev/clickhouse-admin";

/// Runs product analytics on your own ClickHouse: ingest pods pinned by digest, Secrets with keys,
/// migration Jobs and ClickHouse users, all kept true. Smallest use: `spec.clickhouse`, `spec.ingest.image`
/// and one entry in `spec.keys`.
#[derive(CustomResource, KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq)]
#[kube(
    group = "weir.dev",
    version = "v1alpha1",
    kind = "AnalyticsStack",
    plural = "analyticsstacks",
    shortname = "astack",
    category = "analytics",
    namespaced,
    status = "AnalyticsStackStatus",
    derive = "PartialEq",
    doc = "Product analytics on your own ClickHouse: ingest, keys, users and schema, kept true by the Weir operator.",
    validation = Rule::new("size(self.metadata.name) <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name: must begin with a letter and have at most 40 lower-case letters, digits and dashes, since a Service and ClickHouse users carry it; choose another name"),
    scale(
        spec_replicas_path = ".spec.ingest.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        description = "Whether the stack serves as its spec says"),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
        description = "Why, in one word"),
    printcolumn(name = "Image", type_ = "string", json_path = ".status.image.short",
        description = "Digest that the image resolves to, shortened"),
    printcolumn(name = "Schema", type_ = "integer", json_path = ".status.schema.version",
        description = "Migration version of the database"),
    printcolumn(name = "Waiting for", type_ = "string", json_path = ".status.blockedBy[0].object",
        description = "First object that the stack waits for"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "URL", type_ = "string", json_path = ".status.url", priority = 1,
        description = "Address that SDKs send to, inside the cluster"),
    printcolumn(name = "Message", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].message"#, priority = 1,
        description = "The Ready condition in a sentence")
)]
#[serde(rename_all = "camelCase")]
pub struct AnalyticsStackSpec {
    /// ClickHouse that the stack lives on. Its administrator's Secret is in the stack's own namespace.
    pub clickhouse: ClickhouseSpec,
    /// Ingest service that SDKs send to.
    pub ingest: IngestSpec,
    /// Ingestion keys, by name. Each is published in a Secret of its own. Default: none, so only
    /// `ingest.origins` can send.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub keys: Vec<KeySpec>,
    /// ClickHouse readers, by name. Each gets a user of its own and a Secret to log in with. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub users: Vec<UserSpec>,
    /// Tables that the stack keeps in its database.
    #[serde(default)]
    pub schema: SchemaSpec,
    /// What the operator may do, and what deleting the stack does.
    #[serde(default)]
    pub policy: PolicySpec,
}
