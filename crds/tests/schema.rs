//! The generated manifest is current, small, documented, and says what the types mean.

use std::{fs, path::Path};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray,
};
use serde_json::json;
use weir_crds::{AnalyticsStack, ConditionType, Reason, analytics_stack_crd, manifests};

fn root_schema() -> JSONSchemaProps {
    let mut crd = analytics_stack_crd();
    crd.spec
        .versions
        .remove(0)
        .schema
        .and_then(|schema| schema.open_api_v3_schema)
        .expect("the CRD has one version with a schema")
}

#[test]
fn generated_manifests_are_current() {
    for (path, rendered) in manifests().unwrap() {
        let committed =
            fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap_or_default();
        assert!(committed == rendered, "{path} is stale: run `cargo run -p weir-crds --bin crdgen`");
        assert!(!rendered.contains("{{"), "{path} holds what Helm takes for a template");
    }
}

#[test]
fn manifest_fits_the_annotation_of_client_side_apply() {
    let json = serde_json::to_string(&analytics_stack_crd()).unwrap();
    assert!(json.len() < 200_000, "the CRD has {} bytes of JSON", json.len());
}

#[test]
fn an_unseen_stack_is_never_current() {
    let status = root_schema().properties.unwrap().remove("status").unwrap();
    assert_eq!(status.default.unwrap().0, json!({ "observedGeneration": -1 }));
}

#[test]
fn every_field_is_documented() {
    let mut missing = Vec::new();
    undocumented(&root_schema(), "", &mut missing);
    assert!(missing.is_empty(), "fields without a description: {missing:?}");
}

fn undocumented(schema: &JSONSchemaProps, path: &str, missing: &mut Vec<String>) {
    const EMBEDDED: [&str; 4] = ["resources", "tolerations", "topologySpreadConstraints", "conditions"];
    for (name, field) in schema.properties.iter().flatten() {
        let here = format!("{path}.{name}");
        if [".metadata", ".apiVersion", ".kind", ".spec", ".status"].contains(&here.as_str()) {
            // The root's own fields are described by Kubernetes and by the kind.
        } else if field.description.as_deref().unwrap_or_default().len() < 10 {
            missing.push(here.clone());
        }
        if !EMBEDDED.contains(&name.as_str()) {
            undocumented(field, &here, missing);
            if let Some(JSONSchemaPropsOrArray::Schema(items)) = &field.items {
                undocumented(items, &here, missing);
            }
        }
    }
}

#[test]
fn no_field_can_hold_a_secret() {
    let mut found = Vec::new();
    secret_like(&root_schema(), "", &mut found);
    assert!(found.is_empty(), "fields that look as if they held a secret: {found:?}");
}

fn secret_like(schema: &JSONSchemaProps, path: &str, found: &mut Vec<String>) {
    for (name, field) in schema.properties.iter().flatten() {
        let lower = name.to_lowercase();
        if ["password", "token", "credential"].iter().any(|word| lower.contains(word)) {
            found.push(format!("{path}.{name}"));
        }
        secret_like(field, &format!("{path}.{name}"), found);
    }
}

#[test]
fn lists_with_a_natural_key_are_maps() {
    let root = root_schema().properties.unwrap();
    for (section, fields) in
        [("spec", vec!["keys", "users"]), ("status", vec!["conditions", "keys", "users"])]
    {
        let section = root[section].properties.as_ref().unwrap();
        for field in fields {
            assert_eq!(section[field].x_kubernetes_list_type.as_deref(), Some("map"), "{field}");
        }
    }
}

#[test]
fn smallest_stack_is_completed_by_defaults() {
    let stack: AnalyticsStack = serde_json::from_value(json!({
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "AnalyticsStack",
        "metadata": { "name": "shop" },
        "spec": {
            "clickhouse": { "endpoints": ["https://clickhouse:8443"], "adminSecretRef": { "name": "admin" } },
            "ingest": { "image": { "reference": "registry.example.com/weir-ingest:0.1.0" } }
        }
    }))
    .unwrap();
    assert_eq!(stack.spec.ingest.replicas, 2);
    assert_eq!(stack.spec.ingest.image.interval, "1h");
    assert_eq!(stack.spec.policy.deletion.timeout_seconds, 300);
    assert!(stack.spec.schema.modules.product);
}

#[test]
fn every_example_is_a_stack_or_an_object_it_needs() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut stacks = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        for document in text.split("\n---\n").filter(|document| document.contains("kind: AnalyticsStack")) {
            serde_saphyr::from_str::<AnalyticsStack>(document)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            stacks += 1;
        }
    }
    assert!(stacks >= 2, "only {stacks} stacks in examples/");
}

#[test]
fn names_of_conditions_and_reasons_are_those_of_their_variants() {
    assert_eq!(ConditionType::SchemaReady.as_str(), format!("{:?}", ConditionType::SchemaReady));
    for reason in [Reason::Succeeded, Reason::ClickhouseAuthenticationFailed, Reason::LeftBehind] {
        assert_eq!(reason.as_str(), format!("{reason:?}"));
    }
}
