//! What the process remembers about each stack between passes. Losing it costs one idempotent apply a child.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use weir_crds::AnalyticsStackStatus;

use super::child::{AppliedChild, ChildKey};
use super::pod_report::PodReport;
use crate::access::{Entity, Forms, Wanted};
use crate::clickhouse::Connection;

/// Time for which a proven login is believed.
const PROOF_LIFETIME: Duration = Duration::from_hours(1);

/// What is remembered about one stack.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Children as they were applied.
    pub(crate) applied: BTreeMap<ChildKey, AppliedChild>,
    /// Connection to ClickHouse, with what it was made from.
    pub(crate) connection: Option<(String, Connection)>,
    /// What the last read of the catalogue was asked for, and when it is read again.
    pub(crate) catalogue: Option<(String, Instant)>,
    /// What ClickHouse makes of the readers' conditions.
    pub(crate) forms: Option<AskedForms>,
    /// Moment of the last change in ClickHouse; what was read before says nothing.
    pub(crate) changed: Option<Instant>,
    /// What was asked last about entities that are not the stack's own.
    pub(crate) probe: Option<Probe>,
    /// Users whose login was proven, with the Secret that held the password.
    pub(crate) proven: BTreeMap<String, Instant>,
    /// Users whose login was refused when it was last tried.
    pub(crate) refused: BTreeSet<String>,
    /// When this process first saw the stack.
    pub(crate) since: Option<Instant>,
    /// What the pods of failed Jobs said, by UID of the Job.
    pub(crate) job_reports: BTreeMap<String, PodReport>,
    /// Status that was last written, with the resourceVersion that came back.
    pub(crate) status: Option<(u64, AnalyticsStackStatus)>,
    /// What failed last and how often in a row.
    pub(crate) failures: Option<(String, u32)>,
}

/// What ClickHouse said of conditions.
#[derive(Debug)]
pub(crate) struct AskedForms {
    /// What it was asked.
    pub(crate) wanted: Wanted,
    /// What it said.
    pub(crate) forms: Forms,
    /// End of the read of the catalogue that it goes with.
    pub(crate) read: Option<Instant>,
    /// When it is asked again at the latest.
    pub(crate) expires: Instant,
}

/// Which of the entities that are not a stack's own cannot be changed.
#[derive(Debug)]
pub(crate) struct Probe {
    /// What was asked about.
    pub(crate) entities: Vec<Entity>,
    /// Those that cannot be changed.
    pub(crate) fixed: BTreeSet<Entity>,
    /// When it is asked again.
    pub(crate) expires: Instant,
}

impl Memory {
    /// Users whose proof is still believed. Those that are published were proven before; after a start each waits for a
    /// moment of its own, so that a thousand stacks do not all log in at once.
    pub(crate) fn proven_users(
        &self,
        published: impl Iterator<Item = String>,
        now: Instant,
    ) -> BTreeSet<String> {
        let lifetime = |user: &str| PROOF_LIFETIME.mul_f64(0.1_f64.mul_add(-fraction(user), 1.0));
        let fresh = self.proven.iter().filter(|(user, at)| now.duration_since(**at) < lifetime(user));
        let since_start = self.since.map_or(PROOF_LIFETIME, |since| now.duration_since(since));
        let is_waiting = |user: &String| {
            let is_known = self.proven.contains_key(user) || self.refused.contains(user);
            !is_known && since_start < PROOF_LIFETIME.mul_f64(fraction(user))
        };
        fresh.map(|(user, _)| user.clone()).chain(published.filter(is_waiting)).collect()
    }

    /// Takes users for those whose login was refused: the next pass lets the stack in before it proves them.
    pub(crate) fn doubt_logins<'a>(&mut self, users: impl Iterator<Item = &'a String>) {
        for user in users {
            self.proven.remove(user);
            self.refused.insert(user.clone());
        }
    }

    /// Demands that the catalogue be read again before the next plan.
    pub(crate) fn distrust_catalogue(&mut self) {
        self.changed = Some(Instant::now());
    }

    /// Counts a failure of a class; the count starts again with another class.
    pub(crate) fn fail(&mut self, class: String) -> u32 {
        let count = match &self.failures {
            Some((last, count)) if *last == class => count.saturating_add(1),
            Some(_) | None => 1,
        };
        self.failures = Some((class, count));
        count
    }
}

/// A part of one, always the same for the same user.
fn fraction(user: &str) -> f64 {
    let hash = Sha256::digest(user);
    f64::from(u16::from_le_bytes([hash[0], hash[1]])) / f64::from(u16::MAX)
}

/// The memories of all stacks, by UID.
#[derive(Debug, Default)]
pub(crate) struct Memories(Mutex<HashMap<String, Arc<tokio::sync::Mutex<Memory>>>>);

impl Memories {
    /// The memory of a stack.
    pub(crate) fn of(&self, uid: &str) -> Arc<tokio::sync::Mutex<Memory>> {
        let mut memories = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Memory { since: Some(Instant::now()), ..Memory::default() };
        Arc::clone(memories.entry(uid.to_owned()).or_insert_with(|| Arc::new(tokio::sync::Mutex::new(new()))))
    }

    /// Forgets a stack that is gone.
    pub(crate) fn forget(&self, uid: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }

    /// Stacks that are remembered.
    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proofs_of_published_logins_are_spread_over_the_hour_after_a_start() {
        let start = Instant::now();
        let memory = Memory { since: Some(start), ..Memory::default() };
        let users = || (0..200).map(|number| format!("user_{number}"));
        let waiting =
            |quarters: u32| memory.proven_users(users(), start + PROOF_LIFETIME / 4 * quarters).len();
        for (quarters, expected) in [(1, 150), (2, 100), (3, 50)] {
            assert!(waiting(quarters).abs_diff(expected) < 25, "{} wait", waiting(quarters));
        }
        assert_eq!(waiting(4), 0);
    }

    #[test]
    fn a_login_that_was_refused_is_proven_at_once_and_a_proof_ends_within_the_hour() {
        let start = Instant::now();
        let mut memory = Memory { since: Some(start), ..Memory::default() };
        memory.refused.insert("refused".into());
        memory.proven.insert("proven".into(), start);
        let believed = |now| memory.proven_users(std::iter::once("refused".to_owned()), now);
        assert_eq!(believed(start), ["proven".to_owned()].into());
        assert_eq!(believed(start + PROOF_LIFETIME), BTreeSet::new());
    }
}
