//! CORS for the listed origins, on every path and every status, as the seed has it.
//!
//! Credentials are allowed, since browsers send page-leave beacons with them and drop the beacon otherwise.

pub(crate) mod posthog;

use axum::extract::Request;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::HeaderValue;
use axum::http::Method;
use axum::http::StatusCode;
use axum::http::header;
use axum::middleware::Next;
use axum::response::IntoResponse as _;
use axum::response::Response;

use super::extract;
use crate::authenticate;
use crate::event::Dialect;
use crate::state::AppState;

const METHODS: HeaderValue = HeaderValue::from_static("POST, OPTIONS, GET");
const HEADERS: HeaderValue = HeaderValue::from_static("content-type, content-encoding, x-requested-with");
const TRUE: HeaderValue = HeaderValue::from_static("true");
/// Two hours: the longest that Chromium keeps.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// Answers preflights and marks every other answer.
pub(crate) async fn cors(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let listed = welcome_origin(&state, request.headers(), Dialect::Seed);
    let is_preflight = request.method() == Method::OPTIONS;
    let mut response = if !is_preflight {
        next.run(request).await
    } else if !is_complete(request.headers()) {
        (StatusCode::BAD_REQUEST, "Invalid Preflight Request").into_response()
    } else if listed.is_some() {
        preflight()
    } else {
        next.run(request).await
    };
    response.headers_mut().append(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = listed {
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
    }
    response
}

/// The origin of a request, when its browser may see the answer.
fn welcome_origin(state: &AppState, headers: &HeaderMap, dialect: Dialect) -> Option<HeaderValue> {
    let origin = extract::origin(headers)?;
    let is_welcome = authenticate::is_welcome(&origin, state.origins(), &state.keys().snapshot(), dialect);
    is_welcome.then(|| headers.get(header::ORIGIN).cloned())?
}

fn is_complete(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ORIGIN) && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

fn preflight() -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
    response.headers_mut().insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    response
}
