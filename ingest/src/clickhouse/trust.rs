//! Whom TLS connections to ClickHouse trust: the public roots and one more bundle, which is read again on change.
//!
//! New connections are judged by the newest bundle that could be read; those that stand are left alone.

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::DigitallySignedStruct;
use rustls::RootCertStore;
use rustls::SignatureScheme;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::danger::ServerCertVerified;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::ServerName;
use rustls_pki_types::UnixTime;
use rustls_pki_types::pem::PemObject as _;
use sha2::Digest as _;
use sha2::Sha256;

use super::error::SetupError;
use crate::reload::Reloads;
use crate::telemetry::Causes;

/// How often the bundle is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Judges certificates by the roots of this moment.
#[derive(Debug)]
pub(super) struct Trust {
    maybe_file: Option<PathBuf>,
    provider: Arc<CryptoProvider>,
    current: ArcSwap<WebPkiServerVerifier>,
    reloads: Reloads,
}

impl Trust {
    /// Reads the bundle for the first time; a bad one is an error here.
    pub(super) fn open(
        maybe_file: Option<&Path>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<Self>, SetupError> {
        let verifier = verifier(maybe_file, &provider)?;
        Ok(Arc::new(Self {
            maybe_file: maybe_file.map(Path::to_owned),
            provider,
            current: ArcSwap::new(verifier),
            reloads: Reloads::default(),
        }))
    }

    pub(super) fn reloads(&self) -> &Reloads {
        &self.reloads
    }

    /// Follows the bundle until the future is dropped.
    pub(super) async fn follow(&self) {
        let Some(file) = &self.maybe_file else { return std::future::pending().await };
        let mut last = digest(file).await;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let seen = digest(file).await;
            if seen != last {
                last = seen;
                self.reload(file);
            }
        }
    }

    /// Takes the bundle as it is now. A bad one changes nothing.
    fn reload(&self, file: &Path) {
        match verifier(Some(file), &self.provider) {
            Ok(verifier) => {
                tracing::info!("read a new CA bundle for ClickHouse");
                self.current.store(verifier);
                self.reloads.taken();
            }
            Err(error) => {
                self.reloads.failed("bundle");
                tracing::error!(error = %Causes(&error), "kept the last good CA bundle for ClickHouse");
            }
        }
    }
}

async fn digest(file: &Path) -> Option<[u8; 32]> {
    tokio::fs::read(file).await.ok().map(|text| Sha256::digest(text).into())
}

fn verifier(
    maybe_file: Option<&Path>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, SetupError> {
    let roots = Arc::new(roots(maybe_file)?);
    let built = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider)).build();
    Ok(built.expect("the public roots are never empty, and no revocation lists are given"))
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

/// Everything is left to rustls's own verifier.
impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let current = self.current.load();
        current.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.current.load().verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.current.load().verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.current.load().supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::BasicConstraints;
    use rcgen::CertificateParams;
    use rcgen::IsCa;
    use rcgen::Issuer;
    use rcgen::KeyPair;

    /// A CA as PEM, and a certificate of it for `clickhouse`.
    fn authority() -> (String, CertificateDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        let leaf = CertificateParams::new(vec!["clickhouse".to_owned()]).unwrap();
        let leaf = leaf.signed_by(&KeyPair::generate().unwrap(), &Issuer::new(params, key)).unwrap();
        (pem, leaf.der().clone())
    }

    fn trusts(trust: &Trust, leaf: &CertificateDer<'_>) -> bool {
        let name = ServerName::try_from("clickhouse").unwrap();
        trust.verify_server_cert(leaf, &[], &name, &[], UnixTime::now()).is_ok()
    }

    #[test]
    fn a_new_bundle_is_trusted_without_a_restart_and_a_broken_one_changes_nothing() {
        let file = std::env::temp_dir().join(format!("weir-trust-{}.pem", std::process::id()));
        let ((old_pem, old), (new_pem, new)) = (authority(), authority());
        std::fs::write(&file, &old_pem).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let trust = Trust::open(Some(&file), provider).unwrap();
        assert_eq!((trusts(&trust, &old), trusts(&trust, &new)), (true, false));
        std::fs::write(&file, &new_pem).unwrap();
        trust.reload(&file);
        assert_eq!((trusts(&trust, &old), trusts(&trust, &new)), (false, true));
        assert_eq!(trust.reloads().report().count, 1);
        std::fs::write(&file, "no certificate").unwrap();
        trust.reload(&file);
        assert_eq!((trusts(&trust, &old), trusts(&trust, &new)), (false, true));
        assert_eq!(trust.reloads().report().error, Some("bundle"));
        std::fs::remove_file(&file).unwrap();
    }
}
