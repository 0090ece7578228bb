//! Clients that read their Secret again and again, as mounted ones are, and use what it holds without a retry.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use tokio::task::JoinSet;

use super::wait_until;
use crate::{
    load::{Load, Sender},
    query::ClickhouseAccess,
    stack::Stack,
    stage::{Stage, TEAM},
};

/// Name of the events that the clients send.
pub(in crate::scenario) const EVENT: &str = "rotation";
/// How often a client reads its Secret.
const READ_EVERY: Duration = Duration::from_secs(1);
/// How long the node may take to learn of ready pods.
const ROUTE: Duration = Duration::from_mins(1);
/// Pause of a client between two requests with a key.
const SEND_PAUSE: Duration = Duration::from_millis(50);
/// Pause of a client between two queries; each makes a connection with TLS.
const ASK_PAUSE: Duration = Duration::from_millis(200);

/// The clients while they run.
pub(in crate::scenario) struct Clients {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<anyhow::Result<Counted>>,
}

/// What became of requests and queries.
#[derive(Debug, Default)]
pub(in crate::scenario) struct Counted {
    /// Events that were acknowledged, one a request.
    pub(in crate::scenario) sent: u64,
    /// Queries that were answered.
    pub(in crate::scenario) queries: u64,
    refused: u64,
    /// The first refusals of each client, with the moment of each.
    refusals: Vec<String>,
}

/// What one client works with.
#[derive(Clone)]
struct Client {
    stack: Stack,
    url: String,
    access: ClickhouseAccess,
    stop: Arc<AtomicBool>,
    started: Instant,
}

impl Clients {
    /// Starts one client for each of these keys and readers, once the Service leads to the pods: the node learns of ready
    /// pods some time after the stack does, and refuses connections until then.
    pub(in crate::scenario) async fn start(
        stage: &Stage,
        stack: &Stack,
        (keys, users): (Vec<String>, Vec<String>),
    ) -> anyhow::Result<Self> {
        let url = stack.service_url().await?;
        let key = keys.first().context("a load needs a key")?;
        let first = sender(&url, &stack.secret(&format!("{}-key-{key}", stack.name)).await?["key"], "first");
        wait_until(ROUTE, || async { Ok(first.once().await.is_ok()) })
            .await
            .context("the Service leads nowhere")?;
        let client = Client {
            stack: stack.clone(),
            url,
            access: stage.target.clickhouse.clone(),
            stop: Arc::new(AtomicBool::new(false)),
            started: Instant::now(),
        };
        let mut tasks = JoinSet::new();
        for key in keys {
            let client = client.clone();
            tasks.spawn(async move { client.send(&key).await });
        }
        for user in users {
            let client = client.clone();
            tasks.spawn(async move { client.ask(&user).await });
        }
        Ok(Self { stop: client.stop, tasks })
    }

    /// Stops the clients; fails when one was refused, and says what the pods went through meanwhile.
    pub(in crate::scenario) async fn stop(mut self, stage: &Stage) -> anyhow::Result<Counted> {
        self.stop.store(true, Ordering::Relaxed);
        let mut total = Counted::default();
        while let Some(counted) = self.tasks.join_next().await {
            total.add(counted??);
        }
        ensure!(
            total.refused == 0,
            "{} requests were refused:\n{}\n{}",
            total.refused,
            total.refusals.join("\n"),
            happened(stage)
        );
        Ok(total)
    }
}

/// Pods with their restarts, and every event about the stack's objects.
pub(super) fn happened(stage: &Stage) -> String {
    let pods = stage.kubectl(&["get", "pods", "-n", TEAM, "-o", "wide"]);
    let events = stage.kubectl(&["get", "events", "-n", TEAM, "--sort-by=.lastTimestamp"]);
    [pods, events].map(|told| told.unwrap_or_else(|error| format!("{error:#}"))).join("\n")
}

impl Client {
    /// Sends events with the key of the Secret.
    async fn send(&self, key: &str) -> anyhow::Result<Counted> {
        let mut counted = Counted::default();
        while !self.stop.load(Ordering::Relaxed) {
            let secret = self.stack.secret(&format!("{}-key-{key}", self.stack.name)).await?;
            let sender = sender(&self.url, &secret["key"], EVENT);
            let read_at = Instant::now();
            while read_at.elapsed() < READ_EVERY {
                match sender.once().await {
                    Ok(()) => counted.sent += 1,
                    Err(error) => counted.refuse(self.started, key, &error),
                }
                tokio::time::sleep(SEND_PAUSE).await;
            }
        }
        Ok(counted)
    }

    /// Asks with the login of the Secret.
    async fn ask(&self, user: &str) -> anyhow::Result<Counted> {
        let mut counted = Counted::default();
        while !self.stop.load(Ordering::Relaxed) {
            let login = self.stack.secret(&format!("{}-user-{user}", self.stack.name)).await?;
            let sql = format!("SELECT count() FROM {}.events", login["database"]);
            let read_at = Instant::now();
            while read_at.elapsed() < READ_EVERY {
                match self.access.query_as(&login["username"], &login["password"], &sql).await {
                    Ok(_) => counted.queries += 1,
                    Err(error) => counted.refuse(self.started, user, &error),
                }
                tokio::time::sleep(ASK_PAUSE).await;
            }
        }
        Ok(counted)
    }
}

/// A sender of single events with a key.
pub(in crate::scenario) fn sender(url: &str, key: &str, event: &str) -> Sender {
    let load = Load {
        urls: vec![url.to_owned()],
        key: key.to_owned(),
        event: event.to_owned(),
        connections: 1,
        events_per_request: 1,
        pause: Duration::ZERO,
        attempts: 1,
    };
    load.sender()
}

impl Counted {
    fn refuse(&mut self, started: Instant, who: &str, error: &anyhow::Error) {
        self.refused += 1;
        if self.refusals.len() < 3 {
            let (at, after) = (jiff::Timestamp::now(), started.elapsed().as_secs_f64());
            self.refusals.push(format!("{who} at {at:.0}, {after:.1} s after the start: {error:#}"));
        }
    }

    fn add(&mut self, other: Self) {
        let Self { sent, queries, refused, refusals } = other;
        self.sent += sent;
        self.queries += queries;
        self.refused += refused;
        self.refusals.extend(refusals);
    }
}
