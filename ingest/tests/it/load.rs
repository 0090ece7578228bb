//! Clients that send until they are told that their events are stored, as SDKs do.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future::join_all;
use serde_json::json;

use crate::service::Running;

const CLIENTS: usize = 8;
const REQUESTS: usize = 6;
const EVENTS: usize = 5;

/// Events that a whole load brings.
pub(crate) const ALL: usize = CLIENTS * REQUESTS * EVENTS;

/// Sends every event until it is acknowledged, and counts what was acknowledged meanwhile.
pub(crate) async fn send(service: &Running, acknowledged: &AtomicUsize) {
    join_all((0..CLIENTS).map(|client| send_as(service, client, acknowledged))).await;
}

async fn send_as(service: &Running, client: usize, acknowledged: &AtomicUsize) {
    for request in 0..REQUESTS {
        let batch: Vec<_> = (0..EVENTS).map(|event| body(client, request, event)).collect();
        let body = json!({"api_key": "first-key", "batch": batch}).to_string();
        loop {
            let answer = service.post(body.clone(), &[]).await;
            match answer.status.as_u16() {
                200 => break,
                503 => assert!(answer.headers.contains_key("retry-after")),
                other => panic!("a fault of the storage was answered {other}: {:?}", answer.body),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        acknowledged.fetch_add(EVENTS, Ordering::Relaxed);
    }
}

fn body(client: usize, request: usize, event: usize) -> serde_json::Value {
    let uuid = format!("{client:08x}-0000-7000-8000-{request:06x}{event:06x}");
    json!({
        "event": "loaded",
        "uuid": uuid,
        "timestamp": "2026-05-06T00:00:00Z",
        "distinct_id": format!("u{client}"),
        "properties": {"$set": {"seen": request}},
    })
}

/// Asserts that readers see every acknowledged event, and each once.
pub(crate) async fn assert_all_once(service: &Running) {
    let seen = service.value("SELECT count(), uniqExact(uuid) FROM events WHERE event = 'loaded'").await;
    assert_eq!(seen, format!("{ALL}\t{ALL}"));
}
