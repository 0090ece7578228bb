//! CORS as the browsers of PostHog's SDKs need it, on every path and every status.
//!
//! The origin is mirrored, never `*`: old SDKs send credentials, which `*` forbids, and sandboxed frames and files have the
//! origin `null`. The headers asked for are mirrored too, since sites add their own. Errors carry the headers as well: an
//! SDK that cannot read a 401 takes it for a broken network and tries again. `Retry-After` is only seen when it is exposed.

use axum::Json;
use axum::extract::Request;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::HeaderValue;
use axum::http::Method;
use axum::http::header;
use axum::middleware::Next;
use axum::response::IntoResponse as _;
use axum::response::Response;
use serde_json::json;

use super::MAX_AGE;
use super::METHODS;
use super::TRUE;
use super::welcome_origin;
use crate::event::Dialect;
use crate::state::AppState;

const EXPOSED: HeaderValue = HeaderValue::from_static("Retry-After, PostHog-Request-Id");
const VARY: HeaderValue = HeaderValue::from_static("Origin");
/// What is allowed when nothing is asked for.
const HEADERS: HeaderValue = HeaderValue::from_static("content-type, content-encoding, authorization");

/// Answers every OPTIONS, and marks every answer.
pub(crate) async fn cors(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let maybe_origin = welcome_origin(&state, request.headers(), Dialect::Posthog);
    let mut response = if request.method() == Method::OPTIONS {
        preflight(request.headers())
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.append(header::VARY, VARY);
    if let Some(origin) = maybe_origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
    response
}

fn preflight(asked: &HeaderMap) -> Response {
    let mut response = Json(json!({"status": "Ok"})).into_response();
    let allowed = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned().unwrap_or(HEADERS);
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    response
}
