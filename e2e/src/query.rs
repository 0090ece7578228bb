//! Questions to a ClickHouse over HTTP, as an administrator or as anybody else.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use url::Url;

const DEADLINE: Duration = Duration::from_mins(1);

/// How to reach a ClickHouse and administer it.
#[derive(Clone)]
pub struct ClickhouseAccess {
    /// Scheme, host and port.
    pub url: Url,
    /// Administrator.
    pub user: String,
    /// Its password.
    pub password: String,
    /// CA that signed its certificate, PEM; none when the public roots know it.
    pub ca_pem: Option<String>,
}

impl std::fmt::Debug for ClickhouseAccess {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "ClickhouseAccess({} as {})", self.url, self.user)
    }
}

impl ClickhouseAccess {
    /// Runs one statement as the administrator and returns its result as text.
    pub async fn query(&self, sql: &str) -> anyhow::Result<String> {
        self.query_as(&self.user, &self.password, sql).await
    }

    /// Runs one statement as somebody; the error carries ClickHouse's own text, which begins with its code.
    pub async fn query_as(&self, user: &str, password: &str, sql: &str) -> anyhow::Result<String> {
        let request = Request::post(self.url.as_str())
            .header("X-ClickHouse-User", user)
            .header("X-ClickHouse-Key", password)
            .body(Full::new(Bytes::copy_from_slice(sql.as_bytes())))?;
        let answer = tokio::time::timeout(DEADLINE, http_client(self.ca_pem.as_deref())?.request(request));
        let response = answer
            .await
            .context("ClickHouse did not answer in time")?
            .context("ClickHouse is not reached")?;
        let status = response.status();
        let body = response.into_body().collect().await.context("ClickHouse's answer was cut")?.to_bytes();
        let text = String::from_utf8_lossy(&body).into_owned();
        ensure!(status.is_success(), "{}", text.trim());
        Ok(text)
    }
}

/// Whether an error is ClickHouse's with that code.
pub fn fails_with(error: &anyhow::Error, code: u32) -> bool {
    error.root_cause().to_string().starts_with(&format!("Code: {code}."))
}

/// Asks a ClickHouse again and again until it answers.
pub(crate) async fn until_answered(ask: impl AsyncFn(&str) -> anyhow::Result<String>) -> anyhow::Result<()> {
    let answered = async {
        while ask("SELECT 1").await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(DEADLINE, answered).await.context("ClickHouse does not answer again")
}

/// Client of HTTP and HTTPS.
pub(crate) type HttpClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Makes a client that trusts a CA, or the public roots where there is none.
pub(crate) fn http_client(maybe_ca_pem: Option<&str>) -> anyhow::Result<HttpClient> {
    let config = match maybe_ca_pem {
        None => ClientConfig::builder().with_webpki_roots().with_no_client_auth(),
        Some(pem) => {
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                roots.add(certificate.context("the CA is not PEM")?)?;
            }
            ClientConfig::builder().with_root_certificates(Arc::new(roots)).with_no_client_auth()
        }
    };
    let connector =
        HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().build();
    Ok(Client::builder(TokioExecutor::new()).build(connector))
}
