//! Faults on demand: what the server does to requests instead of serving them.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// One fault: what happens, how often, and to which statements.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Fault {
    /// What happens.
    pub effect: Effect,
    /// How often; without a number until cleared.
    #[serde(default)]
    pub times: Option<u32>,
    /// Only statements that contain this text; a streamed insert is known by its first 256 KiB.
    #[serde(default)]
    pub contains: Option<String>,
}

/// What a fault does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Effect {
    /// Without limits: both ports are closed, open connections are cut. With limits: the connection is cut before the
    /// engine sees the request.
    Refuse,
    /// No answer comes, until the fault is cleared; then the connection is cut.
    Hang,
    /// The request is passed on after a while.
    Late {
        /// The while.
        millis: u64,
    },
    /// The engine does the work, and the connection is cut instead of answered.
    DropAnswer,
    /// The engine does the work, and its answer is passed on after a while.
    LateAnswer {
        /// The while.
        millis: u64,
    },
    /// Answered as done, without anything done.
    Pretend,
    /// Answered with an exception of ClickHouse, such as 243 `NOT_ENOUGH_SPACE` or 242 `TABLE_IS_READ_ONLY`.
    Exception {
        /// Its number.
        code: u16,
        /// Its name in capitals.
        name: String,
    },
}

impl Fault {
    /// A fault that stays until cleared.
    pub fn lasting(effect: Effect) -> Self {
        Self { effect, times: None, contains: None }
    }

    /// A fault of one request.
    pub fn once(effect: Effect) -> Self {
        Self { effect, times: Some(1), contains: None }
    }

    /// Limits the fault to statements that contain a text.
    #[must_use]
    pub fn only(self, contains: &str) -> Self {
        Self { contains: Some(contains.to_owned()), ..self }
    }

    fn closes_ports(&self) -> bool {
        self.effect == Effect::Refuse && self.times.is_none() && self.contains.is_none()
    }

    fn matches(&self, statement: &str) -> bool {
        self.contains.as_ref().is_none_or(|text| statement.contains(text.as_str()))
    }
}

/// The faults that are set.
#[derive(Debug)]
pub(crate) struct Faults {
    set: Mutex<Vec<Fault>>,
    refusing: watch::Sender<bool>,
    /// Counts the clearings, for those that hang.
    cleared: watch::Sender<u64>,
}

impl Default for Faults {
    fn default() -> Self {
        Self { set: Mutex::default(), refusing: watch::Sender::new(false), cleared: watch::Sender::new(0) }
    }
}

impl Faults {
    pub(crate) fn add(&self, fault: Fault) {
        if fault.closes_ports() {
            self.refusing.send_replace(true);
        }
        self.lock().push(fault);
    }

    pub(crate) fn clear(&self) {
        self.lock().clear();
        self.refusing.send_replace(false);
        self.cleared.send_modify(|count| *count += 1);
    }

    /// The fault that this statement meets, which uses up one of its times.
    pub(crate) fn take(&self, statement: &str) -> Option<Effect> {
        let mut set = self.lock();
        let at = set.iter().position(|fault| fault.matches(statement))?;
        let effect = set[at].effect.clone();
        if let Some(times) = &mut set[at].times {
            *times = times.saturating_sub(1);
            if *times == 0 {
                set.remove(at);
            }
        }
        Some(effect)
    }

    /// Resolves once the ports are to be closed, or to be open.
    pub(crate) async fn refusing(&self, wanted: bool) {
        // The sender lives as long as this value.
        drop(self.refusing.subscribe().wait_for(|refusing| *refusing == wanted).await);
    }

    /// Waits for a clearing, or for a time.
    pub(crate) async fn cleared_within(&self, bound: Duration) {
        let mut cleared = self.cleared.subscribe();
        drop(tokio::time::timeout(bound, cleared.changed()).await);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Fault>> {
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
