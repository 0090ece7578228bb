//! When a credential is replaced, and when the generation before it ends. Pure: time and evidence are arguments.
//!
//! ```text
//! Pending ─proof─► Proven ─publish─► Current ─a newer one is published─► Retiring ─overlap, quiet or cap─► Gone
//!    └──────────────────────────── revoked ─────────────────────────────────┴───────────────────────────────► Gone
//! ```
//!
//! A generation is a Secret of its own, written ahead; what is published and when stands in its annotations. So every
//! step can be read from what is there, and a pass that ends anywhere is taken up by the next.

mod assessment;
mod policy;
mod request;

use std::collections::BTreeMap;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use weir_crds::CredentialStep;

use super::credential::{Credential, Origin, Value};
use super::supply::{Source, is_same};
pub(crate) use assessment::{Retirements, assess, policy};
pub(crate) use policy::{Policy, duration};
pub(crate) use request::{Cause, Request, Requests};

/// Time that ClickHouse takes to write a use into its logs.
const LOG_LAG: SignedDuration = SignedDuration::from_secs(10);

/// Time after which what could not be known is asked again.
const ASK_AGAIN: SignedDuration = SignedDuration::from_secs(60);

/// What is known about the use of an old generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Evidence {
    /// When it was last used; `None` when no use was seen.
    LastUse(Option<Timestamp>),
    /// Nothing, and why.
    Unknown(String),
}

/// What becomes of an old generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Retirement {
    /// It stays valid, at least until then.
    Keep {
        /// When it is looked at again.
        until: Timestamp,
        /// Why it stays.
        why: String,
    },
    /// It stays because nobody has asked for its use yet.
    Ask,
    /// It ends now.
    Gone,
}

/// Judges an old generation whose successor was published at `replaced_at`.
pub(crate) fn retirement(
    replaced_at: Timestamp,
    policy: &Policy,
    evidence: Option<&Evidence>,
    now: Timestamp,
) -> Retirement {
    let end = cap(replaced_at, policy);
    if now >= end {
        return Retirement::Gone;
    }
    let overlap_end = after(replaced_at, policy.overlap);
    if now < overlap_end {
        return Retirement::Keep { until: overlap_end.min(end), why: "its overlap is not over".into() };
    }
    match evidence {
        None => Retirement::Ask,
        Some(Evidence::Unknown(why)) => {
            let until = after(now, ASK_AGAIN).min(end);
            Retirement::Keep { until, why: format!("{why}, so it stays until its cap at {end}") }
        }
        Some(Evidence::LastUse(Some(at))) if now < after(*at, policy.quiet + LOG_LAG) => {
            let until = after(*at, policy.quiet + LOG_LAG).min(end);
            Retirement::Keep { until, why: format!("it is still used, last at {at}; its cap is at {end}") }
        }
        Some(Evidence::LastUse(_)) => Retirement::Gone,
    }
}

/// When an old generation ends on the server side, whatever the operator does.
pub(crate) fn cap(replaced_at: Timestamp, policy: &Policy) -> Timestamp {
    after(replaced_at, policy.cap)
}

/// Generations below this one were revoked.
pub(crate) fn revoked_below(credential: &Credential) -> i64 {
    let is_revocation = |value: &&Value| matches!(value.cause, Cause::Revoke(_));
    credential.generations().filter(is_revocation).map(|value| value.generation).max().unwrap_or(0)
}

/// The generation that consumers should have: the newest that was published, unless it was revoked.
pub(crate) fn current(credential: &Credential) -> Option<&Value> {
    let revoked = revoked_below(credential);
    let is_published =
        |value: &Value| value.published_at.is_some() || credential.live == Some(value.generation);
    let is_usable = |value: &&Value| is_published(value) && value.generation >= revoked;
    credential.generations().filter(is_usable).max_by_key(|value| value.generation)
}

/// When the generation after this one was published.
pub(crate) fn replaced_at(credential: &Credential, generation: i64) -> Option<Timestamp> {
    let later = credential.generations().filter(|value| value.generation > generation);
    later.filter_map(|value| value.published_at).min()
}

/// When this generation ends at the latest; `None` while nothing newer is published.
pub(crate) fn cap_of(credential: &Credential, generation: i64, policy: &Policy) -> Option<Timestamp> {
    replaced_at(credential, generation).map(|at| cap(at, policy))
}

/// What becomes of every old generation that is known: those with a Secret, and `others` that only the server knows.
pub(crate) fn retirements(
    credential: &Credential,
    others: &[i64],
    policy: &Policy,
    evidence: &BTreeMap<i64, Evidence>,
    now: Timestamp,
) -> BTreeMap<i64, Retirement> {
    let Some(newest) = credential.value() else { return BTreeMap::new() };
    let revoked = revoked_below(credential);
    let current = current(credential).map(|value| value.generation);
    let known = credential.generations().map(|value| value.generation).chain(others.iter().copied());
    let old = known.filter(|generation| *generation < newest.generation && Some(*generation) != current);
    let oldest = credential.generations().map(|value| value.generation).min();
    let is_barrier = |generation: i64| {
        credential.generations().any(|value| value.generation == generation && value.is_barrier())
    };
    let judge = |generation: i64| {
        if generation < revoked {
            return Retirement::Gone;
        }
        // What it revoked would count again without it.
        if is_barrier(generation) && replaced_at(credential, generation).is_some() {
            let is_over = oldest == Some(generation);
            let why = || "what it revoked is not gone yet".to_owned();
            return if is_over { Retirement::Gone } else { Retirement::Keep { until: now, why: why() } };
        }
        match replaced_at(credential, generation) {
            Some(at) => retirement(at, policy, evidence.get(&generation), now),
            // Nothing newer is published: consumers may have it.
            None => Retirement::Keep { until: now, why: "nothing newer is published yet".into() },
        }
    };
    old.map(|generation| (generation, judge(generation))).collect()
}

/// Why the next generation is to be generated, if it is. Only asked of a stack that is settled otherwise.
pub(crate) fn due(
    credential: &Credential,
    policy: &Policy,
    request: Option<&Request>,
    uid: &str,
    now: Timestamp,
) -> Option<Cause> {
    let newest = credential.value()?;
    match &credential.source {
        Source::Supplied(_) => return is_changed(credential, newest).then(|| asked(credential, request)),
        Source::Generated if newest.is_barrier() => return Some(Cause::Source),
        Source::Generated => {}
    }
    let published_at = newest.published_at?;
    if newest.origin == Origin::Supplied {
        return Some(Cause::Source);
    }
    if let Some(request) = request
        && !credential.generations().any(|value| value.cause == Cause::Rotate(request.value.clone()))
    {
        return Some(Cause::Rotate(request.value.clone()));
    }
    let is_alone = credential.older.is_empty();
    let next = policy.next(published_at, &self::identity(uid, credential, newest.generation))?;
    (is_alone && now >= next && policy.is_open(now)).then_some(Cause::Schedule)
}

/// Whether the owner of a Secret wrote another value than the newest, once that is published.
fn is_changed(credential: &Credential, newest: &Value) -> bool {
    credential.supplied().is_some_and(|value| match &newest.origin {
        Origin::Barrier(refused) => !refused.holds(value),
        Origin::Generated | Origin::Supplied => {
            newest.published_at.is_some() && !is_same(value, &newest.secret)
        }
    })
}

/// A change that somebody had asked for answers that request.
fn asked(credential: &Credential, request: Option<&Request>) -> Cause {
    let is_answered = |cause: &Cause| credential.generations().any(|value| value.cause == *cause);
    let asked = request.map(|request| Cause::Rotate(request.value.clone()));
    asked.filter(|cause| !is_answered(cause)).unwrap_or(Cause::Source)
}

/// What the moment of a scheduled rotation is drawn from.
pub(crate) fn identity(uid: &str, credential: &Credential, generation: i64) -> String {
    format!("{uid}/{}/{generation}", credential.name)
}

/// The step of a credential, for status.
pub(crate) fn step(credential: &Credential) -> Option<CredentialStep> {
    let newest = credential.value()?;
    if newest.is_barrier() {
        return Some(CredentialStep::Revoked);
    }
    Some(match (newest.published_at, credential.older.is_empty()) {
        (None, _) => CredentialStep::Pending,
        (Some(_), true) => CredentialStep::Current,
        (Some(_), false) => CredentialStep::Retiring,
    })
}

pub(crate) fn after(moment: Timestamp, duration: SignedDuration) -> Timestamp {
    moment.checked_add(duration).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
