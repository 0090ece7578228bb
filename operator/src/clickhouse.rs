//! Statements to ClickHouse over HTTP: one user on the endpoints of one server, typed failures.
//!
//! The `clickhouse` crate is not used here: its errors are text without code and status, and this module must tell a
//! wrong password from a missing right without ever passing the text of an answer on. What is left of it for DDL and a
//! few JSON rows is the short client below. It decides nothing about access; that is `access`.

mod error;
mod transport;

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use serde::Serialize;
use serde::de::DeserializeOwned;

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
    log_comment: String,
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
        Ok(Self { transport, endpoints, user: user.to_owned(), password, log_comment: log_comment(comment) })
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
        for endpoint in &self.endpoints {
            let request = Request {
                endpoint,
                user: &self.user,
                password: &self.password,
                settings: &[
                    ("log_comment", self.log_comment.as_str()),
                    ("default_format", format),
                    // Without it an error in the middle of an answer arrives with status 200.
                    ("wait_end_of_query", "1"),
                    ("async_insert", "0"),
                    ("output_format_json_quote_64bit_integers", "0"),
                ],
                statement,
            };
            match self.transport.send(request).await {
                Err(error) if error.is_unconnected() => failure = error,
                answered => return answered,
            }
        }
        Err(failure)
    }
}

fn log_comment(comment: &Comment) -> String {
    serde_json::to_string(&LogComment { weir: comment }).unwrap_or_default()
}
