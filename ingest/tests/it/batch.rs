//! The contract of `POST /batch/` without PostHog's paths: C1 to C5 and C11 to C18, CORS, and what the rows look like.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::Method;
use rstest::rstest;
use serde_json::json;

use crate::service::ORIGIN;
use crate::service::Running;
use crate::service::seed_settings as settings;
use crate::service::start_with;

const ONE: &str = r#"{"api_key":"first-key","batch":[{"event":"a","distinct_id":"u1"}]}"#;
const NO_KEY: &str = r#"{"batch":[{"event":"a","distinct_id":"u1"}]}"#;

/// A service that speaks the seed's dialect alone.
async fn start() -> Running {
    start_with(settings()).await
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

async fn events(service: &Running) -> String {
    service.value("SELECT count() FROM events").await
}

#[tokio::test]
async fn c1_a_listed_origin_needs_no_key_and_columns_are_filled() {
    let service = start().await;
    let body = json!({"batch": [{"event": "$pageview", "timestamp": "2026-05-06T09:30:00.123Z",
        "uuid": "019a0f2e-7c10-7b3a-9d41-5f0c2a77e001",
        "properties": {"distinct_id": "u1", "$session_id": "s", "$current_url": "https://x.example/", "$host": "x.example"}}]});
    let answer = service.post(body.to_string(), &[("origin", ORIGIN), ("user-agent", "ua")]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body, json!({"status": "ok", "ingested": 1, "dropped": 0}));
    let columns = "toString(uuid), api_key, event, distinct_id, toString(person_id), session_id, timestamp, ip, \
                   user_agent, current_url, host, JSONExtractString(properties, '$session_id')";
    assert_eq!(
        service.value(&format!("SELECT concatWithSeparator('|', {columns}) FROM events")).await,
        "019a0f2e-7c10-7b3a-9d41-5f0c2a77e001||$pageview|u1|c5ea7155-4c77-5daf-bfab-320fc3476afc|s|\
         2026-05-06 09:30:00.123000|127.0.0.1|ua|https://x.example/|x.example|s"
    );
    service.clean().await;
}

#[tokio::test]
async fn c2_each_configured_key_is_accepted_and_stored_by_name() {
    let service = start().await;
    for key in ["first-key", " second-key "] {
        assert_eq!(
            service.accepted(json!({"api_key": key, "batch": [{"event": "a", "distinct_id": "u"}]})).await,
            (1, 0)
        );
    }
    assert_eq!(
        service.value("SELECT arrayStringConcat(arraySort(groupArray(api_key)), ',') FROM events").await,
        "env-1,env-2"
    );
    service.clean().await;
}

#[tokio::test]
async fn c3_without_origin_only_a_known_key_in_its_place_is_accepted() {
    let service = start().await;
    let token = r#"{"token":"first-key","batch":[{"event":"a","distinct_id":"u","properties":{"token":"first-key"}}]}"#;
    let wrong = ONE.replace("first-key", "wrong");
    for body in [NO_KEY, &wrong, token] {
        let answer = service.post(body.to_owned(), &[("authorization", "Bearer first-key")]).await;
        assert_eq!(answer.status, 401);
        assert_eq!(answer.body["status"], "error");
    }
    assert_eq!(events(&service).await, "0");
    service.clean().await;
}

#[tokio::test]
async fn c4_without_any_key_server_side_ingest_is_off() {
    let mut args = settings();
    args.public_api_keys = None;
    let service = start_with(args).await;
    assert_eq!(service.post(ONE, &[]).await.status, 401);
    assert_eq!(service.post(NO_KEY, &[("origin", ORIGIN)]).await.status, 200);
    service.clean().await;
}

#[tokio::test]
async fn c5_other_paths_are_not_found() {
    let service = start().await;
    for path in [
        "/batch",
        "/capture",
        "/capture/",
        "/e/",
        "/i/v0/e/",
        "/flags/",
        "/array/k/config",
        "/health/",
        "/",
        "/ready",
        "/metrics",
    ] {
        let answer = service.request(Method::POST, path, ONE, &[("content-type", "application/json")]).await;
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.body["statusCode"], 404);
        assert_eq!(answer.body["error"], "Not Found");
    }
    assert_eq!(service.request(Method::GET, "/batch/", "", &[]).await.status, 404);
    let health = service.request(Method::GET, "/health", "", &[]).await;
    assert_eq!((health.status.as_u16(), health.body), (200, json!({"ok": true})));
    assert_eq!(service.request(Method::HEAD, "/health", "", &[]).await.status, 200);
    service.clean().await;
}

#[tokio::test]
async fn c11_c12_origin_and_key_are_both_checked() {
    let service = start().await;
    let wrong = ONE.replace("first-key", "wrong");
    assert_eq!(service.post(wrong, &[("origin", ORIGIN)]).await.status, 401);
    assert_eq!(service.post(ONE, &[("origin", ORIGIN)]).await.status, 200);
    for origin in ["http://app.example", "https://app.example:8443", "https://APP.example", "null"] {
        assert_eq!(service.post(ONE, &[("origin", origin)]).await.status, 403, "{origin}");
    }
    assert_eq!(service.post(ONE, &[("origin", "")]).await.status, 200);
    service.clean().await;
}

#[tokio::test]
async fn c13_other_shapes_and_types_store_nothing() {
    let service = start().await;
    for body in ["{\"batch\":", r#"{"event":"a","distinct_id":"u"}"#, "[]", "null", "", r#"{"batch":[]}"#] {
        assert_eq!(service.post(body, &[]).await.status, 400, "{body}");
    }
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/x-ndjson"] {
        let answer = service.request(Method::POST, "/batch/", ONE, &[("content-type", kind)]).await;
        assert_eq!(answer.status, 415, "{kind}");
    }
    assert_eq!(service.request(Method::POST, "/batch/", "", &[]).await.status, 415);
    assert_eq!(events(&service).await, "0");
    service.clean().await;
}

#[tokio::test]
async fn c14_gzip_is_inflated_member_by_member() {
    let service = start().await;
    let (head, tail) = ONE.as_bytes().split_at(30);
    for body in [gzip(ONE.as_bytes()), [gzip(head), gzip(tail)].concat()] {
        assert_eq!(service.post(body, &[("content-encoding", "GZIP")]).await.status, 200);
    }
    let junk = [gzip(ONE.as_bytes()), b"junk".to_vec()].concat();
    assert_eq!(service.post(junk, &[("content-encoding", "gzip")]).await.status, 400);
    assert_eq!(events(&service).await, "2");
    service.clean().await;
}

#[tokio::test]
async fn c15_other_compression_is_unsupported_on_every_path() {
    let service = start().await;
    for encoding in ["deflate", "br", "zstd", "x-gzip", "gzip, gzip", ""] {
        assert_eq!(service.post(ONE, &[("content-encoding", encoding)]).await.status, 415, "{encoding}");
    }
    let json = [("content-type", "application/json")];
    assert_eq!(service.request(Method::POST, "/batch/?compression=", ONE, &json).await.status, 415);
    assert_eq!(service.request(Method::GET, "/health?compression=gzip-js", "", &[]).await.status, 415);
    assert_eq!(service.request(Method::POST, "/batch/?_=1&ver=2", ONE, &json).await.status, 200);
    service.clean().await;
}

#[tokio::test]
async fn c16_a_bad_time_and_mixed_keys_cost_the_request() {
    let service = start().await;
    for batch in [
        json!([{"event": "a", "distinct_id": "u"}, {"event": "a", "distinct_id": "u", "timestamp": "soon"}]),
        json!([{"event": "a", "distinct_id": "u", "api_key": "second-key"}]),
    ] {
        let body = json!({"api_key": "first-key", "batch": batch});
        assert_eq!(service.post(body.to_string(), &[]).await.status, 400);
    }
    assert_eq!(events(&service).await, "0");
    service.clean().await;
}

#[rstest]
#[case::inflated(gzip(&vec![b' '; 5000]), Some("gzip"))]
#[case::plain(vec![b' '; 5000], None)]
#[tokio::test]
async fn c17_a_body_over_the_limit_is_too_large(#[case] body: Vec<u8>, #[case] encoding: Option<&str>) {
    let mut args = settings();
    args.max_batch_bytes = Some("4096".into());
    let service = start_with(args).await;
    let headers: Vec<_> = encoding.map(|encoding| ("content-encoding", encoding)).into_iter().collect();
    assert_eq!(service.post(body, &headers).await.status, 413);
    service.clean().await;
}

#[tokio::test]
async fn c18_an_event_without_an_id_is_dropped_and_the_others_are_stored() {
    let service = start().await;
    let batch = json!([{"event": "a", "distinct_id": "u"}, {"event": "b"}]);
    assert_eq!(service.accepted(json!({"api_key": "first-key", "batch": batch})).await, (1, 1));
    let nothing = json!({"api_key": "first-key", "batch": [{"event": " ", "distinct_id": "u"}]});
    assert_eq!(service.accepted(nothing).await, (0, 1));
    assert_eq!(events(&service).await, "1");
    service.clean().await;
}

#[tokio::test]
async fn ten_thousand_distinct_ids_fit_one_batch_and_one_more_event_does_not() {
    let service = start().await;
    let batch = |count: usize| {
        let events: Vec<_> =
            (0..count).map(|id| json!({"event": "a", "distinct_id": format!("user-{id}")})).collect();
        json!({"api_key": "first-key", "batch": events}).to_string()
    };
    assert_eq!(service.post(batch(10_001), &[]).await.status, 413);
    let answer = service.post(batch(10_000), &[]).await;
    assert_eq!((answer.status.as_u16(), answer.body["ingested"].as_u64()), (200, Some(10_000)));
    assert_eq!(service.value("SELECT uniqExact(distinct_id) FROM events").await, "10000");
    service.clean().await;
}

#[tokio::test]
async fn any_year_is_stored_within_what_the_column_holds() {
    let service = start().await;
    let years = ["0001", "1969", "1995", "2300", "9999"];
    let months = (0..240).map(|month| format!("{}-{:02}-15T00:00:00Z", 2000 + month / 12, month % 12 + 1));
    let times = years.iter().map(|year| format!("{year}-06-01T00:00:00Z")).chain(months);
    let events: Vec<_> =
        times.map(|time| json!({"event": "a", "distinct_id": "u", "timestamp": time})).collect();
    let count = events.len();
    assert_eq!(service.accepted(json!({"api_key": "first-key", "batch": events})).await, (count as u64, 0));
    let years =
        "SELECT concat(min(toYear(timestamp)), ' ', max(toYear(timestamp)) <= toYear(now()) + 1) FROM events";
    assert_eq!(service.value(years).await, "1970 1");
    service.clean().await;
}

#[tokio::test]
async fn a_repeated_uuid_is_one_row_and_properties_keep_every_digit() {
    let service = start().await;
    let properties = r#"{"n": 12345678901234567890, "text": "\ud83d\ude00 \u0000"}"#;
    let body = format!(
        r#"{{"api_key":"first-key","batch":[{{"event":"a","distinct_id":"u","timestamp":"2026-05-06T00:00:00Z",
        "uuid":"019a0f2e-7c10-7b3a-9d41-5f0c2a77e001","properties":{properties}}}]}}"#
    );
    for _ in 0..3 {
        assert_eq!(service.post(body.clone(), &[]).await.status, 200);
    }
    assert_eq!(events(&service).await, "1");
    assert_eq!(service.value("SELECT properties FROM events").await, properties);
    service.clean().await;
}

#[tokio::test]
async fn cors_lets_listed_origins_through_with_credentials() {
    let service = start().await;
    let asked = [("origin", ORIGIN), ("access-control-request-method", "POST")];
    let preflight = service.request(Method::OPTIONS, "/batch/", "", &asked).await;
    assert_eq!(preflight.status, 204);
    assert_eq!(preflight.headers["access-control-allow-origin"], ORIGIN);
    assert_eq!(preflight.headers["access-control-allow-credentials"], "true");
    assert_eq!(preflight.headers["access-control-allow-methods"], "POST, OPTIONS, GET");
    assert_eq!(preflight.headers["vary"], "Origin");
    let other = [("origin", "https://other.example"), ("access-control-request-method", "POST")];
    let refused = service.request(Method::OPTIONS, "/batch/", "", &other).await;
    assert_eq!(refused.status, 404);
    assert!(!refused.headers.contains_key("access-control-allow-origin"));
    assert_eq!(service.request(Method::OPTIONS, "/batch/", "", &asked[..1]).await.status, 400);
    let error = service.post("[]", &[("origin", ORIGIN)]).await;
    assert_eq!(error.status, 400);
    assert_eq!(error.headers["access-control-allow-origin"], ORIGIN);
    service.clean().await;
}
