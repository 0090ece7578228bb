//! The running service: its parts, its tasks, and the order in which they end.

pub(crate) mod storage;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::admin;
use crate::admin::Admin;
use crate::budget::Budget;
use crate::clickhouse::Client;
use crate::keys::Keys;
use crate::metrics::Metrics;
use crate::migrate;
use crate::readiness::Readiness;
use crate::router::router;
use crate::server::Server;
use crate::settings::Settings;
use crate::state::AppState;
use crate::state::Parts;
use storage::Storage;

/// Connections of the admin port: probes and a scraper.
const ADMIN_CONNECTIONS: usize = 64;

/// A service that is bound and not yet running.
#[derive(Debug)]
pub struct Service {
    public: Server,
    admin: Server,
    storage: Storage,
    keys: Arc<Keys>,
    readiness: Arc<Readiness>,
    client: Client,
    migrations: migrate::Options,
    metrics: Arc<Metrics>,
    drain: Duration,
}

/// How a service ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Every request was answered, and what it brought is in ClickHouse, or on disk.
    Drained,
    /// The time was over; requests without an answer were cut.
    Overdue,
}

impl Service {
    /// Reads keys and credentials and binds both ports; talks to nobody yet.
    pub async fn bind(settings: &Settings) -> anyhow::Result<Self> {
        let metrics = Arc::new(Metrics::default());
        let keys = Arc::new(Keys::open(&settings.keys, Arc::clone(&metrics)).await?);
        let client = Client::new(&settings.clickhouse)?;
        let budget = Budget::new(settings.buffer.max_bytes);
        let shared = storage::Parts {
            client: client.clone(),
            budget: Arc::clone(&budget),
            metrics: Arc::clone(&metrics),
        };
        let (buffer, storage) = storage::open(settings, shared)?;
        let readiness = Arc::new(Readiness::default());
        let admin = Admin {
            started_at: jiff::Timestamp::now().as_second(),
            readiness: Arc::clone(&readiness),
            keys: Arc::clone(&keys),
            client: client.clone(),
            budget: Arc::clone(&budget),
            registry: Arc::new(metrics.register()),
            metrics: Arc::clone(&metrics),
        };
        let parts = Parts { keys: Arc::clone(&keys), budget, buffer, metrics: Arc::clone(&metrics) };
        let public = Server {
            listener: listen(settings.listen).await?,
            router: router(AppState::new(settings, parts)),
            max_connections: settings.limits.max_connections,
            connections: metrics.connections.clone(),
        };
        let admin = Server {
            listener: listen(settings.admin_listen).await?,
            router: admin::router(admin),
            max_connections: ADMIN_CONNECTIONS,
            connections: prometheus_client::metrics::gauge::Gauge::default(),
        };
        let migrations = migrate::Options::from_settings(settings, None)?;
        Ok(Self {
            public,
            admin,
            storage,
            keys,
            readiness,
            client,
            migrations,
            metrics,
            drain: settings.drain,
        })
    }

    /// Address of the public port.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.public.listener.local_addr()
    }

    /// Address of the admin port.
    pub fn admin_address(&self) -> std::io::Result<SocketAddr> {
        self.admin.listener.local_addr()
    }

    /// Serves until `terminate` resolves, then drains.
    ///
    /// The order: readiness fails; connections are still accepted for a grace, until load balancers have noticed; the
    /// port closes; requests that have begun are answered, for which the buffer flushes; the buffer ends; the admin
    /// port ends last, so that probes see the whole of it.
    pub async fn run(self, terminate: impl Future<Output = ()>) -> Ended {
        let Self { public, admin, storage, keys, readiness, client, migrations, metrics, drain } = self;
        // What the spool holds when the time is over is sent by the next process that uses it.
        let is_safe = Arc::new(AtomicBool::new(false));
        let (stop_public, public_stopped) = oneshot::channel::<()>();
        // A task of its own, and so on a thread that serves connections: each request wakes it.
        let mut storing = JoinSet::new();
        storing.spawn({
            let is_safe = Arc::clone(&is_safe);
            async move { storage.run(&is_safe).await }
        });
        let serving = async {
            tokio::join!(public.run(resolved(public_stopped)), storing.join_next());
        };
        let ending = async {
            terminate.await;
            tracing::info!("draining");
            readiness.drain();
            tokio::time::sleep(grace(drain)).await;
            drop(stop_public);
            tokio::time::sleep(drain.saturating_sub(grace(drain))).await;
        };
        let ended = tokio::select! {
            () = serving => Ended::Drained,
            () = ending => if is_safe.load(Ordering::Relaxed) { Ended::Drained } else { Ended::Overdue },
            () = keys.follow() => Ended::Overdue,
            () = client.follow_ca() => Ended::Overdue,
            () = readiness.follow(&client, &migrations, &metrics) => Ended::Overdue,
            () = admin.run(std::future::pending()) => Ended::Overdue,
        };
        storing.shutdown().await;
        ended
    }
}

/// Resolves when the sender is dropped.
async fn resolved(receiver: oneshot::Receiver<()>) {
    if receiver.await.is_ok() {
        tracing::debug!("the stop was sent instead of dropped");
    }
}

/// How long connections are still accepted after the end was asked for.
fn grace(drain: Duration) -> Duration {
    (drain / 5).min(Duration::from_secs(5))
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("failed to listen on {address}"))
}
