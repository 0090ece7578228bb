//! Paths of PostHog's other products: answered as empty, so that SDKs which ask for them go on in silence.
//!
//! Session recordings (`/s/`) are taken and not stored yet: the settings switch recording off, and an SDK that records
//! anyhow would otherwise send each piece ten times.

use axum::Json;
use serde_json::Value;
use serde_json::json;

/// `/api/surveys`.
pub(crate) async fn surveys() -> Json<Value> {
    Json(json!({"surveys": []}))
}

/// `/api/early_access_features`.
pub(crate) async fn early_access_features() -> Json<Value> {
    Json(json!({"earlyAccessFeatures": []}))
}

/// `/api/web_experiments`.
pub(crate) async fn web_experiments() -> Json<Value> {
    Json(json!({"experiments": []}))
}

/// `/api/product_tours`.
pub(crate) async fn product_tours() -> Json<Value> {
    Json(json!({"product_tours": []}))
}

/// `/s`: recordings.
pub(crate) async fn recordings() -> Json<Value> {
    Json(json!({"status": "Ok"}))
}
