//! `GET /array/TOKEN/config` and `/array/TOKEN/config.js`: what posthog-js asks at its start.
//!
//! The answer is the same for every key and tells nothing about it, so the key is not checked and any cache may keep it.
//! What it must say is `supportedCompression` (without it, or without an answer, browsers send plain JSON with a
//! preflight each) and that there are no flags (else a request more on each page). It names no surveys: any value there
//! makes posthog-js load a script that is not served here.

use axum::Json;
use axum::extract::Path;
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::header;
use axum::response::IntoResponse as _;
use axum::response::Response;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

const CACHED: HeaderValue = HeaderValue::from_static("public, max-age=300");
const JAVASCRIPT: HeaderValue = HeaderValue::from_static("text/javascript; charset=utf-8");

/// Longest key that a script is made for.
const MAX_TOKEN: usize = 128;

/// Everything that browsers are told, which is to send events and nothing else.
pub(super) fn settings() -> Map<String, Value> {
    let settings = json!({
        "supportedCompression": ["gzip", "gzip-js"],
        "hasFeatureFlags": false,
        "analytics": {"endpoint": "/i/v0/e/"},
        "sessionRecording": false,
        "heatmaps": false,
        "autocaptureExceptions": false,
        "capturePerformance": false,
        "captureDeadClicks": false,
        "autocapture_opt_out": false,
        "defaultIdentifiedOnly": true,
        "siteApps": [],
        "elementsChainAsString": true,
        "isAuthenticated": false,
        "toolbarParams": {},
    });
    match settings {
        Value::Object(settings) => settings,
        _ => Map::new(),
    }
}

fn settings_for(token: String) -> Map<String, Value> {
    let mut settings = settings();
    settings.insert("token".to_owned(), token.into());
    settings
}

/// The settings as JSON.
pub(crate) async fn config(Path(token): Path<String>) -> Response {
    ([(header::CACHE_CONTROL, CACHED)], Json(settings_for(token))).into_response()
}

/// The settings as a script that puts them where posthog-js looks.
pub(crate) async fn script(Path(token): Path<String>) -> Response {
    let is_plain = |each: char| each.is_ascii_alphanumeric() || each == '_' || each == '-';
    if token.len() > MAX_TOKEN || !token.chars().all(is_plain) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let settings = Value::Object(settings_for(token.clone()));
    let script = format!(
        "(function(){{var c=window._POSTHOG_REMOTE_CONFIG=window._POSTHOG_REMOTE_CONFIG||{{}};\
         c['{token}']={{config:{settings},siteApps:[]}};}})();"
    );
    ([(header::CONTENT_TYPE, JAVASCRIPT), (header::CACHE_CONTROL, CACHED)], script).into_response()
}
