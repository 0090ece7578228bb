//! Bodies that want too much, or are nothing, on PostHog's paths.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::Method;
use serde_json::json;

use crate::service::Running;
use crate::service::settings;
use crate::service::start_with;

const LIMIT: usize = 200_000;

async fn start() -> Running {
    let mut args = settings();
    args.max_batch_bytes = Some(LIMIT.to_string());
    start_with(args).await
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

async fn status(service: &Running, path: &str, body: impl Into<Vec<u8>>) -> u16 {
    service.request(Method::POST, path, body.into(), &[]).await.status.as_u16()
}

fn padded(length: usize) -> String {
    let rest =
        r#"{"api_key":"first-key","batch":[{"event":"a","distinct_id":"u","properties":{"p":""}}]}"#.len();
    let padding = "x".repeat(length - rest);
    format!(
        r#"{{"api_key":"first-key","batch":[{{"event":"a","distinct_id":"u","properties":{{"p":"{padding}"}}}}]}}"#
    )
}

#[tokio::test]
async fn bodies_over_the_limit_are_413_however_they_are_packed_and_the_service_goes_on() {
    let service = start().await;
    for path in ["/e/", "/batch", "/capture/", "/engage/"] {
        assert_eq!(status(&service, path, vec![b' '; LIMIT + 1]).await, 413, "{path}");
        assert_eq!(status(&service, path, gzip(&vec![b' '; LIMIT + 1])).await, 413, "{path}");
    }
    assert_eq!(status(&service, "/e/", gzip(&gzip(&vec![b' '; 10 * LIMIT]))).await, 413);
    assert_eq!(status(&service, "/e/", vec![b' '; 20 * LIMIT]).await, 413);
    assert_eq!(status(&service, "/e/", padded(LIMIT)).await, 200);
    assert_eq!(status(&service, "/e/", gzip(padded(LIMIT).as_bytes())).await, 200);
    assert!(service.admin("/metrics").await.body.as_str().unwrap().contains("weir_ingest_buffer_bytes 0"));
    service.clean().await;
}

#[tokio::test]
async fn bodies_that_hold_nothing_are_400_with_a_reason() {
    let service = start().await;
    let cut = gzip(padded(1000).as_bytes())[..50].to_vec();
    let bodies: [Vec<u8>; 10] = [
        b"".to_vec(),
        b"null".to_vec(),
        b"[]".to_vec(),
        br#"{"api_key":"first-key","batch":[]}"#.to_vec(),
        b"{\"event\":".to_vec(),
        b"data=".to_vec(),
        b"not base64!".to_vec(),
        b"aGVsbG8=".to_vec(),
        vec![0xff; 100],
        cut,
    ];
    for body in bodies {
        let answer = service.request(Method::POST, "/e/", body.clone(), &[]).await;
        assert_eq!(answer.status, 400, "{:?}", String::from_utf8_lossy(&body));
        assert!(answer.body["error"].as_str().is_some_and(|error| !error.is_empty()));
    }
    service.clean().await;
}

#[tokio::test]
async fn deep_and_wide_bodies_cost_no_more_than_their_event() {
    let service = start().await;
    let deep = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
    let body = format!(
        r#"{{"api_key":"first-key","x":{deep},"batch":[{deep},{{"event":"good","distinct_id":"u"}}]}}"#
    );
    let body = body.as_bytes();
    assert_eq!(status(&service, "/e/", gzip(&body[..body.len().min(LIMIT)])).await, 400);
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    let body = format!(
        r#"{{"api_key":"first-key","x":{deep},"batch":[{deep},{{"event":"good","distinct_id":"u"}}]}}"#
    );
    let answer = service.request(Method::POST, "/e/", body, &[]).await;
    assert_eq!(answer.body, json!({"status": "Ok", "ingested": 1, "dropped": 1}));
    let wide = format!(r#"{{"api_key":"first-key","batch":[{}null]}}"#, "1,".repeat(20_000));
    assert_eq!(status(&service, "/e/", wide).await, 413);
    service.clean().await;
}
