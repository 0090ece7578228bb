//! The part of a request that is all computing: unpack, decode, authenticate, normalize, encode.
//!
//! Takes everything by value so that it can run on another thread, away from the connections.

use std::borrow::Cow;
use std::net::IpAddr;

use uuid::Uuid;

use super::extract;
use super::extract::Encoding;
use super::receive::Arrival;
use super::rejection::Rejection;
use super::screen::Turn;
use crate::authenticate;
use crate::authenticate::Admitted;
use crate::authenticate::Claim;
use crate::batch::Rows;
use crate::budget::Reservation;
use crate::decode::Malformed;
use crate::decode::analytics;
use crate::decode::analytics::Sender;
use crate::decode::analytics::Verdict;
use crate::decode::batch;
use crate::decode::codec::Codec;
use crate::decode::gzip;
use crate::decode::number;
use crate::decode::posthog;
use crate::decode::repair;
use crate::decode::unpack;
use crate::decode::unpack::Hints;
use crate::encode::encode;
use crate::event::Dialect;
use crate::event::Dropped;
use crate::event::RawBatch;
use crate::event::Reception;
use crate::keys::Scope;
use crate::normalize;
use crate::normalize::Normalized;
use crate::normalize::Normalizer;
use crate::state::AppState;

/// What a request is read as.
#[derive(Debug)]
pub(super) enum Wire {
    /// The seed's batch.
    Seed(Encoding),
    /// What PostHog's SDKs send to the older paths.
    Capture(Capture),
    /// What they send to the v1 path.
    Analytics(Analytics),
}

/// What is said around a captured body.
#[derive(Debug)]
pub(super) struct Capture {
    pub(super) hints: Hints,
    /// When it was sent by the client's clock, in milliseconds since 1970.
    pub(super) sent_at: Option<String>,
    pub(super) is_engage: bool,
}

/// What is said around a body of the v1 path.
#[derive(Debug)]
pub(super) struct Analytics {
    pub(super) codec: Codec,
    pub(super) sdk: String,
    pub(super) sent_at: String,
}

/// One request, read and not yet looked into.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) state: AppState,
    pub(super) body: Vec<u8>,
    wire: Wire,
    /// A key beside the body.
    maybe_credential: Option<String>,
    maybe_origin: Option<String>,
    address: IpAddr,
    user_agent: String,
    received_at: i64,
    nonce: [u8; 16],
    reservation: Reservation,
    /// Held until this is dropped, which is when the computing ends.
    _turn: Turn,
}

/// One request, ready to be stored.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) rows: Rows,
    /// Events that are not stored, by their place in the request.
    pub(super) dropped: Vec<(usize, Dropped)>,
    /// What each event of the v1 path is answered, as far as is known before storing.
    pub(super) verdicts: Vec<(Uuid, Verdict)>,
    pub(super) reservation: Reservation,
}

/// Encoded rows are counted in steps of this size.
const STEP: usize = 64 * 1024;

impl Work {
    pub(super) fn new(
        state: &AppState,
        received: Arrival,
        wire: Wire,
        maybe_credential: Option<String>,
    ) -> Self {
        let Arrival { head, body, maybe_origin, address, received_at, reservation, turn } = received;
        Self {
            state: state.clone(),
            body,
            wire,
            maybe_credential,
            maybe_origin,
            address,
            user_agent: extract::user_agent(&head.headers),
            received_at,
            nonce: rand::random(),
            reservation,
            _turn: turn,
        }
    }

    /// Whether the body is longer than it looks.
    pub(super) fn is_packed(&self) -> bool {
        match &self.wire {
            Wire::Seed(encoding) => *encoding == Encoding::Gzip,
            Wire::Capture(_) => !unpack::is_json(&self.body),
            Wire::Analytics(analytics) => analytics.codec != Codec::Identity,
        }
    }

    fn dialect(&self) -> Dialect {
        match &self.wire {
            Wire::Seed(_) => Dialect::Seed,
            Wire::Capture(_) | Wire::Analytics(_) => Dialect::Posthog,
        }
    }
}

/// Does it all.
pub(super) fn prepare(mut work: Work) -> Result<Prepared, Rejection> {
    unpack(&mut work)?;
    let verdicts = judge(&mut work)?;
    let is_nothing = !verdicts.is_empty() && work.body.is_empty();
    let (rows, dropped) =
        if is_nothing { (Rows::default(), Vec::new()) } else { process_or_mend(&mut work)? };
    let Work { body, mut reservation, .. } = work;
    drop(body);
    reservation.shrink_to(0);
    reservation.grow(rows.size())?;
    Ok(Prepared { rows, dropped, verdicts, reservation })
}

/// Replaces the body by the JSON text in it.
fn unpack(work: &mut Work) -> Result<(), Rejection> {
    let max_bytes = work.state.limits().max_batch_bytes;
    let reservation = &mut work.reservation;
    let body = std::mem::take(&mut work.body);
    work.body = match &work.wire {
        Wire::Seed(Encoding::Identity) => body,
        Wire::Seed(Encoding::Gzip) => gzip::inflate(&body, max_bytes, &mut |bytes| reservation.grow(bytes))?,
        Wire::Capture(capture) => unpack::unpack(body, capture.hints, max_bytes, reservation)?,
        Wire::Analytics(analytics) => {
            analytics.codec.expand(body, max_bytes, &mut |bytes| reservation.grow(bytes))?
        }
    };
    work.reservation.shrink_to(work.body.capacity());
    if work.dialect() == Dialect::Posthog {
        repair::text(&mut work.body);
    }
    Ok(())
}

/// Judges each event of a body of the v1 path, and replaces the body by one of the older paths.
fn judge(work: &mut Work) -> Result<Vec<(Uuid, Verdict)>, Rejection> {
    let Wire::Analytics(Analytics { sdk, sent_at, .. }) = &work.wire else { return Ok(Vec::new()) };
    let max_events = work.state.limits().max_events_per_batch;
    let overhead = max_events.min(work.body.len() / 32) * analytics::OVERHEAD;
    work.reservation.grow(work.body.len() + overhead)?;
    let judged = analytics::judge(&work.body, Sender { sdk, sent_at }, max_events)?;
    for (_, verdict) in &judged.verdicts {
        if let Verdict::Dropped(reason) = verdict {
            work.state.metrics().count_events(reason, 1);
        }
    }
    work.body = judged.envelope;
    work.reservation.shrink_to(work.body.capacity());
    Ok(judged.verdicts)
}

fn process_or_mend(work: &mut Work) -> Result<(Rows, Vec<(usize, Dropped)>), Rejection> {
    match process(work) {
        // Control characters within strings are no JSON, and yet are sent: worth a second try, not a look at each body.
        Err(Rejection::Malformed(Malformed::NotABatch(_)))
            if work.dialect() == Dialect::Posthog && repair::control_characters(&mut work.body) =>
        {
            process(work)
        }
        other => other,
    }
}

/// Decodes, lets in and encodes.
fn process(work: &Work) -> Result<(Rows, Vec<(usize, Dropped)>), Rejection> {
    let batch = decode(work, &work.body)?;
    let credential = match &work.maybe_credential {
        Some(credential) => Some(Cow::Borrowed(&**credential)),
        None => authenticate::credential(&batch)?,
    };
    let Admitted { project, .. } = admit(work, credential.as_deref(), batch.events.len())?;
    if batch.excess > 0 {
        return Err(Rejection::TooManyEvents);
    }
    let said = batch.sent_at.as_deref().and_then(normalize::sent_at);
    let reception = Reception {
        project: &project,
        dialect: batch.dialect,
        credential: credential.as_deref().unwrap_or_default(),
        received_at: work.received_at,
        sent_at: said.or_else(|| asked_at(&work.wire)),
        ip: &work.state.policy().address(work.address),
        user_agent: &work.user_agent,
        nonce: work.nonce,
    };
    if !batch.has_unreadable_numbers {
        return encode_batch(&work.state, &batch, &reception, work.body.len());
    }
    let mut reservation = work.state.budget().open();
    reservation.grow(work.body.len() + work.body.len() / 3)?;
    let body = number::quote_unreadable(&work.body);
    encode_batch(&work.state, &decode(work, &body)?, &reception, body.len())
}

fn decode<'a>(work: &Work, body: &'a [u8]) -> Result<RawBatch<'a>, Malformed> {
    let max_events = work.state.limits().max_events_per_batch;
    match &work.wire {
        Wire::Seed(_) => batch::decode(body, max_events),
        Wire::Capture(capture) if capture.is_engage => posthog::decode_engage(body, max_events),
        Wire::Capture(_) | Wire::Analytics(_) => posthog::decode(body, max_events),
    }
}

/// When the request was sent, as the query has it.
fn asked_at(wire: &Wire) -> Option<i64> {
    match wire {
        Wire::Capture(capture) => normalize::sent_at_milliseconds(capture.sent_at.as_deref()?),
        Wire::Seed(_) | Wire::Analytics(_) => None,
    }
}

/// Lets the request in, or refuses it for its key, its origin or a rate.
fn admit(work: &Work, credential: Option<&str>, events: usize) -> Result<Admitted, Rejection> {
    let origin = work.maybe_origin.as_deref();
    let claim = Claim { origin, credential, scope: Scope::Capture, dialect: work.dialect() };
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

/// Encodes the events that are to be stored and names the others.
fn encode_batch(
    state: &AppState,
    batch: &RawBatch<'_>,
    reception: &Reception<'_>,
    body: usize,
) -> Result<(Rows, Vec<(usize, Dropped)>), Rejection> {
    let mut reservation = state.budget().open();
    let normalizer = Normalizer::new(reception);
    let policy = state.policy();
    let is_posthog = reception.dialect == Dialect::Posthog;
    let mut rows = Rows::with_room(batch.events.len(), body);
    let mut dropped = Vec::new();
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
                dropped.push((index, reason));
            }
        }
        if rows.size() > reservation.held() {
            reservation.grow(rows.size() - reservation.held() + STEP)?;
        }
    }
    rows.shrink();
    Ok((rows, dropped))
}
