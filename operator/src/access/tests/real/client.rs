//! A client that is not the operator: one user's queries over HTTP, and the code with which each is refused.

use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::{Client as Http, connect::HttpConnector};

use super::*;

/// Tells the development server something at its control port.
pub(super) async fn control(path: &str, body: String) {
    ask_control(http::Request::post(control_url(path)).body(Full::new(bytes::Bytes::from(body))).unwrap())
        .await;
}

/// Which engine runs: it changes whenever one is started anew.
pub(super) async fn status() -> String {
    ask_control(http::Request::get(control_url("/status")).body(Full::default()).unwrap()).await
}

fn control_url(path: &str) -> String {
    format!("{}{path}", setting("WEIR_TEST_CLICKHOUSE_CONTROL"))
}

async fn ask_control(request: http::Request<Full<bytes::Bytes>>) -> String {
    let http = Http::builder(hyper_util::rt::TokioExecutor::new()).build_http();
    let response = http.request(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8_lossy(&body).into_owned();
    assert!(status.is_success(), "{text}");
    text
}

/// Keeps a query out of the server's log, which millions of queries would make slow to read.
pub(super) const UNLOGGED: &str = "log_queries=0";

/// One user, on pooled connections.
#[derive(Clone)]
pub(super) struct Client {
    http: Http<HttpConnector, Full<bytes::Bytes>>,
    user: String,
}

impl Client {
    /// A client that knows the user's password.
    pub(super) fn new(user: &str) -> Self {
        let http = Http::builder(hyper_util::rt::TokioExecutor::new()).build_http();
        Self { http, user: user.to_owned() }
    }

    /// Runs a query with settings in its URL; a refusal is ClickHouse's code.
    pub(super) async fn query(&self, settings: &str, query: &str) -> Result<String, String> {
        let request = http::Request::post(format!("{}/?{settings}", setting("WEIR_TEST_CLICKHOUSE_URL")))
            .header("x-clickhouse-user", &self.user)
            .header("x-clickhouse-key", password_of(&self.user))
            .body(Full::new(bytes::Bytes::copy_from_slice(query.as_bytes())))
            .unwrap();
        let response = self.http.request(request).await.map_err(|error| error.to_string())?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
        let text = String::from_utf8_lossy(&body).trim().to_owned();
        match head.headers.get("x-clickhouse-exception-code") {
            None if head.status.is_success() => Ok(text),
            None => Err(format!("status {}", head.status)),
            Some(code) => Err(code.to_str().unwrap().to_owned()),
        }
    }
}
