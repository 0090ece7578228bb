//! Checked settings: built once from the raw arguments, with every problem reported at once.
//!
//! Reads no file and no clock; secrets are redacted in `Debug`.
//!
//! Settings count from start to end of the process: the environment cannot be read again. What changes while it runs
//! are the contents of the mounted keys file, credentials folder and CA bundle, which are.

mod network;
mod paths;
mod policy;
mod reader;

use std::net::IpAddr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use crate::admission::pace::Rate;
use crate::args::SettingsArgs;
use crate::args::env;

pub use network::Network;
pub use paths::PathSettings;
pub use policy::AdmissionSettings;
pub use policy::IpPolicy;
pub use policy::PolicySettings;
use reader::Reader;

/// Everything that the service is told from outside.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Address of the public port.
    pub listen: SocketAddr,
    /// Address of the admin port.
    pub admin_listen: SocketAddr,
    /// Least level that is logged.
    pub log_level: LogLevel,
    /// Where ingestion keys come from.
    pub keys: KeySettings,
    /// Origins that may send, by exact match.
    pub origins: Vec<String>,
    /// What is served where.
    pub paths: PathSettings,
    /// Proxies whose forwarding header is believed.
    pub trusted_proxies: Vec<Network>,
    /// What one request may hold.
    pub limits: Limits,
    /// What is let in.
    pub admission: AdmissionSettings,
    /// What is kept of what was let in.
    pub policy: PolicySettings,
    /// When a batch is flushed and how much is held.
    pub buffer: BufferSettings,
    /// Where requests are kept until ClickHouse has them; straight to ClickHouse when absent.
    pub spool: Option<SpoolSettings>,
    /// How ClickHouse is reached.
    pub clickhouse: ClickhouseSettings,
    /// How migrations write DDL.
    pub migration: MigrationSettings,
    /// Whether `serve` migrates before it listens.
    pub migrate_on_start: bool,
    /// Time from SIGTERM to the exit at the latest.
    pub drain: Duration,
}

/// Least severity that is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Nothing.
    Silent,
    /// Data loss or a human must act (also what the seed calls `fatal`).
    Error,
    /// Recovered faults.
    Warn,
    /// Life cycle.
    Info,
    /// Per request.
    Debug,
    /// Per event.
    Trace,
}

/// Where ingestion keys come from.
#[derive(Debug, Clone, Default)]
pub struct KeySettings {
    /// Keys given in the environment, named `env-1`, `env-2`, in this order.
    pub plain: Vec<SecretString>,
    /// File of hashed keys.
    pub file: Option<PathBuf>,
    /// Rate of keys without their own.
    pub rate: Option<Rate>,
}

/// What one request and one connection may cost.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of a body, compressed and inflated alike.
    pub max_batch_bytes: usize,
    /// Events of a batch.
    pub max_events_per_batch: usize,
    /// Connections open at once.
    pub max_connections: usize,
}

/// When a batch is flushed and how much is held.
#[derive(Debug, Clone, Copy)]
pub struct BufferSettings {
    /// Rows of a full batch.
    pub flush_max_rows: usize,
    /// Encoded bytes of a full batch.
    pub flush_max_bytes: usize,
    /// Age at which the open batch is flushed.
    pub flush_max_age: Duration,
    /// Bytes held for requests that are not answered yet.
    pub max_bytes: usize,
}

/// A log on disk.
#[derive(Debug, Clone)]
pub struct SpoolSettings {
    /// Its folder; one process uses it at a time.
    pub dir: PathBuf,
    /// Bytes that it may take on disk.
    pub max_bytes: u64,
}

/// How ClickHouse is reached.
#[derive(Debug, Clone)]
pub struct ClickhouseSettings {
    /// HTTP endpoints, tried in order.
    pub endpoints: Vec<Url>,
    /// Whether the endpoints are replicas of one another: then any of them knows the blocks of all.
    pub is_replicated: bool,
    /// User, unless `credentials_dir` is set.
    pub user: String,
    /// Password, unless `credentials_dir` is set.
    pub password: SecretString,
    /// Folder with the files `username` and `password`; wins when set.
    pub credentials_dir: Option<PathBuf>,
    /// PEM bundle trusted besides the public roots.
    pub ca_file: Option<PathBuf>,
    /// Database that holds the tables; a plain identifier.
    pub database: String,
    /// Deadline of one attempt.
    pub timeout: Duration,
}

/// How migrations write DDL.
#[derive(Debug, Clone, Default)]
pub struct MigrationSettings {
    /// User that views run as.
    pub definer: Option<String>,
    /// Cluster that DDL runs on.
    pub cluster: Option<String>,
}

/// Every problem found, one sentence each.
#[derive(Debug, thiserror::Error)]
#[error("invalid settings: {}", .0.join("; "))]
pub struct Invalid(pub Vec<String>);

impl Settings {
    /// Checks the raw arguments; the error lists every problem.
    pub fn from_args(args: &SettingsArgs) -> Result<Self, Invalid> {
        let mut reader = Reader::default();
        let host = reader.parsed::<IpAddr>(env::HOST, args.host.as_ref(), "0.0.0.0", "an IP address");
        let port = reader.port(env::PORT, args.port.as_ref(), 8080);
        let admin_port = reader.port(env::WEIR_ADMIN_PORT, args.admin_port.as_ref(), 9090);
        let settings = Self {
            listen: SocketAddr::new(host, port),
            admin_listen: SocketAddr::new(host, admin_port),
            log_level: reader.log_level(args.log_level.as_ref()),
            keys: key_settings(&mut reader, args),
            origins: reader::list(args.allowed_origins.as_ref()).map(str::to_owned).collect(),
            paths: paths::paths(&mut reader, args),
            trusted_proxies: reader.networks(args.trusted_proxies.as_ref()),
            limits: limits(&mut reader, args),
            admission: policy::admission(&mut reader, args),
            policy: policy::policy(&mut reader, args),
            buffer: buffer_settings(&mut reader, args),
            spool: spool_settings(&mut reader, args),
            clickhouse: clickhouse_settings(&mut reader, args),
            migration: migration_settings(&mut reader, args),
            migrate_on_start: reader::given(args.migrate_on_start.as_ref()) == Some("true"),
            drain: Duration::from_secs(reader.positive(
                env::WEIR_DRAIN_SECONDS,
                args.drain_seconds.as_ref(),
                25,
            )),
        };
        if settings.buffer.max_bytes < settings.buffer.flush_max_bytes {
            reader.problem(format!(
                "{} must be at least {}",
                env::WEIR_BUFFER_MAX_BYTES,
                env::WEIR_FLUSH_MAX_BYTES
            ));
        }
        reader.finish(settings)
    }
}

fn key_settings(reader: &mut Reader, args: &SettingsArgs) -> KeySettings {
    KeySettings {
        plain: reader::list(args.public_api_keys.as_ref()).map(SecretString::from).collect(),
        file: reader::path(args.keys_file.as_ref()),
        rate: reader.rate(env::WEIR_KEY_RATE_LIMIT, args.key_rate_limit.as_ref()),
    }
}

fn limits(reader: &mut Reader, args: &SettingsArgs) -> Limits {
    Limits {
        max_batch_bytes: reader.size(env::MAX_BATCH_BYTES, args.max_batch_bytes.as_ref(), 20_971_520),
        max_events_per_batch: reader.size(
            env::MAX_EVENTS_PER_BATCH,
            args.max_events_per_batch.as_ref(),
            10_000,
        ),
        max_connections: reader.size(env::WEIR_MAX_CONNECTIONS, args.max_connections.as_ref(), 2048),
    }
}

fn buffer_settings(reader: &mut Reader, args: &SettingsArgs) -> BufferSettings {
    BufferSettings {
        flush_max_rows: reader.size(env::WEIR_FLUSH_MAX_ROWS, args.flush_max_rows.as_ref(), 10_000),
        flush_max_bytes: reader.size(env::WEIR_FLUSH_MAX_BYTES, args.flush_max_bytes.as_ref(), 8_388_608),
        flush_max_age: Duration::from_millis(reader.positive(
            env::WEIR_FLUSH_MAX_AGE_MS,
            args.flush_max_age_ms.as_ref(),
            20,
        )),
        max_bytes: reader.size(env::WEIR_BUFFER_MAX_BYTES, args.buffer_max_bytes.as_ref(), 67_108_864),
    }
}

fn spool_settings(reader: &mut Reader, args: &SettingsArgs) -> Option<SpoolSettings> {
    let max_bytes = reader.bytes(env::WEIR_SPOOL_MAX_BYTES, args.spool_max_bytes.as_ref(), 1_073_741_824);
    reader::path(args.spool_dir.as_ref()).map(|dir| SpoolSettings { dir, max_bytes })
}

fn clickhouse_settings(reader: &mut Reader, args: &SettingsArgs) -> ClickhouseSettings {
    ClickhouseSettings {
        endpoints: reader.endpoints(args.clickhouse_url.as_ref()),
        is_replicated: reader::given(args.clickhouse_cluster.as_ref()).is_some(),
        user: reader::given(args.clickhouse_user.as_ref()).unwrap_or("default").to_owned(),
        password: args.clickhouse_password.clone().unwrap_or_default().into(),
        credentials_dir: reader::path(args.clickhouse_credentials_dir.as_ref()),
        ca_file: reader::path(args.clickhouse_ca_file.as_ref()),
        database: reader
            .identifier(env::CLICKHOUSE_DATABASE, args.clickhouse_database.as_ref())
            .unwrap_or_else(|| "product_analytics".to_owned()),
        timeout: Duration::from_millis(reader.positive(
            env::WEIR_CLICKHOUSE_TIMEOUT_MS,
            args.clickhouse_timeout_ms.as_ref(),
            10_000,
        )),
    }
}

fn migration_settings(reader: &mut Reader, args: &SettingsArgs) -> MigrationSettings {
    MigrationSettings {
        definer: reader.identifier(env::WEIR_CLICKHOUSE_DEFINER, args.clickhouse_definer.as_ref()),
        cluster: reader::given(args.clickhouse_cluster.as_ref()).map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_given_means_the_documented_defaults() {
        let settings = Settings::from_args(&SettingsArgs::default()).unwrap();
        assert_eq!(settings.listen, "0.0.0.0:8080".parse().unwrap());
        assert_eq!(settings.admin_listen.port(), 9090);
        assert_eq!(settings.clickhouse.database, "product_analytics");
        assert_eq!(settings.clickhouse.endpoints[0].as_str(), "http://localhost:8123/");
        assert_eq!(settings.limits.max_batch_bytes, 20_971_520);
        assert_eq!(settings.buffer.flush_max_age, Duration::from_millis(20));
        assert!(!settings.migrate_on_start);
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let args = SettingsArgs {
            port: Some("8080x".into()),
            log_level: Some("loud".into()),
            clickhouse_url: Some("ftp://x, http://ok:8123".into()),
            clickhouse_database: Some("a-b".into()),
            trusted_proxies: Some("10.0.0.0/64".into()),
            key_rate_limit: Some("fast".into()),
            ip_policy: Some("hash".into()),
            posthog_paths: Some("maybe".into()),
            path_prefix: Some("ingest".into()),
            ..SettingsArgs::default()
        };
        let problems = Settings::from_args(&args).unwrap_err().0;
        assert_eq!(problems.len(), 9, "{problems:?}");
    }

    #[test]
    fn debug_shows_no_secret() {
        let args = SettingsArgs {
            public_api_keys: Some("alpha-key, beta-key".into()),
            clickhouse_password: Some("swordfish".into()),
            clickhouse_url: Some("http://u:hidden@host:8123".into()),
            ..SettingsArgs::default()
        };
        assert!(!format!("{args:?}").contains("alpha"));
        let problem = Settings::from_args(&args).unwrap_err().to_string();
        assert!(!problem.contains("hidden"), "{problem}");
        let settings = Settings::from_args(&SettingsArgs { clickhouse_url: None, ..args }).unwrap();
        let text = format!("{settings:?}");
        assert!(!text.contains("alpha") && !text.contains("swordfish"), "{text}");
    }
}
