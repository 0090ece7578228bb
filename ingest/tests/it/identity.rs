//! Persons: C6 to C10, through the views that readers use.

use serde_json::Value;
use serde_json::json;

use crate::service::Running;
use crate::service::start;

#[expect(clippy::needless_pass_by_value, reason = "callers write the JSON in place")]
fn event(name: &str, distinct_id: &str, properties: Value) -> Value {
    json!({"event": name, "distinct_id": distinct_id, "properties": properties})
}

async fn send(service: &Running, key: &str, events: Vec<Value>) {
    let count = events.len() as u64;
    assert_eq!(service.accepted(json!({"api_key": key, "batch": events})).await, (count, 0));
}

async fn person_of(service: &Running, distinct_id: &str) -> String {
    let sql =
        format!("SELECT toString(person_id) FROM person_distinct_ids WHERE distinct_id = '{distinct_id}'");
    service.value(&sql).await
}

async fn property(service: &Running, key: &str) -> String {
    service.value(&format!("SELECT JSONExtractRaw(properties, '{key}') FROM persons FINAL")).await
}

#[tokio::test]
async fn c6_identify_links_the_anonymous_id_and_stores_set() {
    let service = start().await;
    let properties =
        json!({"$anon_distinct_id": "anon", "$set": {"plan": "team"}, "$set_once": {"first": 1}});
    send(&service, "first-key", vec![event("$identify", "user", properties)]).await;
    assert_eq!(person_of(&service, "anon").await, person_of(&service, "user").await);
    assert_eq!(property(&service, "plan").await, "\"team\"");
    assert_eq!(property(&service, "first").await, "1");
    assert_eq!(service.value("SELECT is_identified FROM persons").await, "1");
    service.clean().await;
}

#[tokio::test]
async fn c7_c8_an_anonymous_event_and_identify_share_a_person_in_one_batch_or_two() {
    let service = start().await;
    let identify =
        |anonymous: &str, user: &str| event("$identify", user, json!({"$anon_distinct_id": anonymous}));
    send(&service, "first-key", vec![event("a", "anon-1", json!({})), identify("anon-1", "user-1")]).await;
    send(&service, "first-key", vec![event("a", "anon-2", json!({}))]).await;
    send(&service, "first-key", vec![identify("anon-2", "user-2")]).await;
    for number in ["1", "2"] {
        let sql = format!("SELECT uniqExact(person_id) FROM events WHERE distinct_id LIKE '%-{number}'");
        assert_eq!(service.value(&sql).await, "1", "{number}");
    }
    assert_eq!(service.value("SELECT uniqExact(person_id) FROM events").await, "2");
    service.clean().await;
}

#[tokio::test]
async fn c9_c10_set_once_keeps_the_first_and_set_the_last_under_any_key() {
    let service = start().await;
    let set = |set: Value, once: Value| event("$set", "user", json!({"$set": set, "$set_once": once}));
    send(&service, "first-key", vec![set(json!({"plan": "free", "a": 1}), json!({"source": "ad"}))]).await;
    send(&service, "second-key", vec![set(json!({"plan": "team", "b": 2}), json!({"source": "mail"}))]).await;
    for (key, expected) in [("plan", "\"team\""), ("source", "\"ad\""), ("a", "1"), ("b", "2")] {
        assert_eq!(property(&service, key).await, expected, "{key}");
    }
    assert_eq!(service.value("SELECT uniqExact(person_id) FROM events").await, "1");
    service.clean().await;
}

#[tokio::test]
async fn an_alias_joins_two_ids_and_ids_of_nobody_join_none() {
    let service = start().await;
    send(
        &service,
        "first-key",
        vec![
            event("$create_alias", "user", json!({"alias": "other"})),
            event("$create_alias", "user", json!({"alias": "undefined"})),
            event("a", "other", json!({})),
        ],
    )
    .await;
    assert_eq!(person_of(&service, "other").await, person_of(&service, "user").await);
    assert_eq!(service.value("SELECT count() FROM links").await, "1");
    service.clean().await;
}
