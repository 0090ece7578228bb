//! `POST /batch/`: the way of events into the store.
//!
//! Cheap refusals come first: what header and origin already decide costs no body, and a full buffer is said before
//! the body is read.

use std::time::Duration;

use axum::Extension;
use axum::Json;
use axum::extract::Request;
use axum::extract::State;
use serde::Serialize;

use super::extract;
use super::extract::Encoding;
use super::extract::Peer;
use super::prepare::Prepared;
use super::prepare::Work;
use super::prepare::prepare;
use super::rejection::Rejection;
use super::screen::Screen;
use crate::authenticate;
use crate::state::AppState;

/// The answer to a batch.
#[derive(Debug, Serialize)]
pub(crate) struct Accepted {
    status: &'static str,
    ingested: usize,
    dropped: usize,
}

/// Bodies above this many bytes are worked on away from the threads that serve connections.
const LARGE: usize = 128 * 1024;
/// A compressed body can be a thousand times as long when inflated.
const LARGE_COMPRESSED: usize = 8 * 1024;

/// Stores the events of one request and answers once they are confirmed.
pub(crate) async fn batch(
    State(state): State<AppState>,
    Extension(Peer(peer)): Extension<Peer>,
    request: Request,
) -> Result<Json<Accepted>, Rejection> {
    let received_at = now();
    let (head, body) = request.into_parts();
    let headers = &head.headers;
    let encoding = extract::encoding(headers)?;
    extract::require_json(headers)?;
    let maybe_origin = extract::origin(headers).map(std::borrow::Cow::into_owned);
    authenticate::precheck(maybe_origin.as_deref(), state.origins(), &state.keys().snapshot())?;
    let address = extract::client_ip(peer, headers, state.trusted_proxies());
    state.admission().check_address(address)?;
    let max_bytes = state.limits().max_batch_bytes;
    let declared = extract::require_length_within(headers, max_bytes)?;
    if state.budget().is_exhausted() || state.buffer().is_full() {
        return Err(Rejection::Overloaded);
    }
    let mut reservation = state.budget().open();
    let mut screen = Screen::new(&state, maybe_origin.as_deref(), address, received_at);
    let read = extract::read_body(body, declared, max_bytes, |read, more| {
        reservation.grow(more)?;
        screen.grow(read, more)
    });
    let body = read.await?;
    let (body, turn) = screen.pass(body).await?;
    let work = Work {
        encoding,
        maybe_origin,
        address,
        user_agent: extract::user_agent(headers),
        received_at,
        nonce: rand::random(),
        body,
        reservation,
        state: state.clone(),
    };
    let prepared = compute(work).await?;
    drop(turn);
    store(&state, prepared).await.map(Json)
}

async fn compute(work: Work) -> Result<Prepared, Rejection> {
    let limit = if work.encoding == Encoding::Gzip { LARGE_COMPRESSED } else { LARGE };
    if work.body.len() <= limit {
        return prepare(work);
    }
    let state = work.state.clone();
    let Ok(_permit) = state.large_bodies().acquire().await else { return Err(Rejection::Internal) };
    tokio::task::spawn_blocking(|| prepare(work)).await.unwrap_or(Err(Rejection::Internal))
}

async fn store(state: &AppState, prepared: Prepared) -> Result<Accepted, Rejection> {
    let Prepared { rows, dropped, reservation } = prepared;
    let events = rows.len();
    if events == 0 {
        return Ok(Accepted { status: "ok", ingested: 0, dropped });
    }
    let stored = tokio::time::timeout(state.patience(), state.buffer().store(rows, reservation)).await;
    let Ok(Ok(stored)) = stored else {
        state.metrics().count_events("unavailable", events);
        return Err(Rejection::Unavailable);
    };
    state.metrics().count_events("refused", stored.refused);
    state.metrics().count_events("stored", events - stored.refused);
    Ok(Accepted { status: "ok", ingested: events - stored.refused, dropped: dropped + stored.refused })
}

/// How long a request waits for its answer, when one insert may take `insert_timeout`: its own flush and the rest of
/// the one before it.
pub(crate) fn patience(insert_timeout: Duration) -> Duration {
    insert_timeout * 2
}

/// The wall clock, in microseconds since 1970: read once for each request.
fn now() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}
