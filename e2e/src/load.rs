//! Constant load from SDK-shaped requests, each event counted by what the server answered.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::json;
use tokio::task::JoinSet;
use uuid::Uuid;

/// Pause before a request is sent again.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// Where the load goes and what it looks like.
#[derive(Clone, Debug)]
pub struct Load {
    /// Addresses of the service, without path; a request that failed at one is sent again to the next.
    pub urls: Vec<String>,
    /// Ingestion key.
    pub key: String,
    /// Event name, which also tells the rows of one run from those of another.
    pub event: String,
    /// Connections that send at once.
    pub connections: usize,
    /// Events of one request.
    pub events_per_request: usize,
    /// Pause of a connection between two requests.
    pub pause: Duration,
    /// How often a request is sent at most, the same bytes each time.
    pub attempts: u64,
}

/// What became of the events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Events that were acknowledged.
    pub acknowledged: u64,
    /// Their ids.
    pub ids: Vec<Uuid>,
    /// Requests that succeeded.
    pub requests: u64,
    /// Those that needed more than one attempt.
    pub retried: u64,
    /// Requests that no attempt saved.
    pub refused: u64,
    /// Attempts by the status of their answer; 0 stands for a broken connection or no answer in time.
    pub statuses: BTreeMap<u16, u64>,
}

/// Load that is being sent.
#[derive(Debug)]
pub struct Running {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<Outcome>,
    acknowledged: Arc<AtomicU64>,
}

/// Sends requests one at a time and tries each once.
#[derive(Debug)]
pub struct Sender {
    client: HttpClient,
    load: Load,
}

type HttpClient = Client<HttpConnector, Full<Bytes>>;

impl Load {
    /// Starts to send; ends when [`Running::stop`] is called.
    pub fn start(self) -> Running {
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(AtomicU64::new(0));
        let mut tasks = JoinSet::new();
        for connection in 0..self.connections {
            let (load, stop, acknowledged) = (self.clone(), Arc::clone(&stop), Arc::clone(&acknowledged));
            tasks.spawn(async move { load.send_until(&stop, &acknowledged, connection).await });
        }
        Running { stop, tasks, acknowledged }
    }

    /// A sender of single requests, whose connection stays open between them.
    pub fn sender(self) -> Sender {
        Sender { client: Client::builder(TokioExecutor::new()).build_http(), load: self }
    }

    async fn send_until(&self, stop: &AtomicBool, acknowledged: &AtomicU64, connection: usize) -> Outcome {
        // A client for each connection, so that the number of connections is what it says.
        let client = Client::builder(TokioExecutor::new()).build_http();
        let mut outcome = Outcome::default();
        let mut number = 0_u64;
        while !stop.load(Ordering::Relaxed) {
            let ids: Vec<Uuid> = (0..self.events_per_request).map(|_| Uuid::now_v7()).collect();
            let body = self.body(connection, number, &ids);
            number += 1;
            if self.send_one(&client, connection, &body, &mut outcome).await {
                outcome.acknowledged += ids.len() as u64;
                acknowledged.fetch_add(ids.len() as u64, Ordering::Relaxed);
                outcome.ids.extend(ids);
            }
            tokio::time::sleep(self.pause).await;
        }
        outcome
    }

    async fn send_one(
        &self,
        client: &HttpClient,
        connection: usize,
        body: &Bytes,
        outcome: &mut Outcome,
    ) -> bool {
        for attempt in 0..self.attempts {
            if attempt > 0 {
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            let turn = connection as u64 + attempt;
            let url = &self.urls[usize::try_from(turn % self.urls.len() as u64).unwrap_or_default()];
            let status = self.attempt(client, url, body.clone()).await.map_or(0, |status| status.as_u16());
            *outcome.statuses.entry(status).or_default() += 1;
            if status == 200 {
                outcome.requests += 1;
                outcome.retried += u64::from(attempt > 0);
                return true;
            }
        }
        outcome.refused += 1;
        false
    }

    async fn attempt(&self, client: &HttpClient, url: &str, body: Bytes) -> anyhow::Result<StatusCode> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("{url}/batch/"))
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        let response = tokio::time::timeout(ANSWER_TIMEOUT, client.request(request)).await??;
        let status = response.status();
        response.into_body().collect().await?;
        Ok(status)
    }

    fn body(&self, connection: usize, number: u64, ids: &[Uuid]) -> Bytes {
        let batch: Vec<_> = ids
            .iter()
            .enumerate()
            .map(|(index, id)| {
                json!({
                    // Sent again on a retry, so that an event stored twice is still one row for readers.
                    "uuid": id,
                    "event": self.event,
                    "distinct_id": format!("person-{}", (number + index as u64) % 100),
                    "timestamp": jiff::Timestamp::now().to_string(),
                    "properties": { "$lib": "weir-e2e", "connection": connection, "request": number, "index": index,
                        "$current_url": "https://shop.example.com/checkout?step=2", "$session_id": "s-1" },
                })
            })
            .collect();
        Bytes::from(json!({ "api_key": self.key, "batch": batch }).to_string())
    }
}

impl Sender {
    /// Whether the key is refused. Asks with an event that nobody would store, so that the answer waits for no insert.
    pub async fn is_refused(&self) -> anyhow::Result<bool> {
        let body = json!({ "api_key": self.load.key, "batch": [{ "event": "", "distinct_id": "nobody" }] });
        let status = self.send(Bytes::from(body.to_string())).await?;
        // Behind the key, a request of which nothing can be stored is bad.
        anyhow::ensure!(
            matches!(status, StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED),
            "asked about a key, ingest answered {status}"
        );
        Ok(status == StatusCode::UNAUTHORIZED)
    }

    /// Sends one event.
    pub async fn once(&self) -> anyhow::Result<()> {
        let status = self.send(self.load.body(0, 0, &[Uuid::now_v7()])).await?;
        anyhow::ensure!(status == StatusCode::OK, "answered {status}");
        Ok(())
    }

    async fn send(&self, body: Bytes) -> anyhow::Result<StatusCode> {
        let url = self.load.urls.first().context("the load has no address")?;
        self.load.attempt(&self.client, url, body).await
    }
}

impl Running {
    /// Stops the load and adds up what became of it.
    pub async fn stop(mut self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        let mut total = Outcome::default();
        while let Some(outcome) = self.tasks.join_next().await {
            total.add(outcome.unwrap_or_default());
        }
        total
    }

    /// Waits until `events` events have been acknowledged over all connections.
    pub async fn wait_for(&self, events: u64, deadline: Duration) -> anyhow::Result<()> {
        let started = Instant::now();
        while self.acknowledged() < events {
            anyhow::ensure!(started.elapsed() < deadline, "the load got no answer within {deadline:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Events that have been acknowledged so far, over all connections.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }
}

impl Outcome {
    fn add(&mut self, other: Self) {
        let Self { acknowledged, ids, requests, retried, refused, statuses } = other;
        self.acknowledged += acknowledged;
        self.ids.extend(ids);
        self.requests += requests;
        self.retried += retried;
        self.refused += refused;
        for (status, count) in statuses {
            *self.statuses.entry(status).or_default() += count;
        }
    }
}
