//! A running service with its own database, and a client for both.

use std::net::SocketAddr;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::Method;
use http::Request;
use http::StatusCode;
use http_body_util::BodyExt as _;
use http_body_util::Full;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use weir_ingest::args::SettingsArgs;
use weir_ingest::clickhouse::Client;
use weir_ingest::migrate;
use weir_ingest::service::Ended;
use weir_ingest::service::Service;
use weir_ingest::settings::Settings;

pub(crate) const ORIGIN: &str = "https://app.example";

/// A service that is running, and its database.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) database: String,
    pub(crate) clickhouse: Client,
    http: HttpClient<HttpConnector, Full<Bytes>>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Ended>,
}

/// How long the test itself waits for ClickHouse, however little time the service gives it.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long ClickHouse has for an answer, and a claim to migrate lives where nobody else wants it: beside a hundred tests
/// ClickHouse may keep silent for longer than a real one does.
pub(crate) const UNDISTURBED: Duration = Duration::from_mins(2);

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

/// The settings of a test: ports of the system's choice, two keys, one origin, a database of its own.
pub(crate) fn settings() -> SettingsArgs {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let url = env("WEIR_TEST_CLICKHOUSE_URL").expect(
        "WEIR_TEST_CLICKHOUSE_URL must name a ClickHouse for these tests; `cargo verify` starts one and sets it",
    );
    SettingsArgs {
        host: Some("127.0.0.1".into()),
        port: Some("0".into()),
        admin_port: Some("0".into()),
        public_api_keys: Some("first-key, second-key".into()),
        allowed_origins: Some(ORIGIN.into()),
        clickhouse_url: Some(url),
        clickhouse_user: env("WEIR_TEST_CLICKHOUSE_USER"),
        clickhouse_password: env("WEIR_TEST_CLICKHOUSE_PASSWORD"),
        clickhouse_database: Some(format!("weir_it_{}_{count}", std::process::id())),
        clickhouse_timeout_ms: Some(UNDISTURBED.as_millis().to_string()),
        ..SettingsArgs::default()
    }
}

/// The same without PostHog's paths.
pub(crate) fn seed_settings() -> SettingsArgs {
    SettingsArgs { posthog_paths: Some("false".into()), ..settings() }
}

/// The same without any origin, as for keys that pages of every origin may use.
pub(crate) fn open_settings() -> SettingsArgs {
    SettingsArgs { allowed_origins: None, ..settings() }
}

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Migrates a new database and serves it.
pub(crate) async fn start() -> Running {
    start_with(settings()).await
}

/// Migrates the database of the settings and serves it.
pub(crate) async fn start_with(args: SettingsArgs) -> Running {
    let settings = Settings::from_args(&args).unwrap();
    let clickhouse = Client::new(&settings.clickhouse).unwrap();
    migrated(&settings, &clickhouse).await;
    serve(&settings, clickhouse).await
}

/// Migrates the database of the settings, which nobody else does meanwhile.
pub(crate) async fn migrated(settings: &Settings, clickhouse: &Client) {
    let mut options = migrate::Options::from_settings(settings, None).unwrap();
    options.lock_times.expiry = UNDISTURBED;
    migrate::apply(clickhouse, &options).await.unwrap();
}

/// Serves without migrating; `clickhouse` is what the test itself asks.
pub(crate) async fn serve(settings: &Settings, clickhouse: Client) -> Running {
    let service = Service::bind(settings).await.unwrap();
    let address = service.address().unwrap();
    let admin = service.admin_address().unwrap();
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(service.run(async move {
        stopped.await.unwrap_or(());
    }));
    Running {
        address,
        admin,
        database: settings.clickhouse.database.clone(),
        clickhouse: clickhouse.with_timeout(PATIENCE),
        http: HttpClient::builder(TokioExecutor::new()).build_http(),
        stop: Some(stop),
        task,
    }
}

impl Running {
    /// Posts JSON to `/batch/` with more headers.
    pub(crate) async fn post(&self, body: impl Into<Bytes>, headers: &[(&str, &str)]) -> Answer {
        let mut all = vec![("content-type", "application/json")];
        all.extend_from_slice(headers);
        self.request(Method::POST, "/batch/", body, &all).await
    }

    /// Posts a batch that must be accepted, and returns (ingested, dropped).
    pub(crate) async fn accepted(&self, body: Value) -> (u64, u64) {
        let answer = self.post(body.to_string(), &[]).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        (answer.body["ingested"].as_u64().unwrap(), answer.body["dropped"].as_u64().unwrap())
    }

    /// Any request to the public port.
    pub(crate) async fn request(
        &self,
        method: Method,
        path: &str,
        body: impl Into<Bytes>,
        headers: &[(&str, &str)],
    ) -> Answer {
        self.send(self.address, method, path, body.into(), headers).await
    }

    /// Posts JSON to `/batch/` of another process.
    pub(crate) async fn post_to(&self, address: SocketAddr, body: impl Into<Bytes>) -> Answer {
        let headers = [("content-type", "application/json")];
        self.send(address, Method::POST, "/batch/", body.into(), &headers).await
    }

    /// A GET on the admin port.
    pub(crate) async fn admin(&self, path: &str) -> Answer {
        self.send(self.admin, Method::GET, path, Bytes::new(), &[]).await
    }

    async fn send(
        &self,
        address: SocketAddr,
        method: Method,
        path: &str,
        body: Bytes,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("http://{address}{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.http.request(request.body(Full::new(body)).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        Answer { status: head.status, headers: head.headers, body }
    }

    /// One value from the service's database, as text.
    pub(crate) async fn value(&self, sql: &str) -> String {
        self.clickhouse.query_text(&format!("{sql} FORMAT TSVRaw")).await.unwrap().trim_end().to_owned()
    }

    /// Waits until the admin port says that the service is ready.
    pub(crate) async fn ready(&self) {
        eventually(async || self.admin("/readyz").await.status == 200).await;
    }

    /// Asks for the end, as SIGTERM does; the service goes on until [`Running::ended`].
    pub(crate) fn terminate(&mut self) {
        drop(self.stop.take());
    }

    /// Waits for the end.
    pub(crate) async fn ended(self) -> Ended {
        self.task.await.unwrap()
    }

    /// Ends the test: the database goes.
    pub(crate) async fn clean(self) {
        let drop_database = format!("DROP DATABASE IF EXISTS {}", self.database);
        self.clickhouse.without_database().execute(&drop_database).await.unwrap();
        self.task.abort();
    }
}

/// Waits until a condition holds, for ten seconds at most.
pub(crate) async fn eventually(mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait)
        .await
        .expect("the condition holds within ten seconds");
}
