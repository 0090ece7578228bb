//! TLS as every client of the operator but Kubernetes' own uses it: public roots compiled in, a private CA besides them.
//!
//! The operator's image holds no CA bundle, so nothing here may depend on the files of the system.

use std::error::Error;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use url::Host;

use crate::dialer::{Barred, BarredAddress, Dialer};

/// The CA bundle holds no certificate in PEM form.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the CA bundle holds no certificate in PEM form")]
pub(crate) struct InvalidCaBundle;

/// Makes a connector for http and https that trusts the public roots and the CA of `ca_pem`, and that speaks to no address
/// which only serves the node itself, nor to those of `barred`, whatever name led there.
pub(crate) fn connector(
    ca_pem: Option<&[u8]>,
    connect_timeout: Duration,
    barred: Barred,
) -> Result<HttpsConnector<Dialer>, InvalidCaBundle> {
    let http = Dialer::new(connect_timeout, barred);
    let config = client_config(ca_pem)?;
    Ok(HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_or_http()
        .enable_http1()
        .wrap_connector(http))
}

fn client_config(ca_pem: Option<&[u8]>) -> Result<ClientConfig, InvalidCaBundle> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(pem) = ca_pem {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let (added, _) = roots.add_parsable_certificates(certificates.map_err(|_| InvalidCaBundle)?);
        if added == 0 {
            return Err(InvalidCaBundle);
        }
    }
    // The provider is named, so that nothing depends on what the process installed as its default.
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("aws-lc-rs supports the default versions of TLS");
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Whether a failed request failed because of the server's certificate.
pub(crate) fn is_certificate_error(error: &(dyn Error + 'static)) -> bool {
    let tls = causes(error).find_map(|cause| cause.downcast_ref::<rustls::Error>());
    matches!(tls, Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented))
}

/// Whether a failed request failed because of where its name led.
pub(crate) fn is_barred(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(<dyn Error>::is::<BarredAddress>)
}

/// An error and what caused it.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&cause| {
        // The source of an io::Error is that of the error inside it, so following sources alone skips the one inside.
        let inside = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        match inside {
            Some(inside) => Some(inside),
            None => cause.source(),
        }
    })
}

/// Whether a host is an address that only serves the node itself, such as the metadata service of a cloud. A stack must
/// not be able to point the operator there.
pub(crate) fn is_refused_host<S>(host: &Host<S>) -> bool {
    match host {
        Host::Ipv4(address) => is_refused_address(IpAddr::V4(*address)),
        Host::Ipv6(address) => is_refused_address(IpAddr::V6(*address)),
        Host::Domain(_) => false,
    }
}

pub(crate) fn is_refused_address(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local() || address.is_unspecified(),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(address) => is_refused_address(IpAddr::V4(address)),
            None => address.is_unicast_link_local() || address.is_unspecified(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_node_itself_are_refused_in_every_form() {
        let refused = ["169.254.169.254", "0.0.0.0", "[fe80::1]", "[::]", "[::ffff:169.254.169.254]"];
        let allowed = ["10.0.0.1", "[fd00::1]", "db.example.com"];
        let is_refused = |host: &str| is_refused_host(&Host::parse(host).unwrap());
        assert!(refused.into_iter().all(is_refused) && !allowed.into_iter().any(is_refused));
    }

    #[test]
    fn a_bundle_without_certificates_is_refused() {
        assert_eq!(client_config(Some(b"nothing")).err(), Some(InvalidCaBundle));
        assert!(client_config(None).is_ok());
    }
}
