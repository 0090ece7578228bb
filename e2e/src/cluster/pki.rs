//! The certificate authority of one run: everything that speaks TLS in the sandbox is signed by it.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose,
};

/// A certificate with its key, in memory and as files.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The certificate, PEM.
    pub certificate: String,
    /// The private key, PKCS #8 in PEM.
    pub key: String,
    /// The file that holds the certificate.
    pub certificate_file: PathBuf,
    /// The file that holds the key.
    pub key_file: PathBuf,
}

/// The authority.
#[derive(Debug)]
pub struct Pki {
    folder: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    /// Makes a new authority that keeps its files in `folder`.
    pub(crate) fn create(folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("failed to create {}", folder.display()))?;
        let mut params = CertificateParams::default();
        params.distinguished_name = distinguished_name("weir-e2e", None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let pki = Self { folder: folder.to_path_buf(), issuer };
        write_private(&pki.ca_file(), &pki.ca_pem())?;
        let service_account = KeyPair::generate()?;
        write_private(&pki.service_account_key_file(), &service_account.serialize_pem())?;
        write_private(&pki.service_account_public_file(), &service_account.public_key_pem())?;
        Ok(pki)
    }

    /// Returns the authority's certificate, PEM.
    pub fn ca_pem(&self) -> String {
        self.issuer.pem()
    }

    /// Returns the file that holds the authority's certificate.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// Returns the file of the key that signs the tokens of service accounts.
    pub(super) fn service_account_key_file(&self) -> PathBuf {
        self.folder.join("service-account.key")
    }

    /// Returns the file of the public half of that key.
    pub(super) fn service_account_public_file(&self) -> PathBuf {
        self.folder.join("service-account.pub")
    }

    /// Issues a certificate that servers show under the given DNS names and IP addresses.
    pub fn issue_server(&self, name: &str, subjects: &[&str]) -> anyhow::Result<Identity> {
        let subjects: Vec<String> = subjects.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(subjects)?;
        params.distinguished_name = distinguished_name(name, None);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(name, params)
    }

    /// Issues a certificate that the API server reads as the given user and group.
    pub fn issue_client(&self, name: &str, user: &str, group: Option<&str>) -> anyhow::Result<Identity> {
        let mut params = CertificateParams::default();
        params.distinguished_name = distinguished_name(user, group);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(name, params)
    }

    fn issue(&self, name: &str, mut params: CertificateParams) -> anyhow::Result<Identity> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let identity = Identity {
            certificate: params.signed_by(&key, &self.issuer)?.pem(),
            key: key.serialize_pem(),
            certificate_file: self.folder.join(format!("{name}.crt")),
            key_file: self.folder.join(format!("{name}.key")),
        };
        write_private(&identity.certificate_file, &identity.certificate)?;
        write_private(&identity.key_file, &identity.key)?;
        Ok(identity)
    }
}

/// Writes a file that only its owner can read, from its first moment on.
pub(super) fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("failed to write {}", path.display()))
}

fn distinguished_name(common_name: &str, organization: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    if let Some(organization) = organization {
        name.push(DnType::OrganizationName, organization);
    }
    name
}
