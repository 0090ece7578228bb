//! PostHog's v1 path: headers, codings, and an answer for each event.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use flate2::write::ZlibEncoder;
use http::Method;
use serde_json::Value;
use serde_json::json;

use crate::service::Answer;
use crate::service::Running;
use crate::service::open_settings;
use crate::service::settings;
use crate::service::start_with;

const PATH: &str = "/i/v1/analytics/events";
const HEADERS: [(&str, &str); 6] = [
    ("authorization", "Bearer first-key"),
    ("content-type", "application/json"),
    ("posthog-sdk-info", "posthog-node/5.70.0"),
    ("posthog-attempt", "1"),
    ("posthog-request-id", "0a0a0a0a-0000-7000-8000-000000000001"),
    ("posthog-request-timestamp", "2021-06-01T01:00:00Z"),
];

fn uuid(number: u32) -> String {
    format!("019abc00-0000-7000-8000-{number:012}")
}

fn event(number: u32) -> Value {
    json!({"event": "a", "uuid": uuid(number), "distinct_id": "u", "timestamp": "2021-06-01T00:00:00Z",
        "session_id": "s", "options": {"disable_skew_correction": true}, "properties": {"n": number}})
}

fn body(batch: &[Value]) -> String {
    json!({"created_at": "2021-06-01T00:30:00Z", "batch": batch}).to_string()
}

async fn post(service: &Running, body: impl Into<Vec<u8>>, changes: &[(&str, &str)]) -> Answer {
    let kept = HEADERS.iter().filter(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
    let headers: Vec<_> = kept.chain(changes).copied().filter(|(_, value)| !value.is_empty()).collect();
    service.request(Method::POST, PATH, body.into(), &headers).await
}

#[tokio::test]
async fn each_event_gets_its_own_answer_and_the_good_ones_are_stored() {
    let service = start_with(open_settings()).await;
    let mut nobody = event(3);
    nobody["distinct_id"] = "undefined".into();
    let mut late = event(4);
    late["timestamp"] = "yesterday".into();
    let answer =
        post(&service, body(&[event(1), json!({"uuid": uuid(2)}), nobody, late]), &[("origin", "null")])
            .await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    let result = |number| answer.body["results"][&uuid(number)]["result"].as_str().unwrap().to_owned();
    assert_eq!([1, 2, 3, 4].map(result), ["ok", "drop", "warning", "drop"]);
    assert_eq!(answer.body["results"][&uuid(2)]["details"], "missing_event_name");
    assert_eq!(answer.headers["posthog-request-id"], HEADERS[4].1);
    assert_eq!(answer.headers["access-control-allow-origin"], "null");
    assert!(!answer.headers.contains_key("retry-after"));
    let row = "SELECT concatWithSeparator('|', count(), anyIf(timestamp, distinct_id = 'u'), any(session_id), \
               any(JSONExtractString(properties, '$lib'))) FROM events";
    assert_eq!(service.value(row).await, "2|2021-06-01 00:00:00.000000|s|posthog-node");
    service.clean().await;
}

#[tokio::test]
async fn a_batch_without_a_good_event_is_answered_and_stores_nothing() {
    let service = start_with(open_settings()).await;
    let answer = post(&service, body(&[json!({"uuid": uuid(1)})]), &[]).await;
    assert_eq!((answer.status.as_u16(), &answer.body["results"][&uuid(1)]["result"]), (200, &json!("drop")));
    assert_eq!(service.value("SELECT count() FROM events").await, "0");
    service.clean().await;
}

#[tokio::test]
async fn what_is_wrong_with_the_request_is_final() {
    let service = start_with(open_settings()).await;
    let good = body(&[event(1)]);
    for (name, _) in &HEADERS[2..] {
        assert_eq!(post(&service, good.clone(), &[(name, "")]).await.status, 400, "{name}");
    }
    for value in ["", "Bearer wrong", "Basic first-key"] {
        let answer = post(&service, good.clone(), &[("authorization", value)]).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.body["error"]),
            (401, &json!("invalid_token")),
            "{value}"
        );
        assert!(!answer.headers.contains_key("retry-after"));
    }
    assert_eq!(post(&service, good.clone(), &[("content-type", "text/plain")]).await.status, 415);
    assert_eq!(post(&service, good.clone(), &[("content-encoding", "compress")]).await.status, 415);
    let mut odd = event(1);
    odd["uuid"] = "x".into();
    for batch in [vec![], vec![odd], vec![event(1), event(1)]] {
        assert_eq!(post(&service, body(&batch), &[]).await.status, 400, "{batch:?}");
    }
    assert_eq!(post(&service, "{", &[]).await.status, 400);
    assert_eq!(service.value("SELECT count() FROM events").await, "0");
    service.clean().await;
}

#[tokio::test]
async fn every_coding_is_read_and_a_bomb_is_not() {
    let mut args = settings();
    args.max_batch_bytes = Some("100000".into());
    let service = start_with(args).await;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(body(&[event(1)]).as_bytes()).unwrap();
    assert_eq!(post(&service, gzip.finish().unwrap(), &[("content-encoding", "gzip")]).await.status, 200);
    let mut deflate = ZlibEncoder::new(Vec::new(), Compression::fast());
    deflate.write_all(body(&[event(2)]).as_bytes()).unwrap();
    assert_eq!(
        post(&service, deflate.finish().unwrap(), &[("content-encoding", "deflate")]).await.status,
        200
    );
    // `{"batch":[{"uuid":"019abc00-0000-7000-8000-000000000009"}]}`, by node 20's zlib and by the zstd program.
    for (coding, packed) in [
        (
            "br",
            "1b3a00f88dd315f3a284750ffeed96faefbb7b124b59da26d04952a7abaf54012b10a8be326e6d995fef9d25a27964810158076c0006d70d",
        ),
        (
            "zstd",
            "28b52ffd243ba5010094027b226261746368223a5b7b2275756964223a2230313961626330302d303030302d37383039227d5d7d0300b8156057b0ca135162d709",
        ),
    ] {
        let answer = post(&service, hex::decode(packed).unwrap(), &[("content-encoding", coding)]).await;
        assert_eq!(answer.status, 200, "{coding}: {:?}", answer.body);
        assert_eq!(answer.body["results"][&uuid(9)]["details"], "missing_event_name");
    }
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    bomb.write_all(&vec![b' '; 1 << 20]).unwrap();
    assert_eq!(post(&service, bomb.finish().unwrap(), &[("content-encoding", "gzip")]).await.status, 413);
    service.clean().await;
}

#[tokio::test]
async fn without_storage_the_whole_request_is_to_be_sent_again() {
    let service = start_with(open_settings()).await;
    service.clickhouse.execute(&format!("DROP DATABASE {}", service.database)).await.unwrap();
    let answer = post(&service, body(&[event(1)]), &[]).await;
    assert_eq!((answer.status.as_u16(), answer.headers["retry-after"].to_str().unwrap()), (503, "1"));
    service.clean().await;
}
