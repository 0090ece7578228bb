//! Statements to ClickHouse over HTTP: one user on the endpoints of one server, typed failures.
//!
//! The `clickhouse` crate is not used here: its errors are text without code and status, and this module must tell a
//! wrong password from a missing right without ever passing the text of an answer on. What is left of it for DDL and a
//! few JSON rows is the short client below. It decides nothing about access; that is `access`.

mod error;
mod transport;

use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use crate::dialer::Barred;

pub(crate) use error::{Error, Failure};
use transport::{Request, Transport};

/// Where a ClickHouse is and how long it may take.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionSettings {
    /// HTTP or HTTPS addresses of the server or of its replicas: scheme, host and port.
    pub(crate) endpoints: Vec<String>,
    /// PEM bundle trusted besides the public roots.
    pub(crate) ca_pem: Option<Vec<u8>>,
    /// Limit of one statement on one endpoint, connecting included.
    pub(crate) timeout: Duration,
    /// Addresses that no endpoint may lead to.
    pub(crate) barred: Barred,
}

/// What a statement is sent for; travels as `log_comment`, so that the server's own logs name the stack.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub(crate) struct Comment {
    /// `<namespace>/<name>` of the stack.
    pub(crate) stack: String,
    /// UID of the stack.
    pub(crate) uid: String,
    /// Generation of the spec.
    pub(crate) generation: i64,
    /// Why, in one word or two: `access`, `prove`, `deletion`.
    pub(crate) reason: String,
}

#[derive(Serialize)]
struct LogComment<'a> {
    weir: &'a Comment,
}

/// One user on the endpoints of one server. Cheap to clone; connections are pooled.
#[derive(Clone)]
pub(crate) struct Connection {
    transport: Arc<Transport>,
    endpoints: Vec<String>,
    user: String,
    password: SecretString,
    comment: Comment,
    // A user that may not change settings cannot send a comment as one.
    is_plain: bool,
    // Of endpoints and CA.
    server: [u8; 32],
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Connection")
            .field("endpoints", &self.endpoints)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Prepares a connection; nothing is sent. Fails when an endpoint or the CA bundle cannot be used.
    pub(crate) fn new(
        settings: &ConnectionSettings,
        user: &str,
        password: SecretString,
        comment: &Comment,
    ) -> Result<Self, Error> {
        let transport = Arc::new(Transport::new(settings)?);
        let endpoints = settings.endpoints.clone();
        let server = digest([endpoints.join(",").as_bytes(), settings.ca_pem.as_deref().unwrap_or_default()]);
        Ok(Self {
            transport,
            endpoints,
            user: user.to_owned(),
            password,
            comment: comment.clone(),
            is_plain: false,
            server,
        })
    }

    /// The same with another comment on its statements.
    pub(crate) fn with_comment(&self, comment: &Comment) -> Self {
        Self { comment: comment.clone(), ..self.clone() }
    }

    /// The same for a user that may not change settings: its statements carry the comment in their text.
    pub(crate) fn plain(&self) -> Self {
        Self { is_plain: true, ..self.clone() }
    }

    /// The same for another reason.
    pub(crate) fn because(&self, reason: &str) -> Self {
        self.with_comment(&Comment { reason: reason.to_owned(), ..self.comment.clone() })
    }

    /// Tells one server and login from another. Kept in memory only.
    pub(crate) fn identity(&self) -> [u8; 32] {
        digest([self.server.as_slice(), self.user.as_bytes(), self.password.expose_secret().as_bytes()])
    }

    /// The same server for another user.
    pub(crate) fn with_login(&self, user: &str, password: SecretString) -> Self {
        Self { user: user.to_owned(), password, ..self.clone() }
    }

    /// The same user on each endpoint alone.
    pub(crate) fn each_endpoint(&self) -> Vec<Self> {
        self.endpoints
            .iter()
            .map(|endpoint| Self { endpoints: vec![endpoint.clone()], ..self.clone() })
            .collect()
    }

    /// Name of the user.
    pub(crate) fn user(&self) -> &str {
        &self.user
    }

    /// First endpoint, for messages.
    pub(crate) fn endpoint(&self) -> &str {
        self.endpoints.first().map_or("", String::as_str)
    }

    /// Runs a statement whose answer does not matter.
    pub(crate) async fn execute(&self, statement: &str) -> Result<(), Error> {
        self.send(statement, "JSONEachRow").await.map(|_| ())
    }

    /// Runs a query and reads its rows.
    pub(crate) async fn rows<T: DeserializeOwned>(&self, query: &str) -> Result<Vec<T>, Error> {
        let body = self.send(query, "JSONEachRow").await?;
        body.split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| {
                serde_json::from_slice(line).map_err(|_| Error::new(self.endpoint(), Failure::Answer))
            })
            .collect()
    }

    /// Runs a query that answers with one value, and returns it as text.
    pub(crate) async fn value(&self, query: &str) -> Result<String, Error> {
        let body = self.send(query, "TabSeparatedRaw").await?;
        let text =
            String::from_utf8(body.to_vec()).map_err(|_| Error::new(self.endpoint(), Failure::Answer))?;
        Ok(text.trim_end_matches('\n').to_owned())
    }

    // Only a connection that could not be made moves on to the next endpoint: whatever has been sent may have been done.
    async fn send(&self, statement: &str, format: &str) -> Result<bytes::Bytes, Error> {
        let mut failure = Error::new("", Failure::NoEndpoint);
        let log_comment = log_comment(&self.comment);
        let given = [
            ("default_format", format),
            // Without it an error in the middle of an answer arrives with status 200.
            ("wait_end_of_query", "1"),
            ("log_comment", log_comment.as_str()),
            ("async_insert", "0"),
            ("output_format_json_quote_64bit_integers", "0"),
        ];
        // The first two are no settings but parameters of the interface.
        let settings = if self.is_plain { &given[..2] } else { &given[..] };
        let commented = format!("/* {} */ {statement}", log_comment.replace("*/", "* /"));
        let statement = if self.is_plain { commented.as_str() } else { statement };
        for endpoint in &self.endpoints {
            let (user, password) = (self.user.as_str(), &self.password);
            let request = Request { endpoint, user, password, settings, statement };
            match self.transport.send(request).await {
                Err(error) if error.is_unconnected() => failure = error,
                answered => return answered,
            }
        }
        Err(failure)
    }
}

fn digest<const PARTS: usize>(parts: [&[u8]; PARTS]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

fn log_comment(comment: &Comment) -> String {
    serde_json::to_string(&LogComment { weir: comment }).unwrap_or_default()
}
