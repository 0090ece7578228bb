//! `valueFrom`: a value that the owner of a Secret keeps, instead of one that the operator generates.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Label with which the owner of a Secret lets stacks of its namespace take values from it, with the value `true`.
pub const CREDENTIAL_LABEL: &str = "weir.dev/credential";

/// Where a value comes from. The Secret is read and never written; the value is checked, proven and copied into the
/// Secret that consumers use. Another value there starts a rotation.
#[derive(JsonSchema, Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ValueSource {
    /// Secret and the key in it that holds the value. The Secret must carry the label `weir.dev/credential: "true"`, so
    /// that no other can be used by naming it. Example: `{name: shop-web-key, key: token}`.
    pub secret_key_ref: SecretKeyReference,
}

/// A key of a Secret in the stack's namespace.
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyReference {
    /// Name of the Secret. Example: `shop-web-key`.
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// Key in the Secret. Its value must have 24 to 256 letters, digits and signs of ASCII, and neither spaces nor a line
    /// break at its end. Example: `token`.
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}
