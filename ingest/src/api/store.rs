//! The second half of every request that brings events: the computing, on the right thread, and the wait for storage.

use std::time::Duration;

use super::prepare::Prepared;
use super::prepare::Work;
use super::prepare::prepare;
use super::rejection::Rejection;
use crate::batch::Rows;
use crate::budget::Reservation;
use crate::state::AppState;

/// Bodies above this many bytes are worked on away from the threads that serve connections.
const LARGE: usize = 128 * 1024;
/// A compressed body can be a thousand times as long when inflated.
const LARGE_COMPRESSED: usize = 8 * 1024;

/// Prepares a request, on another thread when it is a large one.
pub(super) async fn compute(work: Work) -> Result<Prepared, Rejection> {
    let limit = if work.is_packed() { LARGE_COMPRESSED } else { LARGE };
    if work.body.len() <= limit {
        return prepare(work);
    }
    let state = work.state.clone();
    let Ok(_permit) = state.large_bodies().acquire().await else { return Err(Rejection::Internal) };
    tokio::task::spawn_blocking(|| prepare(work)).await.unwrap_or(Err(Rejection::Internal))
}

/// Stores rows and returns, once that is confirmed, how many of them ClickHouse refused for their content.
pub(super) async fn store(
    state: &AppState,
    rows: Rows,
    reservation: Reservation,
) -> Result<usize, Rejection> {
    let events = rows.len();
    if events == 0 {
        return Ok(0);
    }
    let stored = tokio::time::timeout(state.patience(), state.buffer().store(rows, reservation)).await;
    let Ok(Ok(stored)) = stored else {
        state.metrics().count_events("unavailable", events);
        return Err(Rejection::Unavailable);
    };
    state.metrics().count_events("refused", stored.refused);
    state.metrics().count_events("stored", events - stored.refused);
    Ok(stored.refused)
}

/// How long a request waits for its answer, when one insert may take `insert_timeout`: its own flush and the rest of
/// the one before it.
pub(crate) fn patience(insert_timeout: Duration) -> Duration {
    insert_timeout * 2
}
