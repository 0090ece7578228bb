//! The admin port: `/livez`, `/readyz` and `/metrics`.
//!
//! Ready means that the API server serves our kind and this process could lead; it means neither leading nor that the
//! watches have been read.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::metrics::Metrics;

/// What the process waits for before it is ready; empty when it is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Readiness(Arc<Mutex<Option<String>>>);

impl Readiness {
    /// A process that has not started yet.
    pub(crate) fn starting() -> Self {
        Self(Arc::new(Mutex::new(Some("starting".into()))))
    }

    /// Says what is waited for.
    pub(crate) fn wait_for(&self, what: impl Into<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(what.into());
    }

    /// Says that nothing is waited for.
    pub(crate) fn ready(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn waits_for(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[derive(Debug, Clone)]
struct AppState {
    readiness: Readiness,
    metrics: Arc<Metrics>,
}

/// Builds the routes of the admin port.
pub(crate) fn router(readiness: Readiness, metrics: Arc<Metrics>) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(render_metrics))
        .with_state(AppState { readiness, metrics })
}

async fn readyz(State(state): State<AppState>) -> Response {
    match state.readiness.waits_for() {
        None => "ok\n".into_response(),
        Some(what) => (StatusCode::SERVICE_UNAVAILABLE, format!("{what}\n")).into_response(),
    }
}

async fn render_metrics(State(state): State<AppState>) -> Response {
    let content_type = [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    (content_type, state.metrics.render()).into_response()
}
