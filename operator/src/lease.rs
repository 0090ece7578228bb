//! Leader election over a Lease.
//!
//! A holder is taken for gone only when the record that this process observed stood still for the whole lease
//! duration on this process's own monotonic clock; clocks of other machines are never compared. Every write is a
//! replace with the resourceVersion that was read, so that two candidates cannot both win. A leader that could not
//! renew within the renew deadline, which is shorter than the duration, has lost, and the process ends.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, PostParams};
use kube::{Client, ResourceExt as _};
use tokio::time::Instant;

/// Time for which a silent holder is believed.
const DURATION: Duration = Duration::from_secs(15);
/// Time within which a leader must have renewed.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// Time between two attempts to acquire or renew.
const PERIOD: Duration = Duration::from_secs(2);
/// Time that one request may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(4);

/// Why leading ended.
#[derive(Debug, thiserror::Error)]
#[error("failed to renew the lease within {}s, so another process may lead", RENEW_DEADLINE.as_secs())]
pub(crate) struct Lost;

/// One candidate.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    api: Api<Lease>,
    name: Arc<str>,
    identity: Arc<str>,
}

/// The part of a record whose change proves that its holder lives.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Record {
    holder: Option<String>,
    version: Option<String>,
}

/// The newest record and when this process first saw it.
#[derive(Debug, Clone)]
struct Observation {
    record: Record,
    at: Instant,
}

/// What to do about a record.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Take,
    Respect,
}

impl Observation {
    /// Takes a newly read record into account; the age counts from the first sight of it.
    fn update(previous: Option<Self>, record: Record, now: Instant) -> Self {
        match previous {
            Some(previous) if previous.record == record => previous,
            _ => Self { record, at: now },
        }
    }

    fn verdict(&self, identity: &str, now: Instant) -> Verdict {
        let holder = self.record.holder.as_deref().filter(|holder| !holder.is_empty());
        match holder {
            None => Verdict::Take,
            Some(holder) if holder == identity => Verdict::Take,
            Some(_) if now.duration_since(self.at) >= DURATION => Verdict::Take,
            Some(_) => Verdict::Respect,
        }
    }
}

impl Candidate {
    /// A candidate for the Lease of this name.
    pub(crate) fn new(client: Client, namespace: &str, name: &str, identity: &str) -> Self {
        Self { api: Api::namespaced(client, namespace), name: name.into(), identity: identity.into() }
    }

    /// Waits until this process leads.
    pub(crate) async fn acquire(&self) {
        let mut observation = None;
        let mut told = false;
        loop {
            match self.attempt(&mut observation).await {
                Ok(true) => return,
                Ok(false) if !told => {
                    told = true;
                    tracing::info!(lease = &*self.name, "another process leads, waiting");
                }
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "failed to acquire the lease");
                }
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// Keeps the lease; returns only when it is lost.
    pub(crate) async fn keep(&self) -> Lost {
        let mut observation = None;
        let mut renewed = Instant::now();
        loop {
            tokio::time::sleep(PERIOD).await;
            // The record may be as old as the attempt when the answer comes, and others count from the record.
            let started = Instant::now();
            match self.attempt(&mut observation).await {
                Ok(true) => renewed = started,
                Ok(false) => return Lost,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "failed to renew the lease");
                }
            }
            if renewed.elapsed() >= RENEW_DEADLINE {
                return Lost;
            }
        }
    }

    /// Gives the lease up, so that the next process need not wait.
    pub(crate) async fn release(&self) {
        let released = tokio::time::timeout(CALL_TIMEOUT, async {
            let Some(mut lease) = self.api.get_opt(&self.name).await? else { return Ok(()) };
            let spec = lease.spec.get_or_insert_default();
            if spec.holder_identity.as_deref() != Some(&*self.identity) {
                return Ok(());
            }
            spec.holder_identity = None;
            spec.renew_time = Some(MicroTime(Timestamp::now()));
            self.api.replace(&self.name, &PostParams::default(), &lease).await.map(drop)
        });
        match released.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "failed to release the lease");
            }
            Err(_elapsed) => tracing::warn!("failed to release the lease in time"),
        }
    }

    /// Reads the record and takes or renews it where that is allowed; true while this process holds it.
    async fn attempt(&self, observation: &mut Option<Observation>) -> Result<bool, kube::Error> {
        let attempt = tokio::time::timeout(CALL_TIMEOUT, async {
            let Some(lease) = self.api.get_opt(&self.name).await? else {
                return self.written(self.api.create(&PostParams::default(), &self.lease(None)).await);
            };
            let record = Record {
                holder: lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone()),
                version: lease.resource_version(),
            };
            let seen = Observation::update(observation.take(), record, Instant::now());
            let verdict = seen.verdict(&self.identity, Instant::now());
            *observation = Some(seen);
            match verdict {
                Verdict::Respect => Ok(false),
                Verdict::Take => {
                    let next = self.lease(Some(lease));
                    self.written(self.api.replace(&self.name, &PostParams::default(), &next).await)
                }
            }
        });
        attempt.await.unwrap_or_else(|_elapsed| {
            Err(kube::Error::Service("the API server did not answer in time".into()))
        })
    }

    /// A conflict is somebody else's success, not a failure.
    #[expect(clippy::unused_self, reason = "reads as a step of the attempt")]
    fn written(&self, result: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
        match result {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn lease(&self, current: Option<Lease>) -> Lease {
        let now = MicroTime(Timestamp::now());
        let (metadata, old) = match current {
            Some(lease) => (lease.metadata, lease.spec.unwrap_or_default()),
            None => (
                ObjectMeta { name: Some(self.name.to_string()), ..ObjectMeta::default() },
                LeaseSpec::default(),
            ),
        };
        let ours = old.holder_identity.as_deref() == Some(&*self.identity);
        Lease {
            metadata,
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.to_string()),
                lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
                acquire_time: if ours { old.acquire_time } else { Some(now.clone()) },
                renew_time: Some(now),
                lease_transitions: Some(old.lease_transitions.unwrap_or(0) + i32::from(!ours)),
                ..LeaseSpec::default()
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(holder: &str, version: &str) -> Record {
        Record { holder: Some(holder.into()), version: Some(version.into()) }
    }

    #[test]
    fn a_foreign_holder_is_respected_until_its_record_stood_still_for_the_duration() {
        let start = Instant::now();
        let first = Observation::update(None, record("other", "1"), start);
        assert_eq!(first.verdict("me", start + DURATION / 2), Verdict::Respect);
        assert_eq!(first.verdict("me", start + DURATION), Verdict::Take);
        let renewed = Observation::update(Some(first), record("other", "2"), start + DURATION);
        assert_eq!(renewed.verdict("me", start + DURATION + Duration::from_secs(1)), Verdict::Respect);
    }

    #[test]
    fn a_released_or_own_record_is_taken_at_once() {
        let now = Instant::now();
        assert_eq!(Observation::update(None, record("", "1"), now).verdict("me", now), Verdict::Take);
        assert_eq!(Observation::update(None, record("me", "1"), now).verdict("me", now), Verdict::Take);
    }

    proptest::proptest! {
        /// Two candidates whose local clocks differ never both lead: whoever takes the record changes its version,
        /// and the other judges from then on.
        #[test]
        fn two_candidates_never_lead_at_once(steps in proptest::collection::vec((0_usize..2, 0_u64..9_000), 1..200)) {
            let base = Instant::now();
            let mut clock = base;
            let mut stored = Record { holder: None, version: Some("0".into()) };
            let mut version = 0_u64;
            let mut seen: [Option<Observation>; 2] = [None, None];
            let mut renewed: [Option<Instant>; 2] = [None, None];
            for (who, millis) in steps {
                clock += Duration::from_millis(millis);
                let name = ["a", "b"][who];
                let observation = Observation::update(seen[who].take(), stored.clone(), clock);
                let verdict = observation.verdict(name, clock);
                seen[who] = Some(observation);
                let leads = |at: &Option<Instant>| at.is_some_and(|at| clock.duration_since(at) < RENEW_DEADLINE);
                if verdict == Verdict::Take {
                    proptest::prop_assert!(!leads(&renewed[1 - who]), "both lead");
                    version += 1;
                    stored = Record { holder: Some(name.into()), version: Some(version.to_string()) };
                    renewed[who] = Some(clock);
                } else {
                    renewed[who] = None;
                }
            }
        }
    }
}
