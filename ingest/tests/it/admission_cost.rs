//! What a request may cost whose key is missing, wrong, or far behind the events.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use rstest::rstest;

use crate::service::Running;
use crate::service::settings;
use crate::service::start_with;

const EVENT: &str = r#"{"event":"a","distinct_id":"u1","properties":{"note":"one of many events"}}"#;
const MAX_BYTES: usize = 2 << 20;

/// A service with a smaller limit, so that the bodies of these tests are made quickly.
async fn start() -> Running {
    let mut args = settings();
    args.max_batch_bytes = Some(MAX_BYTES.to_string());
    args.unauthenticated_bytes = Some("32768".into());
    args.buffer_max_bytes = Some((8 << 20).to_string());
    args.flush_max_bytes = Some((1 << 20).to_string());
    start_with(args).await
}

/// A batch of about this many bytes with this text behind it.
fn batch(bytes: usize, behind: &str) -> String {
    let events = vec![EVENT; bytes / EVENT.len()].join(",");
    format!(r#"{{"batch":[{events}]{behind}}}"#)
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

async fn gzipped(service: &Running, text: &str) -> u16 {
    service.post(gzip(text), &[("content-encoding", "gzip")]).await.status.as_u16()
}

async fn plain(service: &Running, text: String) -> u16 {
    service.post(text, &[]).await.status.as_u16()
}

#[tokio::test]
async fn a_key_behind_the_events_is_found_however_long_the_body_is() {
    let service = start().await;
    for bytes in [1_000, 30_000, 700_000] {
        let body = batch(bytes, r#","sent_at":"2026-05-06T00:00:00Z","api_key":"second-key""#);
        assert_eq!(gzipped(&service, &body).await, 200, "{bytes} bytes, gzip");
        assert_eq!(plain(&service, body).await, 200, "{bytes} bytes");
    }
    service.clean().await;
}

#[rstest]
#[case::none("")]
#[case::wrong(r#","api_key":"wrong""#)]
#[case::elsewhere(r#","note":"first-key""#)]
#[tokio::test]
async fn without_a_valid_key_a_long_body_is_refused_unparsed(#[case] behind: &str) {
    let service = start().await;
    let body = batch(MAX_BYTES / 10 * 9, behind);
    assert_eq!(gzipped(&service, &body).await, 401);
    assert_eq!(plain(&service, body).await, 401);
    // Broken behind what is looked at for a key: nobody has parsed it.
    assert_eq!(plain(&service, batch(100_000, ",broken")).await, 401);
    service.clean().await;
}

#[tokio::test]
async fn a_bomb_above_the_limit_is_413_with_and_without_a_key() {
    let service = start().await;
    let bomb = |front: &str| format!(r#"{{{front}"x":"{}"}}"#, " ".repeat(MAX_BYTES + 1000));
    assert_eq!(gzipped(&service, &bomb("")).await, 413);
    assert_eq!(gzipped(&service, &bomb(r#""api_key":"first-key","#)).await, 413);
    service.clean().await;
}

#[tokio::test]
async fn many_bombs_at_once_leave_room_for_those_with_a_key() {
    let service = start().await;
    let bomb = gzip(&batch(MAX_BYTES / 10 * 9, ""));
    let bombs = (0..24).map(|_| service.post(bomb.clone(), &[("content-encoding", "gzip")]));
    let good = batch(100_000, r#","api_key":"first-key""#).replacen('{', r#"{"api_key":"first-key","#, 1);
    let goods = (0..8).map(|_| service.post(good.clone(), &[]));
    let (bombs, goods) = tokio::join!(futures::future::join_all(bombs), futures::future::join_all(goods));
    let statuses = |answers: &[crate::service::Answer]| -> Vec<u16> {
        answers.iter().map(|answer| answer.status.as_u16()).collect()
    };
    assert!(statuses(&bombs).iter().all(|status| matches!(status, 401 | 503)), "{:?}", statuses(&bombs));
    assert_eq!(statuses(&goods), [200; 8]);
    service.clean().await;
}
