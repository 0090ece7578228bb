//! What the process remembers about each stack between passes. Losing it costs one idempotent apply a child.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use weir_crds::AnalyticsStackStatus;

use super::child::{AppliedChild, ChildKey};
use super::observed::Fault;
use super::pod_report::PodReport;
use crate::access::Catalogue;
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
    /// What ClickHouse held when it was last asked.
    pub(crate) catalogue: Option<Checked>,
    /// Users whose login was proven, with the Secret that held the password.
    pub(crate) proven: BTreeMap<String, Instant>,
    /// Users whose login was refused when it was last tried.
    pub(crate) refused: std::collections::BTreeSet<String>,
    /// What the pods of failed Jobs said, by UID of the Job.
    pub(crate) job_reports: BTreeMap<String, PodReport>,
    /// Status that was last written, with the resourceVersion that came back.
    pub(crate) status: Option<(u64, AnalyticsStackStatus)>,
    /// What failed last and how often in a row.
    pub(crate) failures: Option<(String, u32)>,
}

/// An answer of ClickHouse and when it has to be asked again.
#[derive(Debug, Clone)]
pub(crate) struct Checked {
    /// What the answer was asked for.
    pub(crate) key: String,
    /// When it is asked again.
    pub(crate) expires: Instant,
    /// The answer.
    pub(crate) answer: Result<Arc<Catalogue>, Fault>,
}

impl Memory {
    /// Users whose proof is still believed.
    pub(crate) fn proven_users(&self) -> std::collections::BTreeSet<String> {
        let is_fresh = |at: &&Instant| at.elapsed() < PROOF_LIFETIME;
        self.proven.iter().filter(|(_, at)| is_fresh(at)).map(|(user, _)| user.clone()).collect()
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

/// The memories of all stacks, by UID.
#[derive(Debug, Default)]
pub(crate) struct Memories(Mutex<HashMap<String, Arc<tokio::sync::Mutex<Memory>>>>);

impl Memories {
    /// The memory of a stack.
    pub(crate) fn of(&self, uid: &str) -> Arc<tokio::sync::Mutex<Memory>> {
        let mut memories = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(memories.entry(uid.to_owned()).or_default())
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
