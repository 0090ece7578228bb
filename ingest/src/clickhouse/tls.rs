//! The connector: plain or TLS, trusting whom [`Trust`] trusts.

use std::sync::Arc;
use std::time::Duration;

use hyper_rustls::HttpsConnector;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::ClientConfig;
use rustls::crypto::CryptoProvider;

use super::error::SetupError;
use super::trust::Trust;

/// An endpoint that does not even accept a connection in this time is passed over.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) fn connector(
    provider: Arc<CryptoProvider>,
    trust: Arc<Trust>,
) -> Result<HttpsConnector<HttpConnector>, SetupError> {
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(SetupError::Tls)?
        // Not less safe: the verifier is rustls's own, only that its roots can change.
        .dangerous()
        .with_custom_certificate_verifier(trust)
        .with_no_client_auth();
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    Ok(HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp))
}
