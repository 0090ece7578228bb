//! One HTTP client with its TLS roots, limits and deadline.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::ConnectionSettings;
use super::error::{Error, Failure, parse_refusal};
use crate::dialer::Dialer;

/// A catalogue of ten thousand grants is 2 MB; whatever is larger than this is not an answer to the operator.
const MAX_ANSWER_BYTES: usize = 64 << 20;

pub(super) struct Transport {
    client: Client<HttpsConnector<Dialer>, Full<Bytes>>,
    timeout: Duration,
}

/// One statement for one endpoint.
pub(super) struct Request<'a> {
    pub(super) endpoint: &'a str,
    pub(super) user: &'a str,
    pub(super) password: &'a SecretString,
    pub(super) settings: &'a [(&'a str, &'a str)],
    pub(super) statement: &'a str,
}

impl Transport {
    pub(super) fn new(settings: &ConnectionSettings) -> Result<Self, Error> {
        for endpoint in &settings.endpoints {
            parse_endpoint(endpoint)?;
        }
        let endpoint = settings.endpoints.first().map_or("", String::as_str);
        let connect_timeout = settings.timeout.min(Duration::from_secs(5));
        let connector =
            crate::tls::connector(settings.ca_pem.as_deref(), connect_timeout, Arc::clone(&settings.barred))
                .map_err(|_| Error::new(endpoint, Failure::CaBundle))?;
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            // Shorter than ClickHouse's keep-alive of 10 s (30 s in newer ones), so that no statement meets a closing connection.
            .pool_idle_timeout(Duration::from_secs(5))
            .build(connector);
        Ok(Self { client, timeout: settings.timeout })
    }

    pub(super) async fn send(&self, request: Request<'_>) -> Result<Bytes, Error> {
        let endpoint = request.endpoint;
        let exchange = self.exchange(request);
        match tokio::time::timeout(self.timeout, exchange).await {
            Ok(answered) => answered.map_err(|failure| Error::new(endpoint, failure)),
            Err(_) => Err(Error::new(endpoint, Failure::Timeout)),
        }
    }

    async fn exchange(&self, request: Request<'_>) -> Result<Bytes, Failure> {
        let response =
            self.client.request(http_request(&request)?).await.map_err(|error| classify(&error))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
        if head.status.is_success() && !head.headers.contains_key("x-clickhouse-exception-code") {
            return body.map(http_body_util::Collected::to_bytes).map_err(|_| Failure::Broken);
        }
        let code = head.headers.get("x-clickhouse-exception-code").and_then(|value| value.to_str().ok());
        let text = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        Err(parse_refusal(code, &String::from_utf8_lossy(&text))
            .unwrap_or(Failure::Status(head.status.as_u16())))
    }
}

fn http_request(request: &Request<'_>) -> Result<http::Request<Full<Bytes>>, Failure> {
    let mut url = Url::parse(request.endpoint).map_err(|_| Failure::Address)?;
    url.query_pairs_mut().extend_pairs(request.settings);
    let mut password = HeaderValue::from_str(request.password.expose_secret()).map_err(|_| Failure::Login)?;
    password.set_sensitive(true);
    http::Request::post(url.as_str())
        .header("x-clickhouse-user", HeaderValue::from_str(request.user).map_err(|_| Failure::Login)?)
        .header("x-clickhouse-key", password)
        .header(CONTENT_TYPE, "text/plain; charset=utf-8")
        .header("user-agent", concat!("weir-operator/", env!("CARGO_PKG_VERSION")))
        .body(Full::from(Bytes::copy_from_slice(request.statement.as_bytes())))
        .map_err(|_| Failure::Address)
}

fn parse_endpoint(endpoint: &str) -> Result<(), Error> {
    let refused = || Error::new(endpoint, Failure::Address);
    let url = Url::parse(endpoint).map_err(|_| refused())?;
    let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    let refused_host = crate::tls::is_refused_host(&url.host().ok_or_else(refused)?);
    if matches!(url.scheme(), "http" | "https") && plain && !refused_host { Ok(()) } else { Err(refused()) }
}

fn classify(error: &hyper_util::client::legacy::Error) -> Failure {
    if crate::tls::is_barred(error) {
        Failure::Address
    } else if crate::tls::is_certificate_error(error) {
        Failure::Certificate
    } else if error.is_connect() {
        Failure::Connect
    } else {
        Failure::Broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_local_and_foreign_addresses_are_refused() {
        for endpoint in [
            "http://169.254.169.254:80",
            "http://[fe80::1]:8123",
            "http://[::ffff:169.254.169.254]",
            "ftp://db",
            "http://u:p@db",
        ] {
            assert!(parse_endpoint(endpoint).is_err(), "{endpoint}");
        }
        for endpoint in ["http://db:8123", "https://[fd00::1]:8443", "http://10.0.0.1:8123"] {
            assert!(parse_endpoint(endpoint).is_ok(), "{endpoint}");
        }
    }
}
