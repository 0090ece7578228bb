//! `/flags`, `/decide` and `/flags/definitions`: every SDK is told that there are no feature flags.
//!
//! Evaluating flags is another product. A call to them still has to be answered, since SDKs send one at their start or with
//! their first event, and the old `/decide` also carries the settings. The body is not read into anything: the answer is
//! the same for everybody.

use axum::Json;
use axum::http::HeaderMap;
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::Uri;
use axum::http::header;
use axum::response::IntoResponse as _;
use axum::response::Response;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use uuid::Uuid;

use super::config;

const ETAG: HeaderValue = HeaderValue::from_static("\"none\"");

/// Answers `/flags`: from version 2 on with a map of flags, before with one of values.
pub(crate) async fn flags(uri: Uri) -> Json<Map<String, Value>> {
    let mut answer = if version(&uri) >= 2 { none() } else { values() };
    if parameter(&uri, "config").is_some_and(|value| value == "true") {
        answer.extend(config::settings());
    }
    Json(answer)
}

/// Answers `/decide`, which came before `/flags` and carries the settings in every version.
pub(crate) async fn decide(uri: Uri) -> Json<Map<String, Value>> {
    let mut answer = config::settings();
    // Without it posthog-js of 2021 to 2023 captures no clicks.
    answer.insert("config".to_owned(), json!({"enable_collect_everything": true}));
    answer.insert("editorParams".to_owned(), json!({}));
    match version(&uri) {
        4.. => answer.extend(none()),
        1 => drop(answer.insert("featureFlags".to_owned(), json!([]))),
        _ => answer.extend(values()),
    }
    Json(answer)
}

/// Answers the poll for definitions of flags, which costs nothing while its answer stays the same.
pub(crate) async fn definitions(headers: HeaderMap) -> Response {
    if headers.get(header::IF_NONE_MATCH) == Some(&ETAG) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, ETAG)]).into_response();
    }
    let none = json!({"flags": [], "group_type_mapping": {}, "cohorts": {}});
    ([(header::ETAG, ETAG)], Json(none)).into_response()
}

fn none() -> Map<String, Value> {
    Map::from_iter([
        ("flags".to_owned(), json!({})),
        ("errorsWhileComputingFlags".to_owned(), json!(false)),
        ("requestId".to_owned(), json!(Uuid::new_v4())),
        ("evaluatedAt".to_owned(), json!(jiff::Timestamp::now().as_millisecond())),
    ])
}

fn values() -> Map<String, Value> {
    Map::from_iter([
        ("featureFlags".to_owned(), json!({})),
        ("featureFlagPayloads".to_owned(), json!({})),
        ("errorsWhileComputingFlags".to_owned(), json!(false)),
    ])
}

fn version(uri: &Uri) -> u32 {
    parameter(uri, "v").and_then(|version| version.parse().ok()).unwrap_or(1)
}

fn parameter(uri: &Uri, name: &str) -> Option<String> {
    let query = uri.query().unwrap_or_default();
    let found = url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name);
    found.map(|(_, value)| value.into_owned())
}
