//! The stack and the world that pure tests start from. Its name differs from the product's, so that swapped labels show.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::Timestamp;
use weir_crds::{AnalyticsStack, AnalyticsStackStatus, Reason};

use super::consumers::Consumers;
use super::observed::{Fault, Observed};
use super::pod_report::PodReport;
use super::stack::{Image, Stack};
use super::validate::{Found, Rules, validate};
use crate::access::{AdoptionRules, Forms, Owner};

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
    let rules = Rules { allow_inline_clickhouse: true, ..Rules::default() };
    let found = Found { ca_pem: Some("-----BEGIN CERTIFICATE-----\n".into()), image: Some(image()) };
    validate(&stack(), &rules, found).expect("the fixture is valid")
}

/// The world before anything was made, seen while ClickHouse is down.
pub(crate) fn observed() -> Observed {
    let down =
        Fault::dependency("ClickHouse/https://db", Reason::ClickhouseUnreachable, "it does not answer");
    Observed {
        now: Timestamp::UNIX_EPOCH,
        owner: owner(),
        has_finalizer: true,
        dependencies: Vec::new(),
        image: Ok(image()),
        catalogue: Err(down),
        forms: Forms::default(),
        supplied: BTreeMap::new(),
        secrets: BTreeMap::new(),
        live: BTreeMap::new(),
        applied: BTreeMap::new(),
        workloads: BTreeMap::new(),
        pods: PodReport::default(),
        jobs: BTreeMap::new(),
        job_reports: BTreeMap::new(),
        lost_claims: BTreeSet::new(),
        consumers: Consumers::Known(Vec::new()),
        evidence: BTreeMap::new(),
        adoption: AdoptionRules::default(),
        proven: BTreeSet::new(),
        refused: BTreeSet::new(),
        status: AnalyticsStackStatus::default(),
    }
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
