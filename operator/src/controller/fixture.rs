//! The stack that pure tests start from. Its name differs from the product's, so that swapped labels show.

use k8s_openapi::jiff::Timestamp;
use weir_crds::AnalyticsStack;

use super::stack::{Image, Stack};
use super::validate::{Found, Rules, validate};
use crate::access::Owner;

/// A stack as the API server would give it.
pub(crate) fn stack() -> AnalyticsStack {
    serde_json::from_value(serde_json::json!({
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "AnalyticsStack",
        "metadata": {
            "name": "store", "namespace": "retail", "uid": "6f1c1f4e-0000-4000-8000-000000000001", "generation": 3,
            "resourceVersion": "100"
        },
        "spec": {
            "clickhouse": {
                "endpoints": ["https://db.example.com:8443"],
                "adminSecretRef": {"name": "db-admin"},
                "ca": {"secretName": "db-ca"}
            },
            "ingest": {"image": {"reference": "registry.example.com/ingest:1.2.3", "pullSecrets": [{"name": "pull"}]}},
            "keys": [{"name": "web"}],
            "users": [{"name": "grafana"}]
        }
    }))
    .expect("the fixture is a valid stack")
}

/// The image that the fixture's tag stands for.
pub(crate) fn image() -> Image {
    Image {
        requested: "registry.example.com/ingest:1.2.3".into(),
        pinned: format!("registry.example.com/ingest@sha256:{}", "ab".repeat(32)),
        resolved_at: Some(Timestamp::UNIX_EPOCH),
    }
}

/// The fixture, checked, with image and CA.
pub(crate) fn checked() -> Stack {
    let rules = Rules { allow_inline_clickhouse: true, api_server_hosts: Vec::new() };
    let found = Found { ca_pem: Some("-----BEGIN CERTIFICATE-----\n".into()), image: Some(image()) };
    validate(&stack(), &rules, found).expect("the fixture is valid")
}

/// The fixture as owner in ClickHouse.
pub(crate) fn owner() -> Owner {
    let stack = stack();
    Owner {
        cluster_id: "cluster".into(),
        namespace: "retail".into(),
        name: "store".into(),
        uid: stack.metadata.uid.unwrap_or_default(),
    }
}
