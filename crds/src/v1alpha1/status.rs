//! `status`: what the operator saw and what it waits for. Judged by the rules of kstatus.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AdoptionStatus, CredentialStep};

/// What the operator saw and what it waits for.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AnalyticsStackStatus {
    /// Generation of the spec that this status speaks of; -1 until an operator has seen the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Reconciling and Stalled as kstatus reads them, and one condition for each part of the stack.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Everything that the stack waits for, most important first. Empty when it waits for nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub blocked_by: Vec<BlockedBy>,
    /// Image that the spec resolves to; the pods run it once WorkloadReady is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageStatus>,
    /// Database that holds the events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// Ingestion keys, as published.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub keys: Vec<CredentialStatus>,
    /// Readers, as published.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub users: Vec<CredentialStatus>,
    /// Digest of the users, roles, grants, row policies and quotas that the stack asks for now, once they were found to be in order. What differs
    /// from then on was changed by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_digest: Option<String>,
    /// Value of the annotation `weir.dev/rotate` that was carried out last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_rotate: Option<String>,
    /// Value of the annotation `weir.dev/revoke` that was carried out last: every pod and server refuses what it names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_revoke: Option<String>,
    /// What bears the stack's names in ClickHouse and is not its own, and what would change of it if the stack took it over.
    /// Present while that keeps the stack from its work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adoption: Option<AdoptionStatus>,
    /// Value of the annotation `weir.dev/adopt` that was carried out last: what it approved belongs to the stack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_adopt: Option<String>,
    /// Migrations of the database. They are the record of what was migrated: a finished migration Job is kept as long as its
    /// image runs, but one that somebody deletes is not made again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<SchemaStatus>,
    /// Claims of the spool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spool: Option<SpoolStatus>,
    /// Address that SDKs inside the cluster send to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Ingest pods that are ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Label selector of the ingest pods, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
}

/// One thing that the stack waits for.
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct BlockedBy {
    /// What is waited for, as kind and name. Example: `Secret/clickhouse-admin`.
    pub object: String,
    /// Why, as one of the condition reasons.
    pub reason: String,
    /// Since when.
    pub since: Time,
    /// What to do about it.
    pub hint: String,
}

/// Image that the spec resolves to.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ImageStatus {
    /// Reference of the spec that was resolved.
    pub requested: String,
    /// Repository and digest.
    pub digest: String,
    /// First twelve digits of the digest.
    pub short: String,
    /// When the digest was resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved_at: Option<Time>,
}

/// One published credential. It never holds the credential itself.
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CredentialStatus {
    /// Name of the key or reader in the spec.
    pub name: String,
    /// Generation that is published, counted from 1.
    pub generation: i64,
    /// Secret that holds it.
    pub secret_name: String,
    /// User in ClickHouse; absent for ingestion keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// When a login with this generation last succeeded on every endpoint, as of publishing; absent for ingestion keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proven_at: Option<Time>,
    /// Where its rotation is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<CredentialStep>,
    /// When the next rotation by schedule is due; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_rotation_at: Option<Time>,
}

/// Migrations of the database.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SchemaStatus {
    /// Migration version that the database has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    /// Digest of the image whose migrations ran last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// Claims of the spool.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SpoolStatus {
    /// How many claims may hold events that ClickHouse does not have yet, counted from ordinal 0. Claims of pods that left
    /// count until they are drained.
    pub claims: i32,
}

/// Types of the conditions in status.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConditionType {
    /// The stack serves as its spec says, verified for this generation.
    Ready,
    /// The operator is at work or retries by itself. Present only while true.
    Reconciling,
    /// Somebody has to act; retrying alone cannot help. Present only while true.
    Stalled,
    /// The spec makes sense as a whole.
    SpecValid,
    /// Secrets, ClickHouse and registry that the spec refers to can be used.
    DependenciesReady,
    /// The image reference is resolved to a digest.
    ImageResolved,
    /// Keys and logins are proven and published.
    CredentialsReady,
    /// Roles, users and grants in ClickHouse are as desired.
    AccessReady,
    /// The database is migrated for the image.
    SchemaReady,
    /// The ingest pods run the image and are ready.
    WorkloadReady,
}

impl ConditionType {
    /// Name of the type as it stands in status.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
            Self::SpecValid => "SpecValid",
            Self::DependenciesReady => "DependenciesReady",
            Self::ImageResolved => "ImageResolved",
            Self::CredentialsReady => "CredentialsReady",
            Self::AccessReady => "AccessReady",
            Self::SchemaReady => "SchemaReady",
            Self::WorkloadReady => "WorkloadReady",
        }
    }
}

/// Reasons of conditions, waits and events: a closed list, so that alerts and runbooks can name them.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Everything is as the spec says.
    Succeeded,
    /// The operator has started on this generation.
    Progressing,
    /// A step waits for one before it.
    Waiting,
    /// The spec contradicts itself or the operator's configuration.
    InvalidSpec,
    /// A Secret that the spec refers to does not exist.
    SecretNotFound,
    /// A Secret exists and cannot be used: wrong type, missing key or malformed value.
    SecretInvalid,
    /// A Secret of the name that the operator would publish exists and is not the operator's.
    SecretConflict,
    /// ClickHouse does not answer.
    ClickhouseUnreachable,
    /// ClickHouse refused the administrator's user name or password.
    ClickhouseAuthenticationFailed,
    /// The administrator lacks a right that the stack needs.
    ClickhousePermissionDenied,
    /// ClickHouse answered with another error.
    ClickhouseError,
    /// A database, role or user of that name belongs to someone else.
    OwnershipConflict,
    /// What the stack took over in ClickHouse is being brought in line with the spec; whoever used it before goes on with it
    /// until the stack's own pods are proven.
    Adopting,
    /// What the stack gave to another one belongs to that one now; the pods go on until the stack is deleted.
    HandedOver,
    /// A database, role or user was taken over, as an annotation asked.
    Adopted,
    /// An older generation of a credential, or what another stack still uses of what was taken over, is still valid and ends
    /// later; nothing is missing meanwhile.
    Retiring,
    /// A rotation was asked for whose value comes from a Secret of somebody else, who has to change it there.
    SuppliedByOwner,
    /// Users, roles or grants were changed by hand, and the policy leaves them.
    DriftFound,
    /// Users, roles or grants were changed by hand, or ClickHouse was replaced, and they were put back.
    DriftRepaired,
    /// A login with a new user failed on an endpoint.
    LoginNotProven,
    /// The registry does not know the tag or digest.
    ImageNotFound,
    /// The registry refused the pull secret, or asked for one.
    RegistryAuthenticationFailed,
    /// The registry does not answer.
    RegistryUnreachable,
    /// The registry's answer cannot be used.
    ImageInvalid,
    /// The migration Job is running.
    MigrationRunning,
    /// The migration Job failed for good, or its pods cannot run.
    MigrationFailed,
    /// New pods are being rolled out.
    RolloutInProgress,
    /// New pods do not become ready.
    RolloutFailed,
    /// The claim of a pod that left is being drained into ClickHouse.
    SpoolDraining,
    /// The Job that drains the claim of a pod that left cannot run.
    SpoolDrainFailed,
    /// The API server refused a child object.
    ApplyFailed,
    /// The stack is being deleted.
    Deleting,
    /// Deletion went on without ClickHouse; leftovers are named.
    LeftBehind,
}

impl Reason {
    /// Name of the reason as it stands in status and events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "Succeeded",
            Self::Progressing => "Progressing",
            Self::Waiting => "Waiting",
            Self::InvalidSpec => "InvalidSpec",
            Self::SecretNotFound => "SecretNotFound",
            Self::SecretInvalid => "SecretInvalid",
            Self::SecretConflict => "SecretConflict",
            Self::ClickhouseUnreachable => "ClickhouseUnreachable",
            Self::ClickhouseAuthenticationFailed => "ClickhouseAuthenticationFailed",
            Self::ClickhousePermissionDenied => "ClickhousePermissionDenied",
            Self::ClickhouseError => "ClickhouseError",
            Self::OwnershipConflict => "OwnershipConflict",
            Self::Adopting => "Adopting",
            Self::HandedOver => "HandedOver",
            Self::Adopted => "Adopted",
            Self::Retiring => "Retiring",
            Self::SuppliedByOwner => "SuppliedByOwner",
            Self::DriftFound => "DriftFound",
            Self::DriftRepaired => "DriftRepaired",
            Self::LoginNotProven => "LoginNotProven",
            Self::ImageNotFound => "ImageNotFound",
            Self::RegistryAuthenticationFailed => "RegistryAuthenticationFailed",
            Self::RegistryUnreachable => "RegistryUnreachable",
            Self::ImageInvalid => "ImageInvalid",
            Self::MigrationRunning => "MigrationRunning",
            Self::MigrationFailed => "MigrationFailed",
            Self::RolloutInProgress => "RolloutInProgress",
            Self::RolloutFailed => "RolloutFailed",
            Self::SpoolDraining => "SpoolDraining",
            Self::SpoolDrainFailed => "SpoolDrainFailed",
            Self::ApplyFailed => "ApplyFailed",
            Self::Deleting => "Deleting",
            Self::LeftBehind => "LeftBehind",
        }
    }

    /// Whether retrying cannot help until somebody acts, so that the stack is Stalled.
    pub const fn is_permanent(self) -> bool {
        matches!(
            self,
            Self::InvalidSpec
                | Self::SecretInvalid
                | Self::SecretConflict
                | Self::ClickhouseAuthenticationFailed
                | Self::ClickhousePermissionDenied
                | Self::OwnershipConflict
                | Self::HandedOver
                | Self::ImageNotFound
                | Self::RegistryAuthenticationFailed
                | Self::ImageInvalid
                | Self::MigrationFailed
        )
    }
}
