//! ClickHouse over HTTP: inserts of ready bytes, statements, and small answers.
//!
//! Sends each call to the first endpoint that works. A call is repeated here only when it is certain that ClickHouse
//! never saw it; every other retry is the caller's decision, made on [`Error::class`]. Credentials travel in headers, never in a URL, and no error shows them or the statement.

mod body;
mod classify;
mod credentials;
mod endpoint;
mod error;
mod request;
mod tls;
mod trust;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt as _;
use http_body_util::LengthLimitError;
use http_body_util::Limited;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use hyper_util::rt::TokioTimer;
use rustls::crypto::aws_lc_rs;
use tokio::time::Instant;
use url::Url;

use crate::pieces::Pieces;
use crate::reload::Reloads;
use crate::settings::ClickhouseSettings;
use body::Outgoing;
use credentials::Credentials;
use endpoint::Endpoints;
use trust::Trust;

pub use endpoint::Route;
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
    http: HttpClient<HttpsConnector<HttpConnector>, Outgoing>,
    endpoints: Endpoints,
    /// Whether the endpoints know one another's deduplication tokens.
    is_replicated: bool,
    credentials: Credentials,
    trust: Arc<Trust>,
}

/// How long an endpoint that failed may take to say that it is there again.
const PING_TIMEOUT: Duration = Duration::from_secs(1);

/// One call, before it is bound to an endpoint and a login.
struct Call<'a> {
    maybe_statement: Option<&'a str>,
    settings: &'a [(&'a str, &'a str)],
    body: Pieces,
    timeout: Duration,
}

/// Ready bytes for a table.
#[derive(Debug)]
pub struct Insert<'a> {
    /// Statement that ends in `FORMAT ...`. It travels in the URL: it holds no secret.
    pub statement: &'a str,
    /// Settings of the statement.
    pub settings: &'a [(&'a str, &'a str)],
    /// Rows in that format.
    pub body: Pieces,
    /// How long the attempt may take.
    pub timeout: Duration,
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
            endpoints: Endpoints::new(&settings.endpoints),
            is_replicated: settings.is_replicated,
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
        body: impl Into<Pieces>,
        timeout: Duration,
    ) -> Result<(), Error> {
        let insert = Insert { statement, settings, body: body.into(), timeout };
        self.insert_along(&insert, &mut Route::default()).await
    }

    /// Makes one attempt to insert; the route remembers what this attempt says about the next one.
    pub async fn insert_along(&self, insert: &Insert<'_>, route: &mut Route) -> Result<(), Error> {
        let Insert { statement, settings, body, timeout } = insert;
        let call = Call { maybe_statement: Some(statement), settings, body: body.clone(), timeout: *timeout };
        self.send(&call, route).await.map(drop)
    }

    /// Whether what the route's endpoint knows of deduplication tokens is sure to be whole since then: it has not died.
    ///
    /// A single server that is killed between a token and its part knows the token and has no part. Replicas keep both in
    /// one transaction. No right is needed to ask; who gives no answer is not sure.
    pub async fn has_run_since(&self, moment: Instant, route: &mut Route) -> bool {
        if self.shared.is_replicated {
            return true;
        }
        let Ok(answer) = self.query_along("SELECT uptime() FORMAT TabSeparated", route).await else {
            return false;
        };
        let maybe_seconds = std::str::from_utf8(&answer).ok().and_then(|text| text.trim().parse().ok());
        // Whole seconds, rounded down.
        maybe_seconds.is_some_and(|seconds| Duration::from_secs(seconds) >= moment.elapsed())
    }

    /// Runs one statement and throws its output away.
    pub async fn execute(&self, sql: &str) -> Result<(), Error> {
        self.query_text(sql).await.map(drop)
    }

    /// Runs one statement and returns its whole output as text; put the `FORMAT` in the statement.
    pub async fn query_text(&self, sql: &str) -> Result<String, Error> {
        Ok(String::from_utf8_lossy(&self.query_bytes(sql).await?).into_owned())
    }

    /// Runs one statement and returns its whole output as it comes.
    pub async fn query_bytes(&self, sql: &str) -> Result<Bytes, Error> {
        self.query_along(sql, &mut Route::default()).await
    }

    async fn query_along(&self, sql: &str, route: &mut Route) -> Result<Bytes, Error> {
        let body = Pieces::from(Bytes::copy_from_slice(sql.as_bytes()));
        let call = Call { maybe_statement: None, settings: &[], body, timeout: self.timeout };
        self.send(&call, route).await
    }

    async fn send(&self, call: &Call<'_>, route: &mut Route) -> Result<Bytes, Error> {
        let credentials = &self.shared.credentials;
        credentials.refresh_when_due().await;
        match self.send_as_current(call, route).await {
            // The mounted pair changed while it was read, or since it was read last.
            Err(error) if error.class() == Class::Auth && credentials.refresh().await => {
                self.send_as_current(call, route).await
            }
            answered => answered,
        }
    }

    async fn send_as_current(&self, call: &Call<'_>, route: &mut Route) -> Result<Bytes, Error> {
        let endpoints = &self.shared.endpoints;
        let candidates = endpoints.candidates(route);
        let mut failure = None;
        for (position, candidate) in candidates.iter().enumerate() {
            let is_last = position + 1 == candidates.len();
            if candidate.is_suspect && !is_last && !self.is_back(candidate.index).await {
                continue;
            }
            let error = match tokio::time::timeout(call.timeout, self.attempt(candidate.index, call)).await {
                Ok(Ok(answer)) => {
                    endpoints.works(candidate.index);
                    return Ok(answer);
                }
                Ok(Err(error)) => error,
                Err(_) => Error::Timeout(call.timeout),
            };
            if matches!(error.class(), Class::Transient | Class::Unknown) {
                endpoints.failed(candidate.index);
            }
            if error.class() == Class::Unknown && !self.shared.is_replicated {
                route.maybe_pinned = Some(candidate.index);
            }
            if !error.is_unsent() {
                return Err(error);
            }
            failure = Some(error);
        }
        Err(failure.expect("the last endpoint is always tried"))
    }

    /// Whether an endpoint that failed answers again, whatever it answers.
    async fn is_back(&self, index: usize) -> bool {
        let uri = request::ping_uri(self.shared.endpoints.url(index));
        let Ok(request) = Request::get(uri).body(Outgoing::new(Pieces::default())) else { return false };
        let answered = tokio::time::timeout(PING_TIMEOUT, self.shared.http.request(request)).await;
        matches!(answered, Ok(Ok(response)) if !response.status().is_server_error())
    }

    async fn attempt(&self, index: usize, call: &Call<'_>) -> Result<Bytes, Error> {
        let request = self.build_request(self.shared.endpoints.url(index), call)?;
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

    fn build_request(&self, endpoint: &Url, call: &Call<'_>) -> Result<Request<Outgoing>, Error> {
        let login = self.shared.credentials.current();
        let uri = request::uri(endpoint, call.maybe_statement, call.settings);
        let mut request =
            Request::post(uri).body(Outgoing::new(call.body.clone())).map_err(Error::Request)?;
        request::put_headers(request.headers_mut(), &login, self.maybe_database.as_deref())
            .map_err(|error| Error::Request(error.into()))?;
        Ok(request)
    }
}
