//! The first half of every request that brings events: cheap refusals, then the body within its limits.
//!
//! What header, origin and address already decide costs no body, and a full buffer is said before the body is read.

use std::borrow::Cow;
use std::net::IpAddr;

use axum::extract::Request;
use axum::http::request::Parts;

use super::extract;
use super::rejection::Rejection;
use super::screen::Screen;
use super::screen::Turn;
use crate::authenticate;
use crate::budget::Reservation;
use crate::event::Dialect;
use crate::state::AppState;

/// What a request that is being read takes besides its body: its head, its state, the page that its body begins in.
const REQUEST_BYTES: usize = 16 * 1024;

/// A request, read and not yet looked into.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) head: Parts,
    pub(super) body: Vec<u8>,
    pub(super) maybe_origin: Option<String>,
    pub(super) address: IpAddr,
    /// When the request came, in microseconds since 1970: the clock is read once for each.
    pub(super) received_at: i64,
    /// Counts the body.
    pub(super) reservation: Reservation,
    /// Held until the body is worked on.
    pub(super) turn: Turn,
}

/// Where the key of a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// In the body, which is looked at before much is done for it.
    InBody,
    /// In the head, and already found valid.
    Known,
}

/// Reads a request of this dialect from a peer.
pub(super) async fn receive(
    state: &AppState,
    peer: IpAddr,
    request: Request,
    dialect: Dialect,
    key: Key,
) -> Result<Arrival, Rejection> {
    let received_at = jiff::Timestamp::now().as_microsecond();
    let (head, body) = request.into_parts();
    let maybe_origin = extract::origin(&head.headers).map(Cow::into_owned);
    authenticate::precheck(maybe_origin.as_deref(), state.origins(), &state.keys().snapshot(), dialect)?;
    let address = extract::client_ip(peer, &head.headers, state.trusted_proxies());
    state.admission().check_address(address)?;
    let max_bytes = state.limits().max_batch_bytes;
    let declared = extract::require_length_within(&head.headers, max_bytes)?;
    if state.budget().is_exhausted() || state.buffer().is_full() {
        return Err(Rejection::Overloaded);
    }
    let mut reservation = state.budget().open();
    reservation.grow(REQUEST_BYTES)?;
    let mut maybe_screen =
        (key == Key::InBody).then(|| Screen::new(state, maybe_origin.as_deref(), address, received_at));
    let read = extract::read_body(body, declared, max_bytes, |read, more| {
        reservation.grow(more)?;
        maybe_screen.as_mut().map_or(Ok(()), |screen| screen.grow(read, more))
    });
    let body = read.await?;
    let (body, turn) = match maybe_screen {
        Some(screen) => screen.pass(body).await?,
        None => (body, None),
    };
    Ok(Arrival { head, body, maybe_origin, address, received_at, reservation, turn })
}
