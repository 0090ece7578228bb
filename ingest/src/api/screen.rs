//! What a request may cost before a valid key was seen in it.
//!
//! - The first `WEIR_UNAUTHENTICATED_BYTES` of a body, inflated, are taken from anybody. Bodies that are no longer go on at
//!   once, and so does gzip below a sixty-fourth of it, which cannot inflate to more than sixteen times the limit.
//! - Longer ones are looked through for a valid key. Most clients write it first, so that a look ends after a kilobyte.
//! - Clients that write it last are looked through to the end, one after another in a lane and in little memory. What
//!   holds no key is refused there, and was neither kept inflated nor parsed.
//! - Bodies whose key does not show (forms, base64, LZ) are worked on within the lane.
//! - All bodies that are still being read and have shown no key share a part of the buffer.
//!
//! An origin of the service is a credential of its own: its requests are not looked through.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use flate2::bufread::MultiGzDecoder;
use tokio::sync::OwnedSemaphorePermit;

use super::rejection::Rejection;
use crate::admission::look::Verdict;
use crate::admission::look::look;
use crate::authenticate;
use crate::authenticate::Refusal;
use crate::budget::Reservation;
use crate::keys::Keys;
use crate::keys::Scope;
use crate::state::AppState;

/// How long a request waits for its turn in the lane before it is asked to come again.
const LANE_TIMEOUT: Duration = Duration::from_secs(5);
/// Gzip this many times shorter than the limit is not looked through.
const SMALL_GZIP: usize = 64;

/// A request whose key has not been seen yet.
#[derive(Debug)]
pub(super) struct Screen {
    state: AppState,
    limit: usize,
    address: IpAddr,
    received_at: i64,
    is_known: bool,
    is_looked_at: bool,
    held: Reservation,
}

/// What a body shows of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Json,
    Gzip,
    Wrapped,
}

/// A turn in the lane, to be held while the request is worked on.
pub(super) type Turn = Option<OwnedSemaphorePermit>;

impl Screen {
    /// Starts before the body is read.
    pub(super) fn new(
        state: &AppState,
        maybe_origin: Option<&str>,
        address: IpAddr,
        received_at: i64,
    ) -> Self {
        let is_known = maybe_origin.is_some_and(|origin| authenticate::is_own(origin, state.origins()));
        Self {
            state: state.clone(),
            limit: state.admission().unauthenticated_bytes(),
            address,
            received_at,
            is_known,
            is_looked_at: false,
            held: state.admission().unauthenticated().open(),
        }
    }

    /// Counts what comes after the first bytes against what all requests without a key share.
    pub(super) fn grow(&mut self, body: &[u8], more: usize) -> Result<(), Rejection> {
        if self.is_known || body.len() + more <= self.limit {
            return Ok(());
        }
        if !self.is_looked_at {
            self.is_looked_at = true;
            self.is_known = matches!(self.look_at(body, self.limit), Ok(Verdict::Known));
        }
        if !self.is_known {
            self.held.grow(more)?;
        }
        Ok(())
    }

    /// Lets a whole body pass once its key was seen or it is known to cost little.
    pub(super) async fn pass(self, body: Vec<u8>) -> Result<(Vec<u8>, Turn), Rejection> {
        let kind = Kind::of(&body);
        let taken = if kind == Kind::Json { self.limit } else { self.limit / SMALL_GZIP };
        if self.is_known || body.len() <= taken {
            return Ok((body, None));
        }
        let is_open = kind != Kind::Wrapped;
        // Broken gzip is for the decoder to refuse: it finds no more of it than this look did.
        if is_open && !matches!(self.look_at(&body, self.limit), Ok(Verdict::Beyond | Verdict::Undecided)) {
            return Ok((body, None));
        }
        let lane = self.state.admission().lane();
        let Ok(Ok(turn)) = tokio::time::timeout(LANE_TIMEOUT, lane.acquire_owned()).await else {
            return Err(Rejection::Overloaded);
        };
        if is_open { self.look_through(body, turn).await } else { Ok((body, Some(turn))) }
    }

    async fn look_through(
        self,
        body: Vec<u8>,
        turn: OwnedSemaphorePermit,
    ) -> Result<(Vec<u8>, Turn), Rejection> {
        let look = move || {
            let verdict = self.look_at(&body, self.state.limits().max_batch_bytes + 1);
            (verdict, body, self)
        };
        let looked = tokio::task::spawn_blocking(look).await;
        let Ok((verdict, body, this)) = looked else { return Err(Rejection::Internal) };
        match verdict {
            Ok(Verdict::Known) => Ok((body, None)),
            Ok(Verdict::Undecided) => Ok((body, Some(turn))),
            Ok(Verdict::Unknown) => {
                this.state.admission().charge_refused(this.address);
                Err(Refusal::Key.into())
            }
            Ok(Verdict::Beyond) => Err(Rejection::TooLarge),
            Err(_) => Err(Rejection::BadPacking("gzip")),
        }
    }

    fn look_at(&self, body: &[u8], max_bytes: usize) -> io::Result<Verdict> {
        let keys = self.state.keys();
        let is_key = |text: &str| knows(keys, text, self.received_at);
        match Kind::of(body) {
            Kind::Gzip => look(&mut MultiGzDecoder::new(body), max_bytes, is_key),
            Kind::Json | Kind::Wrapped => look(&mut &*body, max_bytes, is_key),
        }
    }
}

fn knows(keys: &Keys, text: &str, now: i64) -> bool {
    keys.snapshot().find(text, Scope::Capture, now).is_some()
}

impl Kind {
    fn of(body: &[u8]) -> Self {
        let text = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body).trim_ascii_start();
        match text.first() {
            Some(b'{' | b'[') => Self::Json,
            _ if body.starts_with(&[0x1f, 0x8b]) => Self::Gzip,
            // All of it is white: no wrapping begins so.
            None => Self::Json,
            Some(_) => Self::Wrapped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(b" \n{\"batch\"", Kind::Json)]
    #[case(b"\xef\xbb\xbf[", Kind::Json)]
    #[case(b"\x1f\x8b\x08", Kind::Gzip)]
    #[case(b"data=eyJ", Kind::Wrapped)]
    #[case(b"eyJhIjoxfQ==", Kind::Wrapped)]
    #[case(b"", Kind::Json)]
    fn a_body_is_known_by_its_first_bytes(#[case] body: &[u8], #[case] expected: Kind) {
        assert_eq!(Kind::of(body), expected);
    }
}
