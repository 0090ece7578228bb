//! The certificate of the HTTPS port, and the CA that issues it when none is given.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::{ServerConfig, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

use super::{Certificate, store};

/// The TLS side of a server.
#[derive(Debug)]
pub(crate) struct Tls {
    pub(crate) config: Arc<ServerConfig>,
    /// What a client must trust: the CA, or the given chain.
    pub(crate) ca_pem: String,
}

/// Reads or makes the certificate.
pub(crate) fn load(data: &Path, certificate: &Certificate) -> anyhow::Result<Tls> {
    let (chain, key, trusted) = match certificate {
        Certificate::Files { chain, key } => (chain.clone(), key.clone(), chain.clone()),
        Certificate::Generated { names } => generate(&data.join("tls"), names)?,
    };
    let certificates = CertificateDer::pem_file_iter(&chain)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("failed to read certificates from {}", chain.display()))?;
    let key = PrivateKeyDer::from_pem_file(&key)
        .with_context(|| format!("failed to read a key from {}", key.display()))?;
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let mut config = builder
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(certificates, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let ca_pem =
        std::fs::read_to_string(&trusted).with_context(|| format!("failed to read {}", trusted.display()))?;
    Ok(Tls { config: Arc::new(config), ca_pem })
}

/// Issues a certificate; the CA is made once and kept, so that clients trust the server after its restart.
fn generate(folder: &Path, names: &[String]) -> anyhow::Result<(PathBuf, PathBuf, PathBuf)> {
    std::fs::create_dir_all(folder).with_context(|| format!("failed to create {}", folder.display()))?;
    let file = |name: &str| folder.join(name);
    let (ca, ca_key) = (file("ca.pem"), file("ca.key"));
    if !ca.exists() {
        let key = KeyPair::generate()?;
        store::replace(&ca_key, &key.serialize_pem())?;
        store::replace(&ca, &ca_params().self_signed(&key)?.pem())?;
    }
    let issuer = Issuer::new(ca_params(), KeyPair::from_pem(&std::fs::read_to_string(&ca_key)?)?);
    let mut all = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    all.extend(names.iter().cloned());
    let mut params = CertificateParams::new(all)?;
    params.distinguished_name.push(DnType::CommonName, "ClickHouse development server");
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let (chain, server_key) = (file("server.pem"), file("server.key"));
    store::replace(&chain, &params.signed_by(&key, &issuer)?.pem())?;
    store::replace(&server_key, &key.serialize_pem())?;
    Ok((chain, server_key, ca))
}

fn ca_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, "ClickHouse development server CA");
    params
}
