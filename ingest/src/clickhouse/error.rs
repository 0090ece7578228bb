//! What can go wrong with a call to ClickHouse, and what it means for the caller.
//!
//! Neither `Display` nor `Debug` shows what ClickHouse wrote: its texts quote statements and data. Only
//! [`Error::detail`] does, for callers whose statements hold no secret.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use hyper_util::client::legacy::Error as TransportError;

use super::classify;

/// What a failed call means for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Nothing was stored; the same call can succeed later.
    Transient,
    /// Nothing was stored, and the same call will be refused again until something else changes.
    Definite,
    /// The login or its rights are not sufficient; nothing was stored.
    Auth,
    /// Nobody knows whether it was stored: repeat the same bytes with the same deduplication token.
    Unknown,
}

type Source = Box<dyn StdError + Send + Sync>;

/// A call to ClickHouse that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// ClickHouse refused the statement with an exception code.
    #[error("ClickHouse refused with code {code} ({name})")]
    Refused {
        /// Number of the exception.
        code: i32,
        /// Symbolic name of the exception, as ClickHouse gave it.
        name: String,
        /// Text of the exception, kept out of every output.
        detail: Detail,
    },
    /// An answer without an exception code: usually of a proxy.
    #[error("status {0} in place of an answer of ClickHouse")]
    Status(u16),
    /// No connection was made; ClickHouse saw nothing.
    #[error("failed to connect to ClickHouse")]
    Connect(#[source] Source),
    /// The connection ended before the answer did.
    #[error("the connection to ClickHouse was cut")]
    Cut(#[source] Source),
    /// The deadline of the call passed.
    #[error("ClickHouse did not answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// The answer is larger than any that is expected.
    #[error("the answer of ClickHouse is over {0} bytes")]
    TooLarge(usize),
    /// User, password or endpoint cannot be put into a request.
    #[error("failed to build the request to ClickHouse")]
    Request(#[source] http::Error),
}

/// Text that may quote a statement; prints as nothing.
#[derive(Clone)]
pub struct Detail(pub(super) String);

impl fmt::Debug for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[withheld]")
    }
}

impl Error {
    /// What the failure means for the caller.
    pub fn class(&self) -> Class {
        match self {
            Self::Refused { code, .. } => classify::class_of_code(*code),
            Self::Status(status) => classify::class_of_status(*status),
            Self::Connect(_) => Class::Transient,
            Self::Cut(_) | Self::Timeout(_) => Class::Unknown,
            Self::TooLarge(_) | Self::Request(_) => Class::Definite,
        }
    }

    /// Number of the exception, when ClickHouse itself refused.
    pub fn code(&self) -> Option<i32> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Name of the exception, when ClickHouse itself refused.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Refused { name, .. } => Some(name),
            _ => None,
        }
    }

    /// Whether ClickHouse refused because of the rows, so that other rows of the same block may be stored.
    pub fn is_data_fault(&self) -> bool {
        self.code().is_some_and(classify::is_data_fault)
    }

    /// What ClickHouse wrote, cut to a paragraph. It may quote the statement.
    pub fn detail(&self) -> Option<&str> {
        match self {
            Self::Refused { detail, .. } => Some(&detail.0),
            _ => None,
        }
    }

    /// Whether ClickHouse may have begun with the call and then refused it, for now.
    pub fn is_passing_refusal(&self) -> bool {
        self.class() == Class::Transient && !self.is_unsent()
    }

    /// Whether it is certain that no endpoint saw the call.
    pub(super) fn is_unsent(&self) -> bool {
        matches!(self, Self::Connect(_))
    }

    pub(super) fn from_transport(error: TransportError) -> Self {
        if error.is_connect() { Self::Connect(error.into()) } else { Self::Cut(error.into()) }
    }
}

/// Settings that no call can be made with.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The list of endpoints is empty.
    #[error("no ClickHouse endpoint is set")]
    NoEndpoint,
    /// The credentials folder cannot be read.
    #[error("failed to read username and password in {}", folder.display())]
    Credentials {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The CA bundle cannot be read.
    #[error("failed to read the CA bundle {}", file.display())]
    CaFile {
        /// The bundle.
        file: PathBuf,
        /// Why.
        source: rustls_pki_types::pem::Error,
    },
    /// The CA bundle holds no certificate.
    #[error("no certificate in the CA bundle {}", .0.display())]
    EmptyCaFile(PathBuf),
    /// TLS cannot be set up, or a certificate of the bundle is unusable.
    #[error("failed to set up TLS for ClickHouse")]
    Tls(#[source] rustls::Error),
}
