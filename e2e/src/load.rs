//! Constant load from SDK-shaped requests, each event counted by what the server answered.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::json;
use tokio::task::JoinSet;

/// Where the load goes and what it looks like.
#[derive(Clone, Debug)]
pub struct Load {
    /// Address of the service, without path.
    pub url: String,
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
}

/// What became of the events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Events that were acknowledged.
    pub acknowledged: u64,
    /// Requests that succeeded at the first or second attempt.
    pub requests: u64,
    /// Requests that needed the client's one retry.
    pub retried: u64,
    /// Requests that the retry did not save.
    pub refused: u64,
}

/// Load that is being sent.
#[derive(Debug)]
pub struct Running {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<Outcome>,
    acknowledged: Arc<AtomicU64>,
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

    async fn send_until(&self, stop: &AtomicBool, acknowledged: &AtomicU64, connection: usize) -> Outcome {
        // A client for each connection, so that the number of connections is what it says.
        let client = Client::builder(TokioExecutor::new()).build_http();
        let mut outcome = Outcome::default();
        let mut number = 0_u64;
        while !stop.load(Ordering::Relaxed) {
            let body = self.body(connection, number);
            number += 1;
            if self.send_one(&client, body, &mut outcome).await {
                acknowledged.fetch_add(self.events_per_request as u64, Ordering::Relaxed);
            }
            tokio::time::sleep(self.pause).await;
        }
        outcome
    }

    async fn send_one(&self, client: &HttpClient, body: Bytes, outcome: &mut Outcome) -> bool {
        for attempt in 0..2 {
            if self.attempt(client, body.clone()).await.is_ok() {
                outcome.acknowledged += self.events_per_request as u64;
                outcome.requests += 1;
                outcome.retried += attempt;
                return true;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        outcome.refused += 1;
        false
    }

    async fn attempt(&self, client: &HttpClient, body: Bytes) -> anyhow::Result<()> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}/batch/", self.url))
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        let response = tokio::time::timeout(Duration::from_secs(20), client.request(request)).await??;
        let status = response.status();
        response.into_body().collect().await?;
        anyhow::ensure!(status == StatusCode::OK, "answered {status}");
        Ok(())
    }

    fn body(&self, connection: usize, number: u64) -> Bytes {
        let batch: Vec<_> = (0..self.events_per_request)
            .map(|index| {
                json!({
                    // Sent again on a retry, so that an event stored twice is still one row for readers.
                    "uuid": uuid::Uuid::now_v7(),
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

impl Running {
    /// Stops the load and adds up what became of it.
    pub async fn stop(mut self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        let mut total = Outcome::default();
        while let Some(outcome) = self.tasks.join_next().await {
            let outcome = outcome.unwrap_or_default();
            total.acknowledged += outcome.acknowledged;
            total.requests += outcome.requests;
            total.retried += outcome.retried;
            total.refused += outcome.refused;
        }
        total
    }

    /// Waits until `events` events have been acknowledged over all connections.
    pub async fn wait_for(&self, events: u64, deadline: Duration) -> anyhow::Result<()> {
        let started = Instant::now();
        while self.acknowledged.load(Ordering::Relaxed) < events {
            anyhow::ensure!(started.elapsed() < deadline, "the load got no answer within {deadline:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}
