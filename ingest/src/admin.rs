//! The admin port: liveness, readiness, metrics, and which generations are in use.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse as _;
use axum::response::Response;
use axum::routing::get;
use prometheus_client::registry::Registry;
use serde::Serialize;

use crate::budget::Budget;
use crate::clickhouse::Client;
use crate::keys::Keys;
use crate::metrics;
use crate::metrics::Metrics;
use crate::readiness::Readiness;
use crate::schema;

/// What the admin port reports on.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) keys: Arc<Keys>,
    pub(crate) client: Client,
    pub(crate) budget: Arc<Budget>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) registry: Arc<Registry>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Generation {
    keys: u64,
    clickhouse_user: String,
    schema: Range,
}

#[derive(Serialize)]
struct Range {
    minimum: u32,
    maximum: u32,
}

/// The routes of the admin port.
pub(crate) fn router(admin: Admin) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(scrape))
        .route("/generation", get(generation))
        .with_state(admin)
}

async fn readyz(State(admin): State<Admin>) -> Response {
    match admin.readiness.missing() {
        None => "ok\n".into_response(),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

async fn scrape(State(admin): State<Admin>) -> Response {
    admin.metrics.buffer_bytes.set(i64::try_from(admin.budget.used()).unwrap_or(i64::MAX));
    match metrics::render(&admin.registry) {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(CONTENT_TYPE, kind)], text).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn generation(State(admin): State<Admin>) -> Json<Generation> {
    Json(Generation {
        keys: admin.keys.snapshot().generation,
        clickhouse_user: admin.client.user().await,
        schema: Range { minimum: schema::MINIMUM, maximum: schema::MAXIMUM },
    })
}
