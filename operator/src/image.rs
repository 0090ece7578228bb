//! From an image reference to the digest that the pods run.
//!
//! The registry is asked by a short client of our own: the one crate that knows all flows builds its HTTP client from the
//! CA files of the system, and panics where there are none, as in the operator's own image. Needed here are one HEAD
//! request and the two ways in which registries ask for a login.

mod credentials;
mod error;
mod reference;
mod registry;

use credentials::Credentials;
pub(crate) use error::{Error, Failure};
use reference::{Reference, Target};
use registry::Registry;

/// An image by digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResolvedImage {
    /// Registry and repository, as the reference wrote them.
    pub(crate) repository: String,
    /// Digest of the manifest, or of the index of an image for several architectures.
    pub(crate) digest: String,
}

impl std::fmt::Display for ResolvedImage {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}@{}", self.repository, self.digest)
    }
}

/// Asks the registry which digest a tag has now. A reference that holds a digest is answered without asking.
///
/// `pull_secrets` are contents of `.dockerconfigjson`; every entry for the registry is tried, then nobody's.
pub(crate) async fn resolve(
    reference: &str,
    pull_secrets: &[Vec<u8>],
    ca_pem: Option<&[u8]>,
) -> Result<ResolvedImage, Error> {
    let failed = |failure| Error { image: reference.to_owned(), failure };
    let parsed = Reference::parse(reference).ok_or_else(|| failed(Failure::Reference))?;
    let tag = match &parsed.target {
        Target::Digest(digest) => {
            return Ok(ResolvedImage { repository: parsed.written.clone(), digest: digest.clone() });
        }
        Target::Tag(tag) => tag,
    };
    let logins = Credentials::parse(pull_secrets).map_err(failed)?.of(&parsed);
    let registry = Registry::new(&parsed, ca_pem).map_err(failed)?;
    let digest = registry.fetch_digest(tag, &logins).await.map_err(failed)?;
    Ok(ResolvedImage { repository: parsed.written.clone(), digest })
}

#[cfg(test)]
mod tests;
