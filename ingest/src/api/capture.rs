//! PostHog's capture paths: `/e`, `/i/v0/e`, `/batch`, `/capture`, `/track`, `/engage` and `/i/v0/ai/batch`, each with and
//! without a slash at its end, by POST, or by GET with the body in the query.
//!
//! The wire, as the SDKs of all years use it (posthog-js 1.0 to 1.449, node, Python, Ruby, PHP, .NET, Go, Rust, Elixir,
//! Android, iOS; PostHog's capture service is the reference):
//!
//! - **Body**: one event, an array of them, or `{api_key, batch, sent_at, historical_migration}`; as plain JSON under any
//!   content type, gzip (known by its first bytes, whatever is declared), base64, LZ-string named by
//!   `compression=lz64`, or a form with one of these in `data`.
//! - **Key**: of the envelope, else `api_key`, `token` or `$token` of each event, else `token` of its properties.
//! - **Query**: `data`, `compression`, `_` or `sent_at` (milliseconds), `beacon`; everything else is ignored.
//! - **Answer**: exactly 200 with a JSON object, once the events are stored. posthog-js and Python send again after a 204,
//!   so only `beacon=1`, whose sender cannot read, gets one. Ruby and .NET need an object. A status of 4xx makes every SDK
//!   throw the batch away, so it is only given when sending it again cannot help: 400 for a body in which there is no
//!   storable event, 401 for its key, 403 for its origin, 413 for its size. Everything else is 503 with `Retry-After`;
//!   429 would lose the events of browsers.
//! - **What is wrong with one event** costs that event: it is counted in `dropped`, and the others are stored. Only when
//!   none is left is the answer 400, with the reason of the first, so that a hand-written client can be mended.

use axum::Extension;
use axum::Json;
use axum::extract::Request;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::http::Uri;
use axum::http::header;
use axum::response::IntoResponse as _;
use axum::response::Response;
use serde::Serialize;

use super::extract::Peer;
use super::prepare::Capture;
use super::prepare::Prepared;
use super::prepare::Wire;
use super::prepare::Work;
use super::receive::Key;
use super::receive::receive;
use super::rejection::Rejection;
use super::store::compute;
use super::store::store;
use crate::decode::unpack::Hints;
use crate::event::Dialect;
use crate::state::AppState;

/// The answer to captured events. `status` is what PostHog's own service says.
#[derive(Debug, Serialize)]
struct Accepted {
    status: &'static str,
    ingested: usize,
    dropped: usize,
}

/// Takes events.
pub(crate) async fn capture(
    State(state): State<AppState>,
    Extension(Peer(peer)): Extension<Peer>,
    request: Request,
) -> Result<Response, Rejection> {
    take(state, peer, request, false).await
}

/// Takes updates of persons, which are events of which the name may be missing.
pub(crate) async fn engage(
    State(state): State<AppState>,
    Extension(Peer(peer)): Extension<Peer>,
    request: Request,
) -> Result<Response, Rejection> {
    take(state, peer, request, true).await
}

async fn take(
    state: AppState,
    peer: std::net::IpAddr,
    request: Request,
    is_engage: bool,
) -> Result<Response, Rejection> {
    let mut received = receive(&state, peer, request, Dialect::Posthog, Key::InBody).await?;
    let query = Query::of(&received.head.uri);
    if let Some(data) = query.data {
        received.reservation.grow(data.len())?;
        received.body = data.into_bytes();
    }
    let hints = Hints { is_lz: query.is_lz, is_form: is_form(&received.head.headers) };
    let wire = Wire::Capture(Capture { hints, sent_at: query.sent_at, is_engage });
    let Prepared { rows, dropped, reservation, .. } =
        compute(Work::new(&state, received, wire, None)).await?;
    if let (true, Some((_, reason))) = (rows.is_empty(), dropped.first()) {
        return Err(Rejection::NothingLeft(*reason));
    }
    let events = rows.len();
    let refused = store(&state, rows, reservation).await?;
    if query.is_beacon {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let ingested = events - refused;
    Ok(Json(Accepted { status: "Ok", ingested, dropped: dropped.len() + refused }).into_response())
}

/// What the query says about the body.
#[derive(Debug, Default, PartialEq, Eq)]
struct Query {
    data: Option<String>,
    is_lz: bool,
    is_beacon: bool,
    sent_at: Option<String>,
}

impl Query {
    fn of(uri: &Uri) -> Self {
        let mut query = Self::default();
        for (name, value) in url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
            match &*name {
                "data" if !value.is_empty() => query.data = Some(value.into_owned()),
                "compression" => query.is_lz = Hints::names_lz(&value),
                "beacon" => query.is_beacon = value == "1",
                "_" | "sent_at" => query.sent_at = Some(value.into_owned()),
                _ => {}
            }
        }
        query
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let declared = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = declared.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_of_every_generation_is_read() {
        let query = |text: &'static str| Query::of(&text.parse().unwrap());
        assert_eq!(query("/e/"), Query::default());
        let old = query("/e/?ip=1&_=1778059800000&ver=1.57.4&compression=lz64&beacon=1");
        assert!(old.is_lz && old.is_beacon);
        assert_eq!(old.sent_at.as_deref(), Some("1778059800000"));
        assert_eq!(query("/e?data=eyJ%2B+").data.as_deref(), Some("eyJ+ "));
    }
}
