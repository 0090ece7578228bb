//! How a development server is set up.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// Everything that a server is started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// The engine's library, `libchdb.so`.
    pub engine: PathBuf,
    /// The `weir-e2e` program, which is started again to carry the engine.
    pub launcher: PathBuf,
    /// Where data, users and certificates live; created when missing, and kept.
    pub data: PathBuf,
    /// Plain HTTP.
    pub http: SocketAddr,
    /// HTTPS, when wanted.
    pub https: Option<Https>,
    /// The control endpoint for faults and imports. It asks for no password: keep it on loopback.
    pub control: SocketAddr,
    /// The account with every right.
    pub admin_user: String,
    /// Its password.
    pub admin_password: String,
    /// How long a restart waits for requests in flight before it kills their queries.
    pub drain: Duration,
}

/// Where HTTPS listens and what it shows.
#[derive(Debug, Clone)]
pub struct Https {
    /// The address.
    pub address: SocketAddr,
    /// The certificate.
    pub certificate: Certificate,
}

/// The certificate of the HTTPS port.
#[derive(Debug, Clone)]
pub enum Certificate {
    /// PEM files of a chain and its key.
    Files {
        /// The chain, leaf first.
        chain: PathBuf,
        /// The private key.
        key: PathBuf,
    },
    /// Issued by a CA that the server makes and keeps in its data folder.
    Generated {
        /// DNS names and addresses besides `localhost` and the loopback addresses.
        names: Vec<String>,
    },
}

impl Options {
    /// A server on free loopback ports, with HTTPS, and with the account `admin`.
    pub fn new(engine: PathBuf, launcher: PathBuf, data: PathBuf, admin_password: &str) -> Self {
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let https = Https { address: free, certificate: Certificate::Generated { names: Vec::new() } };
        Self {
            engine,
            launcher,
            data,
            http: free,
            https: Some(https),
            control: free,
            admin_user: "admin".to_owned(),
            admin_password: admin_password.to_owned(),
            drain: Duration::from_secs(30),
        }
    }
}
