//! ClickHouse over HTTP: inserts of ready bytes, statements, and small answers.
//!
//! Sends each call to the preferred endpoint and moves on to the next one when an endpoint fails. A call is repeated
//! here only when it is certain that ClickHouse never saw it; every other retry is the caller's decision, made on
//! [`Error::class`]. Credentials travel in headers, never in a URL, and no error shows them or the statement.

mod classify;
mod credentials;
mod error;
mod request;
mod tls;
mod trust;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt as _;
use http_body_util::Full;
use http_body_util::LengthLimitError;
use http_body_util::Limited;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use hyper_util::rt::TokioTimer;
use rustls::crypto::aws_lc_rs;
use url::Url;

use crate::reload::Reloads;
use crate::settings::ClickhouseSettings;
use credentials::Credentials;
use trust::Trust;

pub use error::Class;
pub use error::Error;
pub use error::SetupError;

/// Largest answer that is read.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// Shorter than ClickHouse's own keep-alive, so that the server is never the first to close.
const IDLE_TIMEOUT: Duration = Duration::from_secs(8);

/// A handle to ClickHouse; clones share connections and credentials.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
    maybe_database: Option<Arc<str>>,
    timeout: Duration,
}

#[derive(Debug)]
struct Shared {
    http: HttpClient<HttpsConnector<HttpConnector>, Full<Bytes>>,
    endpoints: Vec<Url>,
    preferred: AtomicUsize,
    credentials: Credentials,
    trust: Arc<Trust>,
}

/// One call, before it is bound to an endpoint and a login.
struct Call<'a> {
    maybe_statement: Option<&'a str>,
    settings: &'a [(&'a str, &'a str)],
    body: Bytes,
    timeout: Duration,
}

impl Client {
    /// Reads the credentials folder and the CA bundle, when given; connects to nothing yet.
    pub fn new(settings: &ClickhouseSettings) -> Result<Self, SetupError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let trust = Trust::open(settings.ca_file.as_deref(), Arc::clone(&provider))?;
        let connector = tls::connector(provider, Arc::clone(&trust))?;
        let http = HttpClient::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_timer(TokioTimer::new())
            .build(connector);
        let shared = Shared {
            http,
            endpoints: settings.endpoints.clone(),
            preferred: AtomicUsize::new(0),
            credentials: Credentials::open(settings)?,
            trust,
        };
        if shared.endpoints.is_empty() {
            return Err(SetupError::NoEndpoint);
        }
        Ok(Self {
            shared: Arc::new(shared),
            maybe_database: Some(settings.database.as_str().into()),
            timeout: settings.timeout,
        })
    }

    /// The same handle with no default database: for work that may come before the database exists.
    #[must_use]
    pub fn without_database(&self) -> Self {
        Self { maybe_database: None, ..self.clone() }
    }

    /// The same handle with another time limit for statements and queries.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self { timeout, ..self.clone() }
    }

    /// The user that calls are made as at this moment.
    pub async fn user(&self) -> String {
        self.shared.credentials.refresh_when_due().await;
        self.shared.credentials.current().user.clone()
    }

    /// What has become of changes of the credentials folder.
    pub fn credential_reloads(&self) -> &Reloads {
        self.shared.credentials.reloads()
    }

    /// What has become of changes of the CA bundle.
    pub fn ca_reloads(&self) -> &Reloads {
        self.shared.trust.reloads()
    }

    /// Follows the CA bundle until the future is dropped.
    pub async fn follow_ca(&self) {
        self.shared.trust.follow().await;
    }

    /// Inserts ready bytes: `statement` ends in `FORMAT ...`, `body` is in that format.
    ///
    /// Returns once ClickHouse has confirmed the insert. The statement travels in the URL: it holds no secret.
    pub async fn insert(
        &self,
        statement: &str,
        settings: &[(&str, &str)],
        body: Bytes,
        timeout: Duration,
    ) -> Result<(), Error> {
        let call = Call { maybe_statement: Some(statement), settings, body, timeout };
        self.send(&call).await.map(drop)
    }

    /// Runs one statement and throws its output away.
    pub async fn execute(&self, sql: &str) -> Result<(), Error> {
        self.query_text(sql).await.map(drop)
    }

    /// Runs one statement and returns its whole output as text; put the `FORMAT` in the statement.
    pub async fn query_text(&self, sql: &str) -> Result<String, Error> {
        let body = Bytes::copy_from_slice(sql.as_bytes());
        let call = Call { maybe_statement: None, settings: &[], body, timeout: self.timeout };
        let answer = self.send(&call).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    async fn send(&self, call: &Call<'_>) -> Result<Bytes, Error> {
        let credentials = &self.shared.credentials;
        credentials.refresh_when_due().await;
        match self.send_as_current(call).await {
            // The mounted pair changed while it was read, or since it was read last.
            Err(error) if error.class() == Class::Auth && credentials.refresh().await => {
                self.send_as_current(call).await
            }
            answered => answered,
        }
    }

    async fn send_as_current(&self, call: &Call<'_>) -> Result<Bytes, Error> {
        let count = self.shared.endpoints.len();
        let first = self.shared.preferred.load(Ordering::Relaxed);
        let mut failure = None;
        for index in (first..first + count).map(|index| index % count) {
            let error = match tokio::time::timeout(call.timeout, self.attempt(index, call)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => error,
                Err(_) => Error::Timeout(call.timeout),
            };
            if matches!(error.class(), Class::Transient | Class::Unknown) {
                self.shared.preferred.store((index + 1) % count, Ordering::Relaxed);
            }
            if !error.is_unsent() {
                return Err(error);
            }
            failure = Some(error);
        }
        Err(failure.expect("there is at least one endpoint"))
    }

    async fn attempt(&self, index: usize, call: &Call<'_>) -> Result<Bytes, Error> {
        let request = self.build_request(&self.shared.endpoints[index], call)?;
        let response = self.shared.http.request(request).await.map_err(Error::from_transport)?;
        let (head, body) = response.into_parts();
        let answer = match Limited::new(body, MAX_ANSWER_BYTES).collect().await {
            Ok(collected) => collected.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => return Err(Error::TooLarge(MAX_ANSWER_BYTES)),
            Err(error) => return Err(Error::Cut(error)),
        };
        match classify::failure(head.status, &head.headers, &answer) {
            Some(error) => Err(error),
            None => Ok(answer),
        }
    }

    fn build_request(&self, endpoint: &Url, call: &Call<'_>) -> Result<Request<Full<Bytes>>, Error> {
        let login = self.shared.credentials.current();
        let uri = request::uri(endpoint, call.maybe_statement, call.settings);
        let mut request = Request::post(uri).body(Full::new(call.body.clone())).map_err(Error::Request)?;
        request::put_headers(request.headers_mut(), &login, self.maybe_database.as_deref())
            .map_err(|error| Error::Request(error.into()))?;
        Ok(request)
    }
}
