//! `POST /batch/` as the seed has it, strict in types and encodings; served when PostHog's paths are switched off.

use axum::Extension;
use axum::Json;
use axum::extract::Request;
use axum::extract::State;
use serde::Serialize;

use super::extract;
use super::extract::Peer;
use super::prepare::Prepared;
use super::prepare::Wire;
use super::prepare::Work;
use super::receive::Key;
use super::receive::receive;
use super::rejection::Rejection;
use super::store::compute;
use super::store::store;
use crate::event::Dialect;
use crate::state::AppState;

/// The answer to a batch.
#[derive(Debug, Serialize)]
pub(crate) struct Accepted {
    status: &'static str,
    ingested: usize,
    dropped: usize,
}

/// Stores the events of one request and answers once they are confirmed.
pub(crate) async fn batch(
    State(state): State<AppState>,
    Extension(Peer(peer)): Extension<Peer>,
    request: Request,
) -> Result<Json<Accepted>, Rejection> {
    let encoding = extract::encoding(request.headers())?;
    extract::require_json(request.headers())?;
    let received = receive(&state, peer, request, Dialect::Seed, Key::InBody).await?;
    let work = Work::new(&state, received, Wire::Seed(encoding), None);
    let Prepared { rows, dropped, reservation, .. } = compute(work).await?;
    let events = rows.len();
    let refused = store(&state, rows, reservation).await?;
    Ok(Json(Accepted { status: "ok", ingested: events - refused, dropped: dropped.len() + refused }))
}
