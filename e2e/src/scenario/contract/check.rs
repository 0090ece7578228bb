//! One request of the contract and what has to become of it.

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};

use crate::standalone::Standalone;

/// The origin that may send without a key.
pub(super) const ORIGIN: &str = "https://app.example";

/// Which port is asked.
#[derive(Clone, Copy, Debug)]
pub(super) enum Port {
    /// With two keys.
    Keyed,
    /// Without any key.
    Keyless,
    /// The admin port.
    Admin,
}

/// A request and its right answer.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// Item of the contract's list.
    pub(super) item: &'static str,
    pub(super) port: Port,
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) headers: Vec<(&'static str, &'static str)>,
    pub(super) body: Bytes,
    pub(super) status: u16,
    /// Text that the answer has.
    pub(super) contains: &'static str,
    /// Rows that it adds.
    pub(super) rows: u64,
}

/// Asks and compares.
#[derive(Debug)]
pub(super) struct Checker {
    client: Client<HttpConnector, Full<Bytes>>,
    keyed: String,
    keyless: String,
    admin: String,
}

impl Checker {
    pub(super) fn new(keyed: String, keyless: String, admin: String) -> Self {
        Self { client: Client::builder(TokioExecutor::new()).build_http(), keyed, keyless, admin }
    }

    /// Errs unless the answer and the rows are right.
    pub(super) async fn check(&self, weir: &Standalone, asked: &Asked) -> anyhow::Result<()> {
        let before = count(weir).await?;
        let base = match asked.port {
            Port::Keyed => &self.keyed,
            Port::Keyless => &self.keyless,
            Port::Admin => &self.admin,
        };
        let mut request =
            Request::builder().method(asked.method.clone()).uri(format!("{base}{}", asked.path));
        for (name, value) in &asked.headers {
            request = request.header(*name, *value);
        }
        let response = self.client.request(request.body(Full::new(asked.body.clone()))?).await?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.context("the answer was cut")?.to_bytes();
        let text = String::from_utf8_lossy(&body);
        ensure!(status == asked.status, "answered with {status}, not {}: {text}", asked.status);
        ensure!(text.contains(asked.contains), "the answer has no `{}`: {text}", asked.contains);
        let rows = count(weir).await? - before;
        ensure!(rows == asked.rows, "{rows} rows were stored, not {}", asked.rows);
        Ok(())
    }
}

async fn count(weir: &Standalone) -> anyhow::Result<u64> {
    // As the view counts, without the persons that it also looks up.
    Ok(weir.query("SELECT count() FROM {database}.events_data FINAL").await?.trim().parse()?)
}
