//! `spec.ingest.image`: which image the pods run, and what a moved tag does.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::v1alpha1::SecretReference;

/// Image of the ingest service.
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.updatePolicy != 'Never' || self.reference.contains('@sha256:')")
    .message("spec.ingest.image.updatePolicy: Never needs a digest in reference, such as registry.example.com/weir-ingest@sha256:...").field_path(".updatePolicy"))]
pub struct ImageSpec {
    /// Repository with a tag or a digest. Example: `registry.example.com/weir-ingest:0.1.0`.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9.-]+(:[0-9]{1,5})?(/[a-z0-9._-]+)+(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}|@sha256:[0-9a-f]{64})$')")
        .message("spec.ingest.image.reference: must be host/repository:tag or host/repository@sha256:digest, such as registry.example.com/weir-ingest:0.1.0"))]
    pub reference: String,
    /// What a moved tag does. `IfNotPresent` keeps the first digest, `Always` follows the tag at `interval`, `Never`
    /// demands a digest in `reference`. Default: `IfNotPresent`.
    #[serde(default)]
    pub update_policy: UpdatePolicy,
    /// How often the tag is looked up under `Always`, at least one minute. Default: `1h`. Example: `15m`.
    #[serde(default = "default_interval")]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+h)?([0-9]+m)?([0-9]+s)?$') && duration(self) >= duration('1m')")
        .message("spec.ingest.image.interval: must be a duration of at least one minute, such as 15m or 1h30m"))]
    #[schemars(length(min = 2, max = 16))]
    pub interval: String,
    /// Secrets of type `kubernetes.io/dockerconfigjson` that may read the image; used by the operator and by the pods.
    /// Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub pull_secrets: Vec<SecretReference>,
}

/// What a moved tag does to running pods.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
pub enum UpdatePolicy {
    /// The first digest that was resolved stays until `reference` changes.
    #[default]
    IfNotPresent,
    /// The tag is looked up every `interval`, and a new digest is rolled out.
    Always,
    /// Nothing is looked up: `reference` must carry a digest.
    Never,
}

fn default_interval() -> String {
    "1h".into()
}
