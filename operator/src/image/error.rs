//! What can go wrong between the operator and a registry, without any text of an answer.

use weir_crds::Reason;

/// An image that could not be resolved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to resolve image {image}: {failure}")]
pub(crate) struct Error {
    /// The reference as given.
    pub(crate) image: String,
    /// Why.
    pub(crate) failure: Failure,
}

/// Why an image could not be resolved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// It is no image reference.
    #[error("it is not an image reference")]
    Reference,
    /// A pull secret cannot be read.
    #[error("a pull secret is not in the form of .dockerconfigjson")]
    PullSecret,
    /// The CA bundle cannot be read.
    #[error("the CA bundle holds no certificate in PEM form")]
    CaBundle,
    /// No answer: no connection, or none in time.
    #[error("the registry does not answer")]
    Unreachable,
    /// The certificate was not accepted.
    #[error("the registry's certificate was not accepted")]
    Certificate,
    /// The registry is overloaded or broken.
    #[error("the registry answered with HTTP status {0}")]
    Status(u16),
    /// The registry wants a login that it was not given, or refused the one that it was given.
    #[error("the registry refused access")]
    Authentication {
        /// Whether a pull secret for this registry was sent.
        with_login: bool,
    },
    /// The registry knows no such tag.
    #[error("the registry does not know it")]
    NotFound,
    /// The registry answered with something that is no image.
    #[error("the registry's answer is not an image manifest")]
    Answer,
}

impl Error {
    /// Reason for conditions and events.
    pub(crate) const fn reason(&self) -> Reason {
        match self.failure {
            Failure::Reference => Reason::InvalidSpec,
            Failure::PullSecret | Failure::CaBundle => Reason::SecretInvalid,
            Failure::Unreachable | Failure::Certificate | Failure::Status(_) => Reason::RegistryUnreachable,
            Failure::Authentication { .. } => Reason::RegistryAuthenticationFailed,
            Failure::NotFound => Reason::ImageNotFound,
            Failure::Answer => Reason::ImageInvalid,
        }
    }

    /// What to do about it. Never holds a secret or the text of an answer.
    pub(crate) fn hint(&self) -> String {
        let image = &self.image;
        match &self.failure {
            Failure::Reference => format!(
                "{image} is not an image reference; write registry/repository:tag or registry/repository@sha256:digest"
            ),
            Failure::PullSecret => format!(
                "a pull secret for {image} in spec.ingest.image.pullSecrets cannot be read; make it with `kubectl create secret docker-registry`"
            ),
            Failure::CaBundle => {
                format!("the CA bundle for the registry of {image} holds no certificate in PEM form")
            }
            Failure::Unreachable => format!(
                "the registry of {image} does not answer; check its name, its address and network policies"
            ),
            Failure::Certificate => format!(
                "the certificate of the registry of {image} is not trusted for that name; give its CA, or fix the certificate"
            ),
            Failure::Status(status) => {
                format!("the registry of {image} answered with HTTP status {status}; it is tried again")
            }
            Failure::Authentication { with_login: true } => {
                format!(
                    "the registry refused the pull secret for {image}; check its user name, password and access to the repository"
                )
            }
            Failure::Authentication { with_login: false } => {
                format!(
                    "the registry wants a login for {image}; name a pull secret for it in spec.ingest.image.pullSecrets"
                )
            }
            Failure::NotFound => {
                format!(
                    "the registry does not know {image}; set spec.ingest.image.reference to one that exists, or push it"
                )
            }
            Failure::Answer => format!(
                "what the registry answers for {image} is not an image; check that the address is a registry"
            ),
        }
    }
}
