//! The children of the fixture, whole, and what must hold for every stack.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use secrecy::SecretString;
use weir_crds::KeyType;

use super::*;
use crate::controller::credential::{Highest, State, Use, Value};
use crate::controller::fixture;

struct Never;

impl Highest for Never {
    fn highest(&self, _: &Use) -> i64 {
        0
    }
}

fn build(stack: &Stack, migrated: bool) -> Desired {
    let secrets = &BTreeMap::new();
    let credentials = credential::credentials(stack, secrets, &BTreeMap::new(), &Never);
    let retirements = Retirements::default();
    desired(Inputs {
        stack,
        owner: &fixture::owner(),
        secrets,
        credentials,
        migrated,
        retirements,
        forms: &crate::access::Forms::default(),
    })
}

fn value(generation: i64, text: &str) -> State {
    State::Pending(Value::first(generation, SecretString::from(text.to_owned())))
}

#[test]
fn the_children_of_the_fixture() {
    let desired = build(&fixture::checked(), false);
    let children: Vec<_> = desired
        .surroundings
        .iter()
        .chain(&desired.workload)
        .chain(desired.migration.as_ref().map(|migration| &migration.job))
        .map(json)
        .collect();
    insta::assert_yaml_snapshot!(children);
}

fn json(child: &Child) -> serde_json::Value {
    let value = match child {
        Child::ServiceAccount(object) => serde_json::to_value(object),
        Child::Service(object) => serde_json::to_value(object),
        Child::NetworkPolicy(object) => serde_json::to_value(object),
        Child::PodDisruptionBudget(object) => serde_json::to_value(object),
        Child::Deployment(object) => serde_json::to_value(object),
        Child::StatefulSet(object) => serde_json::to_value(object),
        Child::Job(object) => serde_json::to_value(object),
        Child::Secret(object) => serde_json::to_value(object),
    };
    value.unwrap()
}

#[test]
fn pods_with_a_spool_are_those_of_a_stateful_set_whose_claims_outlive_them() {
    let mut stack = fixture::checked();
    let plain = workload::pod_template(&stack, &fixture::image());
    stack.ingest.spool =
        Some(weir_crds::SpoolSpec { size: "10Gi".into(), storage_class_name: Some("fast".into()) });
    let set = json(&workload::workload(&stack, &fixture::image()));
    assert_eq!((&set["kind"], &set["metadata"]["name"]), (&"StatefulSet".into(), &"store-ingest".into()));
    let spec = &set["spec"];
    assert_eq!(spec["podManagementPolicy"], "Parallel");
    let retain = serde_json::json!({ "whenDeleted": "Retain", "whenScaled": "Retain" });
    assert_eq!(spec["persistentVolumeClaimRetentionPolicy"], retain);
    let claim = &spec["volumeClaimTemplates"][0];
    assert_eq!(
        (&claim["metadata"]["name"], &claim["spec"]["storageClassName"]),
        (&"spool".into(), &"fast".into())
    );
    assert_eq!(claim["spec"]["resources"]["requests"]["storage"], "10Gi");
    let container = &spec["template"]["spec"]["containers"][0];
    let mounts = container["volumeMounts"].as_array().unwrap();
    assert!(
        mounts.iter().any(|mount| mount["name"] == "spool" && mount["mountPath"] == "/var/lib/weir/spool")
    );
    let variable = |name: &str| {
        let variables = container["env"].as_array().unwrap();
        variables.iter().find(|variable| variable["name"] == name).map(|variable| variable["value"].clone())
    };
    assert_eq!(variable("WEIR_SPOOL_DIR"), Some("/var/lib/weir/spool".into()));
    assert_eq!(variable("WEIR_SPOOL_MAX_BYTES"), Some("9663676416".into()));
    let plain = serde_json::to_string(&plain).unwrap();
    assert!(!plain.contains("spool"), "without one nothing speaks of it");
}

#[test]
fn a_drain_mounts_the_claim_of_the_pod_that_left_and_nothing_that_is_limited() {
    let mut stack = fixture::checked();
    stack.ingest.spool = Some(weir_crds::SpoolSpec { size: "10Gi".into(), storage_class_name: None });
    let job = json(&Child::Job(Box::new(spool::drain(&stack, &fixture::image(), 3))));
    let pod = &job["spec"]["template"]["spec"];
    let volumes = pod["volumes"].as_array().unwrap();
    let claims: Vec<_> =
        volumes.iter().filter_map(|volume| volume["persistentVolumeClaim"]["claimName"].as_str()).collect();
    assert_eq!(claims, ["spool-store-ingest-3"]);
    assert_eq!(pod["containers"][0]["args"], serde_json::json!(["spool", "drain"]));
    assert!(!pod.to_string().contains("WEIR_SPOOL_MAX_BYTES"));
    assert_eq!(spool::drained_ordinal(&stack, "store-drain-3"), Some(3));
    assert_eq!(spool::drained_ordinal(&stack, "store-migrate-3"), None);
}

#[test]
fn what_is_served_and_let_in_is_told_only_where_it_differs_from_the_image() {
    let names = |stack: &Stack| -> Vec<String> {
        let variables = environment::environment(stack).into_iter();
        variables
            .map(|variable| format!("{}={}", variable.name, variable.value.unwrap_or_default()))
            .collect()
    };
    let mut stack = fixture::checked();
    let before = names(&stack);
    stack.ingest.posthog.enabled = false;
    stack.ingest.path_prefix = Some("/ingest".into());
    stack.ingest.limits.max_event_bytes = Some(1024);
    stack.ingest.limits.address_rate_limit = Some(5);
    stack.ingest.limits.key_rate_limit = Some(7);
    stack.ingest.privacy.ip = weir_crds::IpPolicy::Truncate;
    stack.ingest.privacy.property_denylist = vec!["email".into(), "$ip".into()];
    let after: Vec<_> = names(&stack).into_iter().filter(|variable| !before.contains(variable)).collect();
    assert_eq!(
        after,
        [
            "WEIR_POSTHOG_PATHS=false",
            "WEIR_PATH_PREFIX=/ingest",
            "WEIR_MAX_EVENT_BYTES=1024",
            "WEIR_ADDRESS_RATE_LIMIT=5",
            "WEIR_KEY_RATE_LIMIT=7",
            "WEIR_IP_POLICY=truncate",
            "WEIR_PROPERTY_DENYLIST=email,$ip",
        ]
    );
}

#[test]
fn every_child_carries_the_labels_and_the_owner() {
    let stack = fixture::checked();
    let metadata = metadata::metadata(&stack, "any".into(), metadata::Component::Ingest);
    let labels = metadata.labels.unwrap();
    let expected = [
        ("app.kubernetes.io/component", "ingest"),
        ("app.kubernetes.io/instance", "store"),
        ("app.kubernetes.io/managed-by", "weir-operator"),
        ("app.kubernetes.io/name", "weir-ingest"),
        ("weir.dev/stack", "store"),
    ];
    assert_eq!(labels, expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    let owner = &metadata.owner_references.unwrap()[0];
    assert_eq!((owner.uid.as_str(), owner.controller), (stack.uid.as_str(), Some(true)));
}

#[test]
fn keys_are_hashed_and_neither_roll_pods_nor_leave_their_secret() {
    let stack = fixture::checked();
    let mut credentials = credential::credentials(&stack, &BTreeMap::new(), &BTreeMap::new(), &Never);
    let template =
        |stack: &Stack| serde_json::to_string(&workload::pod_template(stack, &fixture::image())).unwrap();
    let before = template(&stack);
    let key = credentials.iter_mut().find(|credential| matches!(credential.purpose, Use::Key(..))).unwrap();
    key.state = value(2, "weir_pk_canary");
    let hashed = |stack: &Stack| secret::hashed_keys(stack, &credentials, &Retirements::default());
    let file = |stack: &Stack| -> serde_json::Value {
        let ByteString(json) = &secret::keys_file(stack, &hashed(stack)).data.unwrap()["keys.json"];
        serde_json::from_slice(json).unwrap()
    };
    let json = file(&stack);
    assert_eq!(json["generation"], hashed(&stack).generation);
    let mut edited = stack.clone();
    edited.keys[0].spec.origins = vec!["https://app.example.com".into()];
    assert_ne!(json["generation"], hashed(&edited).generation);
    assert_eq!(json["keys"][0]["name"], "web");
    assert_eq!(json["keys"][0].get("rateLimit"), None);
    edited.keys[0].spec.rate_limit = Some(500);
    assert_eq!(file(&edited)["keys"][0]["rateLimit"]["eventsPerSecond"], 500);
    assert_eq!(json["keys"][0]["sha256"].as_str().unwrap().len(), 64);
    assert!(!json.to_string().contains("canary"));
    assert_eq!(template(&stack), before);
}

#[test]
fn a_reader_finds_everything_to_log_in_with() {
    let stack = fixture::checked();
    let mut credentials = credential::credentials(&stack, &BTreeMap::new(), &BTreeMap::new(), &Never);
    let reader =
        credentials.iter_mut().find(|credential| matches!(credential.purpose, Use::Reader(_))).unwrap();
    reader.state = value(1, "canary");
    let published = secret::published(&stack, reader, reader.value().unwrap()).unwrap();
    let text = |key: &str| credential::text(&published, key).unwrap();
    assert_eq!(text("username"), "weir_retail__store_reader_grafana_g1");
    assert_eq!(text("url"), "https://db.example.com:8443");
    assert_eq!((text("host").as_str(), text("port").as_str()), ("db.example.com", "8443"));
    assert_eq!(text("database"), "weir_retail__store");
    assert!(text("ca.crt").starts_with("-----BEGIN"));
    assert_eq!(text("password"), "canary");
}

#[test]
fn a_lost_backing_is_restored_with_the_same_value_and_generation() {
    let stack = fixture::checked();
    let mut credential =
        credential::credentials(&stack, &BTreeMap::new(), &BTreeMap::new(), &Never).remove(2);
    assert_eq!(credential.purpose, Use::Key("web".into(), KeyType::Public));
    credential.state = value(4, "weir_pk_value");
    let published = secret::published(&stack, &credential, credential.value().unwrap()).unwrap();
    let secrets = BTreeMap::from([(credential.published.clone(), published)]);
    let State::Unbacked(found) =
        &credential::credentials(&stack, &secrets, &BTreeMap::new(), &Never)[2].state
    else {
        panic!("the published Secret was not read")
    };
    assert_eq!(found.generation, 4);
}

#[test]
fn a_new_ca_bundle_rolls_the_pods() {
    let template = |stack: &Stack| workload::pod_template(stack, &fixture::image());
    let before = fixture::checked();
    let mut rotated = before.clone();
    rotated.clickhouse.ca_pem = Some("another".into());
    assert_ne!(template(&before).metadata, template(&rotated).metadata);
    rotated.clickhouse.ca_pem = None;
    assert!(template(&rotated).metadata.unwrap().annotations.is_none());
}

#[test]
fn a_single_pod_has_no_budget_and_a_done_migration_no_job() {
    let mut stack = fixture::checked();
    stack.ingest.replicas = 1;
    let desired = build(&stack, true);
    assert!(!desired.surroundings.iter().any(|child| matches!(child, Child::PodDisruptionBudget(_))));
    assert!(desired.migration.is_none());
}

#[test]
fn debug_of_a_child_shows_no_content() {
    let stack = fixture::checked();
    let value = Value::first(1, "weir_pk_canary".to_owned().into());
    let secret = secret::ahead(&stack, "key-web", &value);
    let text = format!("{:?}", Child::Secret(Box::new(secret)));
    assert_eq!(text, "Secret/store-key-web-g1");
}
