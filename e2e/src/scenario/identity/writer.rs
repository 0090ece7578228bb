//! Sends events to some processes, several requests at once, each until it is acknowledged.

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http::{Request, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};

use super::history::Event;

/// A client of all processes.
#[derive(Debug)]
pub(super) struct Writer {
    client: Client<HttpConnector, Full<Bytes>>,
    urls: Vec<String>,
    key: String,
}

impl Writer {
    pub(super) fn new(urls: Vec<String>, key: &str) -> Self {
        Self { client: Client::builder(TokioExecutor::new()).build_http(), urls, key: key.to_owned() }
    }

    /// Sends events in requests of a size, so many at once.
    pub(super) async fn send_all(
        &self,
        events: &[&Event],
        size: usize,
        writers: usize,
    ) -> anyhow::Result<()> {
        let bodies = events.chunks(size).map(|chunk| chunk.iter().map(|event| event.json()).collect());
        let requests = bodies.enumerate().map(|(number, batch)| self.send(number, batch));
        stream::iter(requests).buffer_unordered(writers).try_collect().await
    }

    /// Sends one request to one of the processes.
    pub(super) async fn send(&self, number: usize, batch: Vec<Value>) -> anyhow::Result<()> {
        let url = &self.urls[number % self.urls.len()];
        let body = json!({ "api_key": self.key, "batch": batch }).to_string();
        let request = Request::post(format!("{url}/batch/")).header(CONTENT_TYPE, "application/json");
        let response = self.client.request(request.body(Full::new(body.into()))?).await;
        let response = response.context("failed to send a request")?;
        let status = response.status();
        let text = response.into_body().collect().await?.to_bytes();
        ensure!(
            status == StatusCode::OK,
            "a request was answered {status}: {}",
            String::from_utf8_lossy(&text)
        );
        Ok(())
    }
}
