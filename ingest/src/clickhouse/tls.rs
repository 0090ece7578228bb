//! The connector: plain or TLS, trusting the public roots and one more bundle.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper_rustls::HttpsConnector;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::error::SetupError;

/// An endpoint that does not even accept a connection in this time is passed over.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) fn connector(maybe_ca_file: Option<&Path>) -> Result<HttpsConnector<HttpConnector>, SetupError> {
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(SetupError::Tls)?
        .with_root_certificates(roots(maybe_ca_file)?)
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

fn roots(maybe_ca_file: Option<&Path>) -> Result<RootCertStore, SetupError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let Some(file) = maybe_ca_file else { return Ok(roots) };
    let failed = |source| SetupError::CaFile { file: file.to_owned(), source };
    let mut added = 0;
    for certificate in CertificateDer::pem_file_iter(file).map_err(failed)? {
        roots.add(certificate.map_err(failed)?).map_err(SetupError::Tls)?;
        added += 1;
    }
    if added == 0 {
        return Err(SetupError::EmptyCaFile(file.to_owned()));
    }
    Ok(roots)
}
