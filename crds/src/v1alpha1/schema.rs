//! `spec.schema`: the tables that the stack keeps.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Tables that the stack keeps in its database.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SchemaSpec {
    /// Groups of tables, each on or off.
    #[serde(default)]
    pub modules: SchemaModules,
}

/// Groups of tables.
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SchemaModules {
    /// Events, persons, links of distinct ids, and sessions. Turning it off stops its migrations and keeps its
    /// tables. Default: true.
    #[serde(default = "on")]
    pub product: bool,
}

impl Default for SchemaModules {
    fn default() -> Self {
        Self { product: on() }
    }
}

fn on() -> bool {
    true
}
