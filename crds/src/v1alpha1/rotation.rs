//! `rotation`: when a generated credential is replaced by a new generation, and when the old one ends.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// When a credential is replaced, and when the one before it ends. Old and new are both valid in between.
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("duration(self.cap) >= duration(self.overlap)")
    .message("rotation.cap: must be at least as long as overlap, or the old credential would end before it").field_path(".cap"))]
pub struct RotationSpec {
    /// Time from one generation to the next, at least one minute, as hours, minutes and seconds. It is shortened by up to
    /// a tenth, so that credentials made together are not replaced together. Default: none, so only the annotation
    /// `weir.dev/rotate` starts a rotation. Example: `720h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 16))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+h)?([0-9]+m)?([0-9]+s)?$') && duration(self) >= duration('1m')")
        .message("rotation.interval: must be a duration of at least one minute, such as 720h or 1h30m"))]
    pub interval: Option<String>,
    /// Time for which the old generation stays valid in any case. Default: `24h`. Example: `30m`.
    #[serde(default = "default_overlap")]
    #[schemars(length(min = 2, max = 16))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+h)?([0-9]+m)?([0-9]+s)?$')")
        .message("rotation.overlap: must be a duration, such as 30m or 24h"))]
    pub overlap: String,
    /// Time without any use after which the old generation ends, once `overlap` is over. The use of a login is read from
    /// ClickHouse's `query_log` and `session_log`, that of a key from the ingest pods. Default: `1h`. Example: `10m`.
    #[serde(default = "default_quiet_period")]
    #[schemars(length(min = 2, max = 16))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+h)?([0-9]+m)?([0-9]+s)?$')")
        .message("rotation.quietPeriod: must be a duration, such as 10m or 1h"))]
    pub quiet_period: String,
    /// Time after which the old generation ends although it is used, or although its use is unknown. ClickHouse and the
    /// ingest pods enforce it also without the operator. Default: `168h`. Example: `48h`.
    #[serde(default = "default_cap")]
    #[schemars(length(min = 2, max = 16))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+h)?([0-9]+m)?([0-9]+s)?$')")
        .message("rotation.cap: must be a duration, such as 48h or 168h"))]
    pub cap: String,
    /// Hours of the day in which a rotation by `interval` may start. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<RotationWindow>,
}

/// Hours of the day, in UTC. A window whose end is before its start goes over midnight.
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RotationWindow {
    /// Start, in UTC. Example: `02:00`.
    #[schemars(regex(pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    pub from: String,
    /// End, in UTC. Example: `04:30`.
    #[schemars(regex(pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    pub to: String,
}

/// The step that a credential is at.
#[derive(JsonSchema, Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub enum CredentialStep {
    /// One generation, published and in use.
    Current,
    /// A new generation is written ahead and not published yet.
    Pending,
    /// The new generation is published; an older one is still valid.
    Retiring,
    /// Revoked, and nothing is valid until the owner of the Secret that the value is taken from writes another one.
    Revoked,
}

impl Default for RotationSpec {
    fn default() -> Self {
        Self {
            interval: None,
            overlap: default_overlap(),
            quiet_period: default_quiet_period(),
            cap: default_cap(),
            window: None,
        }
    }
}

fn default_overlap() -> String {
    "24h".into()
}

fn default_quiet_period() -> String {
    "1h".into()
}

fn default_cap() -> String {
    "168h".into()
}
