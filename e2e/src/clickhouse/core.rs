//! What every part of one server shares.

use std::{
    net::SocketAddr,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use super::{
    Options,
    access::{Access, AccessError, Statement},
    book::Book,
    engine::{self, Engine},
    fault::Faults,
    gate::{Gate, Kind},
};

/// The shared state.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) options: Options,
    pub(crate) gate: Arc<Gate>,
    pub(crate) book: Book,
    pub(crate) faults: Faults,
    address: RwLock<SocketAddr>,
    pid: AtomicU32,
    restarts: AtomicU64,
}

impl Core {
    pub(crate) fn new(options: Options, book: Book, engine: &Engine) -> Arc<Self> {
        let core = Self {
            options,
            gate: Gate::new(),
            book,
            faults: Faults::default(),
            address: RwLock::new(engine.address()),
            pid: AtomicU32::new(0),
            restarts: AtomicU64::new(0),
        };
        core.publish(engine);
        Arc::new(core)
    }

    /// Sends requests to this engine from now on.
    pub(crate) fn publish(&self, engine: &Engine) {
        *self.address.write().unwrap_or_else(PoisonError::into_inner) = engine.address();
        self.pid.store(engine.pid().unwrap_or_default(), Ordering::Release);
        self.gate.open();
    }

    pub(crate) fn count_restart(&self) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn restarts(&self) -> u64 {
        self.restarts.load(Ordering::Relaxed)
    }

    /// The process of the engine that was started last.
    pub(crate) fn engine_pid(&self) -> u32 {
        self.pid.load(Ordering::Acquire)
    }

    pub(crate) fn engine_address(&self) -> SocketAddr {
        *self.address.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes statements true in one restart, without asking the engine about the caller's rights.
    pub(crate) async fn import(&self, statements: &[Statement]) -> Result<(), AccessError> {
        let pass = self.gate.enter(Kind::Ordinary).await;
        let outcome = self.book.record(statements)?;
        drop(pass);
        outcome.await.unwrap_or_else(|_| Err(AccessError::Engine("the server is stopping".to_owned())))
    }

    /// Makes these the only users and roles, in one restart.
    pub(crate) async fn replace_access(&self, access: Access) -> Result<(), AccessError> {
        let outcome = self.book.replace(access);
        outcome.await.unwrap_or_else(|_| Err(AccessError::Engine("the server is stopping".to_owned())))
    }

    /// Ends every query of a client. The one that the engine lives as long as has a user without a name.
    pub(crate) async fn kill_queries(&self) -> anyhow::Result<()> {
        engine::statement(self.engine_address(), "KILL QUERY WHERE user NOT IN ('', 'default') ASYNC")
            .await
            .map(drop)
    }
}
