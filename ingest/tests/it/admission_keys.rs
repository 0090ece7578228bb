//! Keys on the running service: generations that overlap, validity, use, and what each may send.

use serde_json::Value;
use serde_json::json;

use crate::keys::folder;
use crate::keys::hash;
use crate::service::Running;
use crate::service::eventually;
use crate::service::settings;
use crate::service::start_with;

fn body(key: &str, events: usize) -> String {
    let event = json!({"event": "a", "distinct_id": "u1"});
    json!({"api_key": key, "batch": vec![event; events]}).to_string()
}

fn key(name: &str, generation: u64, text: &str, more: &Value) -> Value {
    let mut key =
        json!({"name": name, "generation": generation, "sha256": hash(text), "scopes": ["capture"]});
    key.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    key
}

async fn status(service: &Running, key: &str) -> u16 {
    service.post(body(key, 1), &[]).await.status.as_u16()
}

async fn used(service: &Running, generation: u64) -> Value {
    let report = service.admin("/generation").await.body;
    let uses = report["keyUse"].as_array().unwrap();
    uses.iter().find(|each| each["name"] == "web" && each["generation"] == generation).unwrap().clone()
}

#[tokio::test]
async fn overlapping_generations_are_both_accepted_and_the_report_says_which_is_used() {
    let folder = folder("overlap");
    let file = folder.0.join("keys.json");
    let old = key("web", 1, "old-key", &json!({}));
    std::fs::write(&file, json!({"generation": 7, "keys": [old]}).to_string()).unwrap();
    let mut args = settings();
    args.keys_file = Some(file.display().to_string());
    let service = start_with(args).await;
    assert_eq!(status(&service, "old-key").await, 200);
    let new = key("web", 2, "new-key", &json!({}));
    let expired = key("web", 0, "expired-key", &json!({"validUntil": "2020-01-01T00:00:00Z"}));
    let other = key("web", 3, "otlp-key", &json!({"scopes": ["otlp"]}));
    let keys = json!({"generation": 8, "keys": [old, new, expired, other]});
    std::fs::write(&file, keys.to_string()).unwrap();
    eventually(async || service.admin("/generation").await.body["keys"] == 8).await;
    assert_eq!(used(&service, 2).await["lastUsedAt"], Value::Null);
    let statuses = [
        status(&service, "old-key").await,
        status(&service, "new-key").await,
        status(&service, "expired-key").await,
        status(&service, "otlp-key").await,
    ];
    assert_eq!(statuses, [200, 200, 401, 401]);
    let report = service.admin("/generation").await.body;
    assert_eq!(report["reloads"]["keys"], json!({"count": 1, "error": null}));
    let (old, new, expired) = (used(&service, 1).await, used(&service, 2).await, used(&service, 0).await);
    assert_eq!((&old["requests"], &new["requests"], &expired["requests"]), (&json!(2), &json!(1), &json!(0)));
    assert_eq!((&new["isUsable"], &expired["isUsable"]), (&json!(true), &json!(false)));
    let age = report["answeredAt"].as_i64().unwrap() - new["lastUsedAt"].as_i64().unwrap();
    assert!((0..60).contains(&age), "{age}");
    std::fs::write(&file, "{").unwrap();
    let error = async || service.admin("/generation").await.body["reloads"]["keys"]["error"].clone();
    eventually(async || error().await == "shape").await;
    assert_eq!(status(&service, "new-key").await, 200);
    service.clean().await;
}

#[tokio::test]
async fn a_key_above_its_rate_is_told_to_wait_and_others_are_not() {
    let folder = folder("rate");
    let file = folder.0.join("keys.json");
    let limited = key("web", 1, "limited-key", &json!({"rateLimit": {"eventsPerSecond": 1, "burst": 5}}));
    std::fs::write(&file, json!({"generation": 1, "keys": [limited]}).to_string()).unwrap();
    let mut args = settings();
    args.keys_file = Some(file.display().to_string());
    let service = start_with(args).await;
    let batch = service.post(body("limited-key", 40), &[]).await;
    assert_eq!(batch.status, 200, "a batch above the burst is let in once");
    let refused = service.post(body("limited-key", 1), &[]).await;
    assert_eq!(refused.status, 429, "clients of this path come back after it");
    let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((30..=36).contains(&wait), "{wait}");
    assert_eq!(status(&service, "first-key").await, 200);
    assert_eq!(used(&service, 1).await["requests"], 2, "a client that must wait is a use of its key");
    let metrics = service.admin("/metrics").await.body.to_string();
    assert!(metrics.contains("weir_ingest_limited_requests_total{limit=\\\"key\\\"} 1"), "{metrics}");
    service.clean().await;
}

#[tokio::test]
async fn an_address_above_its_rate_is_refused_before_its_body_also_for_guessing_keys() {
    let mut args = settings();
    args.address_rate_limit = Some("1:3".into());
    args.trusted_proxies = Some("127.0.0.0/8".into());
    let service = start_with(args).await;
    let from = async |address: &str, key: &str| {
        service.post(body(key, 1), &[("x-forwarded-for", address)]).await.status.as_u16()
    };
    let mut statuses = Vec::new();
    while !statuses.iter().any(|status| matches!(status, 429 | 503)) {
        statuses.push(from("192.0.2.1", "wrong").await);
        assert!(statuses.len() < 200, "guesses are never bounded: {statuses:?}");
    }
    assert_eq!(statuses[..3], [401, 401, 401]);
    assert_eq!(from("192.0.2.2", "first-key").await, 200);
    service.clean().await;
}
