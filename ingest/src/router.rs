//! Every public route and layer on one page.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::extract::MatchedPath;
use axum::extract::Request;
use axum::extract::State;
use axum::middleware::Next;
use axum::middleware::from_fn;
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::get;
use axum::routing::post;
use tracing::Instrument as _;

use crate::api::batch::batch;
use crate::api::cors::cors;
use crate::api::extract::refuse_unknown_encodings;
use crate::api::health::health;
use crate::api::limited::limited;
use crate::api::rejection::not_found;
use crate::metrics::StatusLabel;
use crate::state::AppState;

/// The public port. The last layer is the outermost.
pub(crate) fn router(state: AppState) -> Router {
    Router::new()
        .route("/batch/", post(batch))
        .route("/health", get(health))
        .fallback(not_found)
        .method_not_allowed_fallback(not_found)
        .layer(from_fn(refuse_unknown_encodings))
        .layer(from_fn(limited))
        .layer(from_fn_with_state(state.clone(), cors))
        .layer(from_fn_with_state(state.clone(), count))
        .with_state(state)
}

/// Numbers requests for the log.
static REQUESTS: AtomicU64 = AtomicU64::new(1);

/// Counts every answer by its status.
async fn count(State(state): State<AppState>, request: Request, next: Next) -> Response {
    // The route and not the path, in which some clients write their key.
    let route = request.extensions().get::<MatchedPath>().cloned();
    let span = tracing::debug_span!(
        "request",
        weir.request.id = REQUESTS.fetch_add(1, Ordering::Relaxed),
        http.request.method = %request.method(),
        http.route = route.as_ref().map(MatchedPath::as_str),
    );
    let response = next.run(request).instrument(span.clone()).await;
    let status = response.status().as_u16();
    tracing::debug!(parent: &span, http.response.status_code = status, "answered");
    state.metrics().requests.get_or_create(&StatusLabel { status }).inc();
    response
}
