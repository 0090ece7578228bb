//! The part of a request that is all computing: inflate, decode, authenticate, normalize, encode.
//!
//! Takes everything by value so that it can run on another thread, away from the connections.

use std::net::IpAddr;

use crate::api::extract::Encoding;
use crate::api::rejection::Rejection;
use crate::authenticate;
use crate::authenticate::Admitted;
use crate::authenticate::Claim;
use crate::batch::Rows;
use crate::budget::Reservation;
use crate::decode::batch::decode;
use crate::decode::gzip;
use crate::encode::encode;
use crate::event::Dialect;
use crate::event::RawBatch;
use crate::event::Reception;
use crate::keys::Scope;
use crate::normalize;
use crate::normalize::Normalized;
use crate::normalize::Normalizer;
use crate::state::AppState;

/// One request, read and not yet looked into.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) state: AppState,
    pub(super) body: Vec<u8>,
    pub(super) encoding: Encoding,
    pub(super) maybe_origin: Option<String>,
    pub(super) address: IpAddr,
    pub(super) user_agent: String,
    pub(super) received_at: i64,
    pub(super) nonce: [u8; 16],
    pub(super) reservation: Reservation,
}

/// One request, ready to be stored.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) rows: Rows,
    pub(super) dropped: usize,
    pub(super) reservation: Reservation,
}

/// Encoded rows are counted in steps of this size.
const STEP: usize = 64 * 1024;

/// Does it all.
pub(super) fn prepare(mut work: Work) -> Result<Prepared, Rejection> {
    let limits = *work.state.limits();
    if work.encoding == Encoding::Gzip {
        let reservation = &mut work.reservation;
        let mut denied = None;
        let grant = |bytes| reservation.grow(bytes).map_err(|why| denied = Some(why)).is_ok();
        let inflated = gzip::inflate(&work.body, limits.max_batch_bytes, grant);
        work.body = inflated.map_err(|refused| denied.map_or_else(|| refused.into(), Rejection::from))?;
        work.reservation.shrink_to(work.body.capacity());
    }
    let batch = decode(&work.body, limits.max_events_per_batch)?;
    let credential = authenticate::credential(&batch)?;
    let Admitted { project, .. } = admit(&work, credential, batch.events.len())?;
    if batch.excess > 0 {
        return Err(Rejection::TooManyEvents);
    }
    let reception = Reception {
        project: &project,
        dialect: batch.dialect,
        credential: credential.unwrap_or_default(),
        received_at: work.received_at,
        sent_at: batch.sent_at.as_deref().and_then(normalize::sent_at),
        ip: &work.state.policy().address(work.address),
        user_agent: &work.user_agent,
        nonce: work.nonce,
    };
    let (rows, dropped) = encode_batch(&work.state, &batch, &reception)?;
    drop(batch);
    let Work { body, mut reservation, .. } = work;
    drop(body);
    reservation.shrink_to(0);
    reservation.grow(rows.size())?;
    Ok(Prepared { rows, dropped, reservation })
}

/// Lets the request in, or refuses it for its key, its origin or a rate.
fn admit(work: &Work, credential: Option<&str>, events: usize) -> Result<Admitted, Rejection> {
    let claim = Claim { origin: work.maybe_origin.as_deref(), credential, scope: Scope::Capture };
    let keys = work.state.keys().snapshot();
    let admission = work.state.admission();
    match authenticate::authenticate(claim, work.state.origins(), &keys, work.received_at) {
        Ok(admitted) => {
            admission.admit(&admitted, work.address, events, work.received_at)?;
            Ok(admitted)
        }
        Err(refusal) => {
            admission.charge_refused(work.address);
            Err(refusal.into())
        }
    }
}

/// Encodes the events that are to be stored and counts the others.
fn encode_batch(
    state: &AppState,
    batch: &RawBatch<'_>,
    reception: &Reception<'_>,
) -> Result<(Rows, usize), Rejection> {
    let mut reservation = state.budget().open();
    let normalizer = Normalizer::new(reception);
    let policy = state.policy();
    let is_posthog = reception.dialect == Dialect::Posthog;
    let mut rows = Rows::default();
    let mut dropped = 0;
    for (index, event) in batch.events.iter().enumerate() {
        let maybe_excess = if is_posthog { policy.excess(event) } else { None };
        let outcome = match maybe_excess {
            Some(excess) => Normalized::Dropped(excess),
            None => normalizer.normalize(index, event)?,
        };
        match outcome {
            Normalized::Row(mut row, mut facts) => {
                policy.apply(&mut row, &mut facts);
                encode(&mut rows, reception, &row, &facts);
            }
            Normalized::Dropped(reason) => {
                state.metrics().count_events(reason.label(), 1);
                dropped += 1;
            }
        }
        if rows.size() > reservation.held() {
            reservation.grow(rows.size() - reservation.held() + STEP)?;
        }
    }
    rows.shrink();
    Ok((rows, dropped))
}
