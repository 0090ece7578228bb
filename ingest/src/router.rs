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
use axum::routing::MethodRouter;
use axum::routing::get;
use axum::routing::post;
use tracing::Instrument as _;

use crate::api::analytics::analytics;
use crate::api::batch::batch;
use crate::api::capture::capture;
use crate::api::capture::engage;
use crate::api::config;
use crate::api::cors;
use crate::api::extract::refuse_unknown_encodings;
use crate::api::flags;
use crate::api::health::health;
use crate::api::limited::limited;
use crate::api::quiet;
use crate::api::rejection::method_not_allowed;
use crate::api::rejection::not_found;
use crate::metrics::StatusLabel;
use crate::state::AppState;

/// The public port. The last layer is the outermost.
pub(crate) fn router(state: AppState) -> Router {
    let prefix = state.paths().prefix.clone();
    let routes = if state.paths().posthog { posthog(&state) } else { seed(&state) };
    let routes = routes.layer(from_fn_with_state(state.clone(), count)).with_state(state);
    match prefix {
        Some(prefix) => Router::new().nest(&prefix, routes.clone()).fallback_service(routes),
        None => routes,
    }
}

/// The seed's contract, and nothing else.
fn seed(state: &AppState) -> Router<AppState> {
    Router::new()
        .route("/batch/", post(batch))
        .route("/health", get(health))
        .fallback(not_found)
        .method_not_allowed_fallback(not_found)
        .layer(from_fn(refuse_unknown_encodings))
        .layer(from_fn(limited))
        .layer(from_fn_with_state(state.clone(), cors::cors))
}

/// What PostHog's SDKs of all years call. A redirect to add a slash would turn their POST into a GET, so each path is
/// served with and without one.
fn posthog(state: &AppState) -> Router<AppState> {
    let routes: [(&str, MethodRouter<AppState>); 20] = [
        ("/e", post(capture).get(capture)),
        ("/i/v0/e", post(capture).get(capture)),
        ("/i/v0/ai/batch", post(capture)),
        ("/batch", post(capture).get(capture)),
        ("/capture", post(capture).get(capture)),
        ("/track", post(capture).get(capture)),
        ("/engage", post(engage).get(engage)),
        ("/i/v1/analytics/events", post(analytics)),
        ("/array/{token}/config", get(config::config)),
        ("/array/{token}/config.js", get(config::script)),
        ("/flags", post(flags::flags).get(flags::flags)),
        ("/flags/definitions", get(flags::definitions)),
        ("/api/feature_flag/local_evaluation", get(flags::definitions)),
        ("/decide", post(flags::decide).get(flags::decide)),
        ("/s", post(quiet::recordings).get(quiet::recordings)),
        ("/api/surveys", get(quiet::surveys)),
        ("/api/early_access_features", get(quiet::early_access_features)),
        ("/api/web_experiments", get(quiet::web_experiments)),
        ("/api/product_tours", get(quiet::product_tours)),
        ("/health", get(health)),
    ];
    let both = |served: Router<AppState>, (path, methods): (&str, MethodRouter<AppState>)| {
        served.route(path, methods.clone()).route(&format!("{path}/"), methods)
    };
    routes
        .into_iter()
        .fold(Router::new(), both)
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn(limited))
        .layer(from_fn_with_state(state.clone(), cors::posthog::cors))
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
