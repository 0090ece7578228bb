//! One HTTP client with its TLS roots, limits and deadline.

use std::error::Error as _;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

use super::ConnectionSettings;
use super::error::{Error, Failure, parse_refusal};

/// A catalogue of ten thousand grants is 2 MB; whatever is larger than this is not an answer to the operator.
const MAX_ANSWER_BYTES: usize = 64 << 20;

pub(super) struct Transport {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
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
        let config =
            tls_config(settings.ca_pem.as_deref()).map_err(|failure| Error::new(endpoint, failure))?;
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(settings.timeout.min(Duration::from_secs(5))));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
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

fn tls_config(ca_pem: Option<&[u8]>) -> Result<ClientConfig, Failure> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(pem) = ca_pem {
        let certificates: Vec<_> =
            CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| Failure::CaBundle)?;
        let (added, _) = roots.add_parsable_certificates(certificates);
        if added == 0 {
            return Err(Failure::CaBundle);
        }
    }
    let provider = std::sync::Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| Failure::Certificate)?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

// A stack must not be able to point the operator at the metadata service of a cloud.
fn parse_endpoint(endpoint: &str) -> Result<(), Error> {
    let refused = || Error::new(endpoint, Failure::Address);
    let url = Url::parse(endpoint).map_err(|_| refused())?;
    let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    let link_local = match url.host().ok_or_else(refused)? {
        Host::Ipv4(address) => is_link_local(IpAddr::V4(address)),
        Host::Ipv6(address) => is_link_local(IpAddr::V6(address)),
        Host::Domain(_) => false,
    };
    if matches!(url.scheme(), "http" | "https") && plain && !link_local { Ok(()) } else { Err(refused()) }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local() || address.is_unspecified(),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(address) => is_link_local(IpAddr::V4(address)),
            None => address.is_unicast_link_local() || address.is_unspecified(),
        },
    }
}

fn classify(error: &hyper_util::client::legacy::Error) -> Failure {
    let mut source = error.source();
    while let Some(cause) = source {
        let tls = cause.downcast_ref::<rustls::Error>().or_else(|| {
            cause
                .downcast_ref::<io::Error>()
                .and_then(io::Error::get_ref)
                .and_then(|inner| inner.downcast_ref())
        });
        if matches!(tls, Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented))
        {
            return Failure::Certificate;
        }
        source = cause.source();
    }
    if error.is_connect() { Failure::Connect } else { Failure::Broken }
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

    #[test]
    fn a_bundle_without_certificates_is_refused() {
        assert!(matches!(tls_config(Some(b"nothing")), Err(Failure::CaBundle)));
        assert!(tls_config(None).is_ok());
    }
}
