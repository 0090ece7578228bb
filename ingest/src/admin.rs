//! The admin port: liveness, readiness, metrics, and which generations are in use.

mod report;

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

use crate::budget::Budget;
use crate::clickhouse::Client;
use crate::keys::Keys;
use crate::metrics;
use crate::metrics::Metrics;
use crate::readiness::Readiness;
use report::AllReloads;
use report::Facts;
use report::Report;

/// What the admin port reports on.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    /// Second since 1970.
    pub(crate) started_at: i64,
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) keys: Arc<Keys>,
    pub(crate) client: Client,
    pub(crate) budget: Arc<Budget>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) registry: Arc<Registry>,
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

async fn generation(State(admin): State<Admin>) -> Json<Report> {
    // Looks at the folder first, so that the answer is what the next call uses.
    let clickhouse_user = admin.client.user().await;
    let reloads = AllReloads {
        keys: admin.keys.reloads().report(),
        credentials: admin.client.credential_reloads().report(),
        ca: admin.client.ca_reloads().report(),
    };
    let now = jiff::Timestamp::now().as_microsecond();
    let facts = Facts { started_at: admin.started_at, now, clickhouse_user, reloads };
    Json(report::generation(&admin.keys.snapshot(), facts))
}
