//! Events that ClickHouse refuses: kept with their reason before the answer, and stored by a replay.

use std::process::Output;

use serde_json::Value;
use serde_json::json;
use tokio::process::Command;

use crate::service::Running;
use crate::service::start;

async fn dead_letters(service: &Running, action: &str) -> Output {
    let given = crate::service::settings();
    Command::new(env!("CARGO_BIN_EXE_weir-ingest"))
        .args(["dead-letters", action])
        .env("CLICKHOUSE_URL", given.clickhouse_url.unwrap())
        .env("CLICKHOUSE_USER", given.clickhouse_user.unwrap_or_default())
        .env("CLICKHOUSE_PASSWORD", given.clickhouse_password.unwrap_or_default())
        .env("CLICKHOUSE_DATABASE", &service.database)
        .output()
        .await
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap().trim_end()
}

fn event(name: &str, id: usize) -> Value {
    json!({"event": name, "distinct_id": format!("u{id}"), "properties": {"$set": {"seen": id}}})
}

#[tokio::test]
async fn a_poisonous_event_is_kept_with_its_reason_and_can_be_replayed() {
    let service = start().await;
    let constraint = "ALTER TABLE events_data ADD CONSTRAINT no_poison CHECK event != 'poison'";
    service.clickhouse.execute(constraint).await.unwrap();
    let mut events: Vec<_> = (0..20).map(|id| event("$set", id)).collect();
    events[7] = event("poison", 7);
    assert_eq!(service.accepted(json!({"api_key": "first-key", "batch": events})).await, (19, 1));

    let listed = dead_letters(&service, "list").await;
    let letter: Value = serde_json::from_str(text(&listed.stdout)).unwrap();
    assert_eq!(
        (&letter["event"], &letter["distinct_id"], &letter["api_key"]),
        (&json!("poison"), &json!("u7"), &json!("env-1"))
    );
    assert_eq!((&letter["code"], &letter["reason"]), (&json!(469), &json!("VIOLATED_CONSTRAINT")));
    assert_eq!(letter["table_name"], "events_data");

    let too_soon = dead_letters(&service, "replay").await;
    assert_eq!((too_soon.status.code(), text(&too_soon.stdout)), (Some(1), r#"{"replayed":0,"refused":1}"#));
    service.clickhouse.execute("ALTER TABLE events_data DROP CONSTRAINT no_poison").await.unwrap();
    let replayed = dead_letters(&service, "replay").await;
    assert_eq!((replayed.status.code(), text(&replayed.stdout)), (Some(0), r#"{"replayed":1,"refused":0}"#));
    assert_eq!(service.value("SELECT count(), countIf(event = 'poison') FROM events").await, "20\t1");
    let again = dead_letters(&service, "replay").await;
    assert_eq!(text(&again.stdout), r#"{"replayed":0,"refused":0}"#);
    assert_eq!(text(&dead_letters(&service, "list").await.stdout), "");
    service.clean().await;
}

#[tokio::test]
async fn a_refused_fact_is_kept_and_its_event_stored() {
    let service = start().await;
    let constraint = "ALTER TABLE person_properties ADD CONSTRAINT no_poison CHECK key != 'poison'";
    service.clickhouse.execute(constraint).await.unwrap();
    let poison = json!({"event": "$set", "distinct_id": "u1", "properties": {"$set": {"poison": 1}}});
    let batch = json!({"api_key": "first-key", "batch": [event("$set", 2), poison]});
    assert_eq!(service.accepted(batch).await, (2, 0));
    let kept = service.value("SELECT table_name, distinct_id FROM dead_letters FINAL").await;
    assert_eq!(kept, "person_properties\tu1");
    service.clean().await;
}

#[tokio::test]
async fn nothing_is_dropped_when_the_letter_cannot_be_kept() {
    let service = start().await;
    service.clickhouse.execute("ALTER TABLE events_data ADD CONSTRAINT none CHECK 0").await.unwrap();
    service.clickhouse.execute("DROP TABLE dead_letters").await.unwrap();
    let answer =
        service.post(json!({"api_key": "first-key", "batch": [event("a", 1)]}).to_string(), &[]).await;
    assert_eq!(answer.status, 503);
    service.clean().await;
}

#[tokio::test]
async fn a_table_that_refuses_everything_is_no_fault_of_a_thousand_events() {
    let service = start().await;
    service.clickhouse.execute("ALTER TABLE events_data ADD CONSTRAINT none CHECK 0").await.unwrap();
    let events: Vec<_> = (0..1200).map(|id| event("a", id)).collect();
    let answer = service.post(json!({"api_key": "first-key", "batch": events}).to_string(), &[]).await;
    assert_eq!(answer.status, 503);
    assert_eq!(service.value("SELECT count() FROM dead_letters").await, "0");
    service.clean().await;
}
