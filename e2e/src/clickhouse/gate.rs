//! Lets requests to the engine, and holds them back while it restarts.
//!
//! A pass is held until the answer's last byte; draining waits for all passes. `KILL QUERY` may pass while draining, so
//! that a revoked user's long query cannot hold up its own revocation.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

/// Whether requests may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    Draining,
    Closed,
}

/// Who asks to pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Ordinary,
    KillQuery,
}

#[derive(Debug, Clone, Copy)]
struct State {
    phase: Phase,
    ordinary: usize,
    kill_query: usize,
}

/// The gate before one engine.
#[derive(Debug)]
pub(crate) struct Gate {
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

/// The right to use the engine; given back when dropped.
#[derive(Debug)]
pub(crate) struct Pass {
    gate: Arc<Gate>,
    kind: Kind,
}

impl Gate {
    /// A gate that is closed until the engine is up.
    pub(crate) fn new() -> Arc<Self> {
        let state = State { phase: Phase::Closed, ordinary: 0, kill_query: 0 };
        Arc::new(Self { state: Mutex::new(state), changed: watch::Sender::new(()) })
    }

    /// Waits until this kind of request may pass.
    pub(crate) async fn enter(self: &Arc<Self>, kind: Kind) -> Pass {
        let mut changed = self.changed.subscribe();
        while !self.try_enter(kind) {
            // The sender lives as long as this gate.
            drop(changed.changed().await);
        }
        Pass { gate: Arc::clone(self), kind }
    }

    fn try_enter(&self, kind: Kind) -> bool {
        let mut state = self.lock();
        let counter = match (state.phase, kind) {
            (Phase::Open, Kind::Ordinary) => &mut state.ordinary,
            (Phase::Open | Phase::Draining, Kind::KillQuery) => &mut state.kill_query,
            (Phase::Closed, _) | (Phase::Draining, Kind::Ordinary) => return false,
        };
        *counter += 1;
        true
    }

    pub(crate) fn open(&self) {
        self.set(Phase::Open);
    }

    /// Holds back new requests.
    pub(crate) fn begin_drain(&self) {
        self.set(Phase::Draining);
    }

    /// Waits until nothing ordinary is in flight; says whether that came true within the bound.
    pub(crate) async fn drained(&self, bound: Duration) -> bool {
        self.empty(bound, |state| state.ordinary == 0).await
    }

    /// Lets nothing through any more, and waits for the `KILL QUERY`s in flight.
    pub(crate) async fn close(&self, bound: Duration) {
        self.set(Phase::Closed);
        self.empty(bound, |state| state.kill_query == 0).await;
    }

    async fn empty(&self, bound: Duration, is_empty: impl Fn(&State) -> bool) -> bool {
        let mut changed = self.changed.subscribe();
        let wait = async {
            while !is_empty(&self.lock()) {
                drop(changed.changed().await);
            }
        };
        tokio::time::timeout(bound, wait).await.is_ok()
    }

    fn set(&self, phase: Phase) {
        self.lock().phase = phase;
        self.changed.send_replace(());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        {
            let mut state = self.gate.lock();
            match self.kind {
                Kind::Ordinary => state.ordinary -= 1,
                Kind::KillQuery => state.kill_query -= 1,
            }
        }
        self.gate.changed.send_replace(());
    }
}
