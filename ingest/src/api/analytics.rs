//! `POST /i/v1/analytics/events`: PostHog's v1 wire, opt-in in its SDKs today.
//!
//! The key stands in `Authorization: Bearer`, so it is checked before the body is read. `PostHog-Sdk-Info`,
//! `PostHog-Attempt`, `PostHog-Request-Id` and `PostHog-Request-Timestamp` are required, the body is
//! `{created_at, batch, historical_migration}`, coded as gzip, deflate, br or zstd when `Content-Encoding` says so.
//!
//! The answer names each event's id with `ok`, `warning` or `drop` once the good ones are stored. Errors are
//! `{error, error_description}`; those that a repetition can mend (408, 500, 503) carry `Retry-After`, the others are
//! final. The SDKs send the whole request again, with the same ids, so `retry` is never said for a part of it.

use std::collections::HashMap;

use axum::Extension;
use axum::Json;
use axum::extract::Request;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::HeaderValue;
use axum::http::header;
use axum::response::IntoResponse as _;
use axum::response::Response;
use serde::Serialize;
use uuid::Uuid;

use super::extract;
use super::extract::Peer;
use super::prepare::Analytics;
use super::prepare::Prepared;
use super::prepare::Wire;
use super::prepare::Work;
use super::receive::Key;
use super::receive::receive;
use super::rejection::Rejection;
use super::store::compute;
use super::store::store;
use crate::authenticate;
use crate::authenticate::Claim;
use crate::authenticate::Refusal;
use crate::decode::analytics::Verdict;
use crate::decode::codec::Codec;
use crate::event::Dialect;
use crate::event::Dropped;
use crate::keys::Scope;
use crate::state::AppState;

const SDK_INFO: &str = "posthog-sdk-info";
const ATTEMPT: &str = "posthog-attempt";
const REQUEST_ID: &str = "posthog-request-id";
const REQUEST_TIMESTAMP: &str = "posthog-request-timestamp";
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

#[derive(Serialize)]
struct Answer {
    results: HashMap<Uuid, Outcome>,
}

#[derive(Serialize)]
struct Outcome {
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'static str>,
}

#[derive(Serialize)]
struct Failure {
    error: &'static str,
    error_description: String,
}

/// Takes events and answers for each.
pub(crate) async fn analytics(
    State(state): State<AppState>,
    Extension(Peer(peer)): Extension<Peer>,
    request: Request,
) -> Response {
    let maybe_id = request.headers().get(REQUEST_ID).cloned();
    let mut response = match answer(&state, peer, request).await {
        Ok(answer) => Json(answer).into_response(),
        Err(rejection) => failure(&rejection),
    };
    if let Some(id) = maybe_id {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

async fn answer(state: &AppState, peer: std::net::IpAddr, request: Request) -> Result<Answer, Rejection> {
    let headers = request.headers();
    let credential = bearer(headers).ok_or(Refusal::NoKey)?.to_owned();
    check(state, headers, &credential)?;
    extract::require_json(headers)?;
    let codec = codec(headers)?;
    let text = |name| required(headers, name).map(str::to_owned);
    let analytics = Analytics { codec, sdk: text(SDK_INFO)?, sent_at: text(REQUEST_TIMESTAMP)? };
    required(headers, ATTEMPT)?;
    required(headers, REQUEST_ID)?;
    let received = receive(state, peer, request, Dialect::Posthog, Key::Known).await?;
    let work = Work::new(state, received, Wire::Analytics(analytics), Some(credential));
    let Prepared { rows, dropped, verdicts, reservation } = compute(work).await?;
    store(state, rows, reservation).await?;
    Ok(Answer { results: outcomes(verdicts, &dropped) })
}

/// Refuses a key before anything is read for it.
fn check(state: &AppState, headers: &HeaderMap, credential: &str) -> Result<(), Rejection> {
    let origin = extract::origin(headers);
    let claim = Claim {
        origin: origin.as_deref(),
        credential: Some(credential),
        scope: Scope::Capture,
        dialect: Dialect::Posthog,
    };
    let now = jiff::Timestamp::now().as_microsecond();
    authenticate::authenticate(claim, state.origins(), &state.keys().snapshot(), now)?;
    Ok(())
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn codec(headers: &HeaderMap) -> Result<Codec, Rejection> {
    let Some(value) = headers.get(header::CONTENT_ENCODING) else { return Ok(Codec::Identity) };
    value.to_str().ok().and_then(Codec::named).ok_or(Rejection::Encoding)
}

fn required<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, Rejection> {
    let value = headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    value.filter(|value| !value.is_empty()).ok_or(Rejection::NoHeader(name))
}

/// What each event is told. Those that were accepted and then dropped are named by their place among the accepted, in
/// order.
fn outcomes(verdicts: Vec<(Uuid, Verdict)>, dropped: &[(usize, Dropped)]) -> HashMap<Uuid, Outcome> {
    let mut accepted = 0..;
    let mut dropped = dropped.iter().peekable();
    let mut late = || {
        let place = accepted.next();
        dropped.next_if(|(late, _)| Some(*late) == place).map(|(_, reason)| reason.label())
    };
    let mut outcome = |verdict| {
        let (result, details) = match verdict {
            Verdict::Dropped(reason) => ("drop", Some(reason)),
            Verdict::Accepted => late().map_or(("ok", None), |reason| ("drop", Some(reason))),
            Verdict::Warned(said) => late().map_or(("warning", Some(said)), |reason| ("drop", Some(reason))),
        };
        Outcome { result, details }
    };
    verdicts.into_iter().map(|(uuid, verdict)| (uuid, outcome(verdict))).collect()
}

fn failure(rejection: &Rejection) -> Response {
    let (status, error_description) = rejection.row();
    let error = match status.as_u16() {
        401 => "invalid_token",
        403 => "origin_not_allowed",
        408 => "request_timeout",
        413 => "payload_too_large",
        415 => "unsupported_media_type",
        503 => "service_unavailable",
        500.. => "internal_error",
        _ => "invalid_request",
    };
    let mut response = (status, Json(Failure { error, error_description })).into_response();
    if status.is_server_error() || status.as_u16() == 408 {
        response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_is_dropped_late_is_told_so() {
        let uuid = Uuid::from_u128;
        let verdicts = vec![
            (uuid(1), Verdict::Dropped("missing_event_name")),
            (uuid(2), Verdict::Accepted),
            (uuid(3), Verdict::Warned("person_processing_disabled")),
        ];
        let results = outcomes(verdicts, &[(1, Dropped::TooLarge)]);
        let said = |id| (results[&uuid(id)].result, results[&uuid(id)].details);
        assert_eq!(said(1), ("drop", Some("missing_event_name")));
        assert_eq!(said(2), ("ok", None));
        assert_eq!(said(3), ("drop", Some("too_large")));
    }

    #[test]
    fn only_a_bearer_token_is_taken() {
        let headers = |value: &'static str| {
            HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static(value))])
        };
        assert_eq!(bearer(&headers("bearer  k ")), Some("k"));
        assert_eq!(bearer(&headers("Basic k")), None);
        assert_eq!(bearer(&headers("Bearer ")), None);
    }
}
