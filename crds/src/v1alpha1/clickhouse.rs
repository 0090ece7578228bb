//! `spec.clickhouse`: where the data lives and who may administer it.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// ClickHouse that the stack lives on.
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.database) == has(oldSelf.database) && (!has(self.database) || self.database == oldSelf.database)")
    .message("spec.clickhouse.database: is immutable, since events would stay behind; create a new stack instead").field_path(".database"))]
pub struct ClickhouseSpec {
    /// HTTP or HTTPS addresses of the server or of its replicas, scheme, host and port only; the first that
    /// answers is used, and every login is proven on all of them. Changing them rolls the ingest pods.
    /// Example: `["https://clickhouse.analytics.svc:8443"]`.
    #[schemars(length(min = 1, max = 8), inner(length(max = 253)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = Rule::new("self.all(e, e.matches('^https?://([A-Za-z0-9.-]+|\\\\[[0-9A-Fa-f:]+\\\\])(:[0-9]{1,5})?$'))")
        .message("spec.clickhouse.endpoints: each must be http:// or https:// with a host and an optional port, without user, path or query"))]
    pub endpoints: Vec<String>,
    /// Secret of type `weir.dev/clickhouse-admin` with the keys `username` and `password`. Its account needs the
    /// right to manage users, roles, grants, row policies and quotas for the stack's database; it is never handed to a pod.
    pub admin_secret_ref: SecretReference,
    /// CA that signed the server's certificate, when it is not a public one. Default: the public roots only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<CaReference>,
    /// Database of the stack, created when missing. Immutable. Default: `weir_<namespace>__<name>` with `-` and `.`
    /// turned into `_`. Example: `shop_analytics`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63), regex(pattern = "^[A-Za-z_][A-Za-z0-9_]*$"))]
    #[x_kube(validation = Rule::new("!(self in ['system', 'default', 'information_schema', 'INFORMATION_SCHEMA', 'weir_ledger'])")
        .message("spec.clickhouse.database: is a database of ClickHouse or of Weir itself; choose another name"))]
    pub database: Option<String>,
}

/// A Secret in the stack's own namespace.
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SecretReference {
    /// Name of the Secret. Example: `clickhouse-admin`.
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
}

/// A PEM bundle of certificate authorities, in a Secret of the stack's own namespace.
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CaReference {
    /// Name of the Secret that holds the bundle. Example: `clickhouse-ca`.
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub secret_name: String,
    /// Key of the bundle in that Secret. Default: `ca.crt`.
    #[serde(default = "default_ca_key")]
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

fn default_ca_key() -> String {
    "ca.crt".into()
}
