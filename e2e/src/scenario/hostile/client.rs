//! Requests to the service as a stranger sends them.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};

/// Longer than any deadline of the service.
const PATIENCE: Duration = Duration::from_mins(2);

/// A client that keeps its connections.
#[derive(Clone, Debug)]
pub(super) struct Stranger {
    url: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Stranger {
    pub(super) fn new(url: String) -> Self {
        Self { url, client: Client::builder(TokioExecutor::new()).build_http() }
    }

    /// Posts a body and returns the status and how long it took.
    pub(super) async fn post(
        &self,
        path: &str,
        headers: &[(&'static str, String)],
        body: Bytes,
    ) -> anyhow::Result<(u16, Duration)> {
        let mut request = Request::builder().method(Method::POST).uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let started = Instant::now();
        let answer =
            tokio::time::timeout(PATIENCE, self.client.request(request.body(Full::new(body))?)).await;
        let response = answer.context("no answer came")?.context("the connection broke")?;
        let status = response.status().as_u16();
        // An answer that is cut counts as a broken connection.
        response.into_body().collect().await.context("the answer was cut")?;
        Ok((status, started.elapsed()))
    }
}
