//! The list of `product-analytics-contract.md` section 9, as requests and as questions to ClickHouse.

use std::io::{Read as _, Write as _};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::Method;
use serde_json::json;

use super::check::{Asked, ORIGIN, Port};

const JSON: (&str, &str) = ("content-type", "application/json");
const LISTED: (&str, &str) = ("origin", ORIGIN);
const ONE: &str = r#"{"api_key":"first-key","batch":[{"event":"a","distinct_id":"u1"}]}"#;
const KEYLESS: &str = r#"{"batch":[{"event":"a","distinct_id":"u1"}]}"#;
const PAGE: &str = r#"{"batch":[{"event":"$pageview","distinct_id":"page-1","properties":
    {"$session_id":"session-1","$current_url":"https://app.example/","plan":"free"}}]}"#;
/// The queries that a reader starts with.
const STARTERS: [&str; 10] = [
    "SELECT toDate(timestamp) AS day, count(), uniqExact(person_id) FROM {database}.events GROUP BY day",
    "SELECT event, count() AS volume, any(properties) FROM {database}.events \
     WHERE timestamp > now() - INTERVAL 7 DAY GROUP BY event ORDER BY volume DESC",
    "SELECT person_id, min(timestamp), max(timestamp), countIf(event = '$pageview'), count() \
     FROM {database}.events GROUP BY person_id",
    "SELECT session_id, started_at, ended_at, duration_seconds, pageview_count, autocapture_count, event_count \
     FROM {database}.sessions ORDER BY started_at DESC",
    "SELECT person_id, minIf(timestamp, event = 'seen'), minIf(timestamp, event = '$identify') \
     FROM {database}.events WHERE timestamp > now() - INTERVAL 30 DAY GROUP BY person_id",
    "SELECT JSONExtractString(properties, 'plan') AS plan, count() FROM {database}.persons GROUP BY plan",
    "SELECT e.event, JSONExtractString(p.properties, 'plan') FROM {database}.events AS e \
     INNER JOIN {database}.persons AS p ON p.id = e.person_id ORDER BY e.timestamp DESC LIMIT 10",
    "SELECT person_id, groupArray(distinct_id) FROM {database}.person_distinct_ids GROUP BY person_id \
     HAVING has(groupArray(distinct_id), 'known-1') AND has(groupArray(distinct_id), 'anon-1')",
    "SELECT JSONExtractString(properties, '$current_url') FROM {database}.events \
     WHERE JSONHas(properties, '$session_id')",
    "SELECT p.properties FROM {database}.persons AS p INNER JOIN {database}.person_distinct_ids AS d \
     ON d.person_id = p.id WHERE d.distinct_id = 'anon-1'",
];

/// A batch to the service with keys, answered well.
fn batch(item: &'static str, body: impl Into<Bytes>, rows: u64) -> Asked {
    Asked {
        item,
        port: Port::Keyed,
        method: Method::POST,
        path: "/batch/",
        headers: vec![JSON],
        body: body.into(),
        status: 200,
        contains: r#""status":"ok""#,
        rows,
    }
}

/// A batch that is refused.
fn refused(item: &'static str, body: impl Into<Bytes>, status: u16) -> Asked {
    Asked { status, contains: "error", ..batch(item, body, 0) }
}

fn with(asked: Asked, header: (&'static str, &'static str)) -> Asked {
    let mut headers = asked.headers.clone();
    headers.retain(|(name, _)| *name != header.0);
    headers.push(header);
    Asked { headers, ..asked }
}

/// Every request, in order.
pub(super) fn requests() -> anyhow::Result<Vec<Asked>> {
    let mut requests = identity_and_storage();
    requests.extend(keys_and_origins());
    requests.extend(shapes()?);
    Ok(requests)
}

fn keys_and_origins() -> Vec<Asked> {
    let second = ONE.replace("first", "second");
    let wrong = ONE.replace("first", "wrong");
    let token = r#"{"token":"first-key","batch":[{"event":"a","distinct_id":"u","properties":{"token":"first-key"}}]}"#;
    let keyless = |asked: Asked| Asked { port: Port::Keyless, ..asked };
    let other_path = |path| Asked { path, contains: "Not Found", ..refused("C5", ONE, 404) };
    let mut requests = vec![
        with(batch("C1", KEYLESS, 1), LISTED),
        with(batch("C1", PAGE, 1), LISTED),
        batch("C2", ONE, 1),
        batch("C2", second, 1),
        refused("C3", KEYLESS, 401),
        refused("C3", wrong.clone(), 401),
        refused("C3", token, 401),
        keyless(refused("C4", ONE, 401)),
        keyless(with(batch("C4", KEYLESS, 1), LISTED)),
        with(refused("C11", wrong, 401), LISTED),
        with(refused("C11", ONE, 403), ("origin", "https://other.example")),
        with(refused("C12", ONE, 403), ("origin", "http://app.example")),
        with(refused("C12", ONE, 403), ("origin", "https://app.example:8443")),
        refused("E9", KEYLESS, 401),
        with(refused("E9", KEYLESS, 403), ("origin", "https://other.example")),
    ];
    let paths =
        ["/batch", "/capture/", "/e/", "/i/v0/e/", "/decide/", "/flags/", "/array/first-key/config", "/s/"];
    requests.extend(paths.map(other_path));
    requests
}

fn identity_and_storage() -> Vec<Asked> {
    let envelope = |events: serde_json::Value| json!({"api_key": "first-key", "batch": events}).to_string();
    let anonymous = json!({"event": "seen", "distinct_id": "anon-1"});
    let identify = json!({"event": "$identify", "distinct_id": "known-1", "properties": {
        "$anon_distinct_id": "anon-1", "$set": {"plan": "free"}, "$set_once": {"first": "a"}}});
    let set = |key: &str, plan: &str| {
        let properties = json!({"$set": {"plan": plan}, "$set_once": {"first": "b"}});
        json!({"api_key": key, "batch": [{"event": "$set", "distinct_id": "known-1", "properties": properties}]}).to_string()
    };
    let health = |port, path| Asked { port, path, method: Method::GET, contains: "ok", ..batch("E1", "", 0) };
    vec![
        health(Port::Keyed, "/health"),
        health(Port::Admin, "/livez"),
        health(Port::Admin, "/readyz"),
        batch("C7", envelope(json!([anonymous, identify])), 2),
        batch("C8", envelope(json!([{"event": "seen", "distinct_id": "anon-2"}])), 1),
        batch(
            "C8",
            envelope(
                json!([{"event": "$identify", "distinct_id": "known-2", "properties": {"$anon_distinct_id": "anon-2"}}]),
            ),
            1,
        ),
        batch("C9", set("first-key", "team"), 1),
        batch("C10", set("second-key", "enterprise"), 1),
    ]
}

fn shapes() -> anyhow::Result<Vec<Asked>> {
    let kind = |asked, kind| with(asked, ("content-type", kind));
    let encoded = |asked, encoding| with(asked, ("content-encoding", encoding));
    let mixed = r#"{"api_key":"first-key","batch":[{"event":"a","distinct_id":"u"},{"event":"a"}]}"#;
    let two_keys = r#"{"batch":[{"event":"a","distinct_id":"u","api_key":"first-key"},{"event":"a","distinct_id":"u","api_key":"second-key"}]}"#;
    let bad_time =
        r#"{"api_key":"first-key","batch":[{"event":"a","distinct_id":"u","timestamp":"yesterday"}]}"#;
    let three = r#"{"api_key":"first-key","batch":[{"event":"a","distinct_id":"u"},{"event":"b","distinct_id":"u"},{"event":"c","distinct_id":"v"}]}"#;
    let repeated = r#"{"api_key":"first-key","batch":[{"event":"r","distinct_id":"u","uuid":"019a0f2e-7c10-7b3a-9d41-5f0c2a77e001","timestamp":"2026-05-06T09:30:00Z"}]}"#;
    let crowd =
        json!({"api_key": "first-key", "batch": vec![json!({"event": "a", "distinct_id": "u"}); 10_001]});
    Ok(vec![
        refused("C13", r#"{"batch":"#, 400),
        refused("C13", r#"{"event":"a","distinct_id":"u"}"#, 400),
        refused("C13", "[]", 400),
        refused("C13", r#"[{"event":"a","distinct_id":"u","api_key":"first-key"}]"#, 400),
        kind(refused("C13", ONE, 415), "text/plain"),
        kind(refused("C13", ONE, 415), "application/x-www-form-urlencoded"),
        encoded(batch("C14", gzip(ONE.as_bytes())?, 1), "gzip"),
        encoded(refused("C15", ONE, 415), "deflate"),
        encoded(refused("C15", ONE, 415), "br"),
        Asked { path: "/batch/?compression=gzip", ..refused("C15", ONE, 415) },
        refused("C16", bad_time, 400),
        refused("C16", two_keys, 400),
        encoded(refused("C17", bomb()?, 413), "gzip"),
        Asked { contains: r#""ingested":1,"dropped":1"#, ..batch("C18", mixed, 1) },
        batch("E5", ONE, 1),
        Asked { contains: r#""ingested":3,"dropped":0"#, ..batch("E5", three, 3) },
        refused("E9", crowd.to_string(), 413),
        batch("same uuid twice", repeated, 1),
        batch("same uuid twice", repeated, 0),
    ])
}

fn gzip(bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

fn bomb() -> anyhow::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    std::io::copy(&mut std::io::repeat(b' ').take(64 << 20), &mut encoder)?;
    Ok(encoder.finish()?)
}

/// What a reader finds after the requests.
pub(super) fn questions() -> Vec<(&'static str, String, &'static str)> {
    let persons = |ids: &str| {
        format!("SELECT uniqExact(person_id) FROM {{database}}.events WHERE distinct_id IN ({ids})")
    };
    let property = |name: &str| {
        format!(
            "SELECT JSONExtractString(properties, '{name}') FROM {{database}}.persons WHERE distinct_id = 'known-1'"
        )
    };
    let links = "SELECT uniqExact(person_id) FROM {database}.person_distinct_ids WHERE distinct_id IN ('anon-1', 'known-1')";
    let tables = "SELECT count() FROM system.tables WHERE database = '{database}' \
                  AND name IN ('events', 'persons', 'person_distinct_ids', 'sessions')";
    let page = "SELECT (api_key, session_id, current_url) FROM {database}.events WHERE event = '$pageview'";
    let mut questions = vec![
        ("C1", page.to_owned(), "('','session-1','https://app.example/')"),
        ("E1", tables.to_owned(), "4"),
        ("C6", links.to_owned(), "1"),
        ("C7", persons("'anon-1', 'known-1'"), "1"),
        ("C8", persons("'anon-2', 'known-2'"), "1"),
        ("E7", persons("'anon-1', 'known-1', 'anon-2', 'known-2'"), "2"),
        ("C9", property("first"), "a"),
        ("C10", property("plan"), "enterprise"),
        ("E6", "SELECT count() FROM {database}.persons WHERE distinct_id = 'known-1'".to_owned(), "1"),
    ];
    questions.extend(STARTERS.map(|sql| ("E10", format!("SELECT count() > 0 FROM ({sql})"), "1")));
    questions
}
