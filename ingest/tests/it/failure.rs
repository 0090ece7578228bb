//! What clients see when ClickHouse or an event is at fault, and what is left afterwards.

use serde_json::json;
use weir_ingest::clickhouse::Client;
use weir_ingest::settings::Settings;

use crate::cable::State;
use crate::cable::cabled;
use crate::service::eventually;
use crate::service::migrated;
use crate::service::serve;
use crate::service::settings;
use crate::service::start;
use crate::service::start_with;

const ONE: &str = r#"{"api_key":"first-key","batch":[{"event":"a","distinct_id":"u1","timestamp":"2026-05-06T00:00:00Z"}]}"#;

#[tokio::test]
async fn an_outage_is_503_with_retry_after_and_ends_without_a_restart() {
    let (service, cable) = cabled().await;
    service.ready().await;
    assert_eq!(service.post(ONE, &[]).await.status, 200);
    cable.set(State::Cut);
    let answer = service.post(ONE, &[]).await;
    assert_eq!(answer.status, 503);
    assert!(answer.headers.contains_key("retry-after"));
    assert_eq!(service.admin("/readyz").await.status, 200, "an outage must not empty the Service");
    cable.set(State::Whole);
    assert_eq!(service.post(ONE, &[]).await.status, 200);
    assert_eq!(
        service.value("SELECT count() FROM events").await,
        "1",
        "equal requests with a time are one event"
    );
    service.clean().await;
}

#[tokio::test]
async fn a_service_is_unready_until_its_tables_exist() {
    let args = settings();
    let checked = Settings::from_args(&args).unwrap();
    let service = serve(&checked, Client::new(&checked.clickhouse).unwrap()).await;
    assert_eq!(service.admin("/readyz").await.status, 503);
    let answer = service.post(ONE, &[]).await;
    assert_eq!(answer.status, 503, "a missing table is no client's fault");
    assert!(!answer.body.to_string().contains("events_data"), "{:?}", answer.body);
    migrated(&checked, &service.clickhouse).await;
    service.ready().await;
    assert_eq!(service.post(ONE, &[]).await.status, 200);
    service.clean().await;
}

#[tokio::test]
async fn a_poisonous_event_is_dropped_alone_and_counted() {
    let service = start().await;
    let constraint = "ALTER TABLE events_data ADD CONSTRAINT no_poison CHECK event != 'poison'";
    service.clickhouse.execute(constraint).await.unwrap();
    let event = |name: &str, id: usize| json!({"event": name, "distinct_id": format!("u{id}"), "properties": {"$set": {"seen": id}}});
    let mut events: Vec<_> = (0..50).map(|id| event("$set", id)).collect();
    events[17] = event("poison", 17);
    assert_eq!(service.accepted(json!({"api_key": "first-key", "batch": events})).await, (49, 1));
    assert_eq!(service.value("SELECT count() FROM events").await, "49");
    assert_eq!(service.value("SELECT count() FROM persons").await, "49");
    let metrics = service.admin("/metrics").await.body.to_string();
    assert!(metrics.contains("weir_ingest_refused_rows_total{table=\\\"events_data\\\"} 1"), "{metrics}");
    service.clean().await;
}

#[tokio::test]
async fn a_full_buffer_is_503_before_the_body_is_read_and_recovers() {
    let mut args = settings();
    args.buffer_max_bytes = Some("200000".into());
    args.flush_max_bytes = Some("100000".into());
    let service = start_with(args).await;
    let large = |bytes: usize| {
        let text = "x".repeat(bytes);
        json!({"api_key": "first-key", "batch": [{"event": "a", "distinct_id": "u", "properties": {"text": text}}]})
            .to_string()
    };
    assert_eq!(
        service.post(large(250_000), &[]).await.status,
        413,
        "more than the whole buffer can never fit"
    );
    let answers = futures::future::join_all((0..16).map(|_| service.post(large(60_000), &[]))).await;
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status.as_u16()).collect();
    assert!(statuses.iter().all(|status| matches!(status, 200 | 503)), "{statuses:?}");
    let stored = statuses.iter().filter(|status| **status == 200).count();
    assert_eq!(service.value("SELECT count() FROM events").await, stored.to_string());
    eventually(async || service.post(large(60_000), &[]).await.status == 200).await;
    service.clean().await;
}
