//! The command line: every setting as a flag and an environment variable, as text.
//!
//! Nothing is parsed or defaulted here, so that `settings` can report every problem at once and an empty
//! variable means its default, as deployments expect.

use clap::Args as ClapArgs;
use clap::Parser;
use clap::Subcommand;

/// Environment names, each written once; flags carry the same words.
pub mod env {
    /// Address that the public port binds.
    pub const HOST: &str = "HOST";
    /// Public port.
    pub const PORT: &str = "PORT";
    /// Least level that is logged.
    pub const LOG_LEVEL: &str = "LOG_LEVEL";
    /// Comma list of plain ingestion keys.
    pub const PUBLIC_API_KEYS: &str = "PUBLIC_API_KEYS";
    /// Comma list of browser origins.
    pub const ALLOWED_ORIGINS: &str = "ALLOWED_ORIGINS";
    /// Limit of a request body, compressed and inflated.
    pub const MAX_BATCH_BYTES: &str = "MAX_BATCH_BYTES";
    /// Limit of events in one request.
    pub const MAX_EVENTS_PER_BATCH: &str = "MAX_EVENTS_PER_BATCH";
    /// Comma list of ClickHouse HTTP endpoints.
    pub const CLICKHOUSE_URL: &str = "CLICKHOUSE_URL";
    /// ClickHouse user.
    pub const CLICKHOUSE_USER: &str = "CLICKHOUSE_USER";
    /// ClickHouse password.
    pub const CLICKHOUSE_PASSWORD: &str = "CLICKHOUSE_PASSWORD";
    /// Database that holds the tables.
    pub const CLICKHOUSE_DATABASE: &str = "CLICKHOUSE_DATABASE";
    /// Whether `serve` migrates first.
    pub const MIGRATE_ON_START: &str = "MIGRATE_ON_START";
    /// Admin port.
    pub const WEIR_ADMIN_PORT: &str = "WEIR_ADMIN_PORT";
    /// File of hashed keys.
    pub const WEIR_KEYS_FILE: &str = "WEIR_KEYS_FILE";
    /// Folder with `username` and `password`.
    pub const WEIR_CLICKHOUSE_CREDENTIALS_DIR: &str = "WEIR_CLICKHOUSE_CREDENTIALS_DIR";
    /// PEM bundle for https endpoints.
    pub const WEIR_CLICKHOUSE_CA_FILE: &str = "WEIR_CLICKHOUSE_CA_FILE";
    /// Deadline of one insert attempt.
    pub const WEIR_CLICKHOUSE_TIMEOUT_MS: &str = "WEIR_CLICKHOUSE_TIMEOUT_MS";
    /// User that views run as.
    pub const WEIR_CLICKHOUSE_DEFINER: &str = "WEIR_CLICKHOUSE_DEFINER";
    /// Cluster that DDL runs on.
    pub const WEIR_CLICKHOUSE_CLUSTER: &str = "WEIR_CLICKHOUSE_CLUSTER";
    /// Rows of a full batch.
    pub const WEIR_FLUSH_MAX_ROWS: &str = "WEIR_FLUSH_MAX_ROWS";
    /// Encoded bytes of a full batch.
    pub const WEIR_FLUSH_MAX_BYTES: &str = "WEIR_FLUSH_MAX_BYTES";
    /// Age at which a batch is flushed.
    pub const WEIR_FLUSH_MAX_AGE_MS: &str = "WEIR_FLUSH_MAX_AGE_MS";
    /// Bytes held for requests that are not answered yet.
    pub const WEIR_BUFFER_MAX_BYTES: &str = "WEIR_BUFFER_MAX_BYTES";
    /// Folder of the spool.
    pub const WEIR_SPOOL_DIR: &str = "WEIR_SPOOL_DIR";
    /// Bytes that the spool may take on disk.
    pub const WEIR_SPOOL_MAX_BYTES: &str = "WEIR_SPOOL_MAX_BYTES";
    /// Time for an orderly end.
    pub const WEIR_DRAIN_SECONDS: &str = "WEIR_DRAIN_SECONDS";
    /// Networks whose forwarding header is believed.
    pub const WEIR_TRUSTED_PROXIES: &str = "WEIR_TRUSTED_PROXIES";
    /// Whether the paths of PostHog's SDKs are served.
    pub const WEIR_POSTHOG_PATHS: &str = "WEIR_POSTHOG_PATHS";
    /// Path under which everything is served as well.
    pub const WEIR_PATH_PREFIX: &str = "WEIR_PATH_PREFIX";
    /// Open connections on the public port.
    pub const WEIR_MAX_CONNECTIONS: &str = "WEIR_MAX_CONNECTIONS";
    /// Rate of a key without its own.
    pub const WEIR_KEY_RATE_LIMIT: &str = "WEIR_KEY_RATE_LIMIT";
    /// Rate of a client address.
    pub const WEIR_ADDRESS_RATE_LIMIT: &str = "WEIR_ADDRESS_RATE_LIMIT";
    /// Body that is looked through for a key.
    pub const WEIR_UNAUTHENTICATED_BYTES: &str = "WEIR_UNAUTHENTICATED_BYTES";
    /// Limit of one event in PostHog's dialect.
    pub const WEIR_MAX_EVENT_BYTES: &str = "WEIR_MAX_EVENT_BYTES";
    /// What is stored of client addresses.
    pub const WEIR_IP_POLICY: &str = "WEIR_IP_POLICY";
    /// Properties that are not stored.
    pub const WEIR_PROPERTY_DENYLIST: &str = "WEIR_PROPERTY_DENYLIST";
}

/// Ingest service for product analytics on ClickHouse.
#[derive(Debug, Parser)]
#[command(name = "weir-ingest", version, about)]
pub struct Args {
    /// Settings, the same for every subcommand.
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// What to do; `serve` when absent.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What the binary can do.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Take events over HTTP and store them (the default).
    Serve,
    /// Bring the schema of the database to the version that this binary serves.
    Migrate(MigrateArgs),
    /// Print the range of schema versions that this binary serves, as JSON.
    Schema,
    /// Show what lies in the spool, or bring it to ClickHouse.
    #[command(subcommand)]
    Spool(SpoolAction),
    /// Show or replay the events that ClickHouse refused for their content.
    #[command(subcommand)]
    DeadLetters(DeadLettersAction),
    /// Check settings, ClickHouse access and schema version, then exit.
    Check,
}

/// What `spool` can do.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum SpoolAction {
    /// Print what lies on disk, as JSON; also while a service uses it.
    Status,
    /// Insert everything, before a replica goes for good; fails when something is left. No service may be using it.
    Drain {
        /// Seconds after which to stop.
        #[arg(long, default_value_t = 300)]
        timeout_seconds: u64,
    },
}

/// What `dead-letters` can do. The login needs SELECT and INSERT on the table `dead_letters`.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum DeadLettersAction {
    /// Print the events that wait, as JSON lines.
    List,
    /// Insert the rows of all of them again; fails when some are still refused.
    Replay,
}

/// Options of `migrate`.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct MigrateArgs {
    /// Version to reach; the newest when absent.
    #[arg(long)]
    pub target: Option<u32>,
    /// Print the statements that would run, and run none.
    #[arg(long)]
    pub dry_run: bool,
    /// Print what has run and what has not.
    #[arg(long)]
    pub status: bool,
}

/// Every setting as the text that was given.
#[derive(Clone, Default, ClapArgs)]
pub struct SettingsArgs {
    /// Address that the public and admin ports bind [default: 0.0.0.0].
    #[arg(long, global = true, env = env::HOST)]
    pub host: Option<String>,
    /// Public port [default: 8080].
    #[arg(long, global = true, env = env::PORT)]
    pub port: Option<String>,
    /// One of silent, fatal, error, warn, info, debug, trace [default: warn].
    #[arg(long, global = true, env = env::LOG_LEVEL)]
    pub log_level: Option<String>,
    /// Ingestion keys, separated by commas. Prefer the environment: arguments are visible to others.
    #[arg(long, global = true, env = env::PUBLIC_API_KEYS, hide_env_values = true)]
    pub public_api_keys: Option<String>,
    /// Origins that may send without a key, separated by commas; exact match.
    #[arg(long, global = true, env = env::ALLOWED_ORIGINS)]
    pub allowed_origins: Option<String>,
    /// Bytes that a request body may have, compressed and inflated [default: 20971520].
    #[arg(long, global = true, env = env::MAX_BATCH_BYTES)]
    pub max_batch_bytes: Option<String>,
    /// Events that one request may hold [default: 10000].
    #[arg(long, global = true, env = env::MAX_EVENTS_PER_BATCH)]
    pub max_events_per_batch: Option<String>,
    /// ClickHouse HTTP endpoints, separated by commas, tried in order [default: http://localhost:8123].
    #[arg(long, global = true, env = env::CLICKHOUSE_URL)]
    pub clickhouse_url: Option<String>,
    /// ClickHouse user [default: default].
    #[arg(long, global = true, env = env::CLICKHOUSE_USER)]
    pub clickhouse_user: Option<String>,
    /// ClickHouse password. Prefer the environment or the credentials folder.
    #[arg(long, global = true, env = env::CLICKHOUSE_PASSWORD, hide_env_values = true)]
    pub clickhouse_password: Option<String>,
    /// Database that holds the tables [default: product_analytics].
    #[arg(long, global = true, env = env::CLICKHOUSE_DATABASE)]
    pub clickhouse_database: Option<String>,
    /// `true`: `serve` migrates before it listens [default: false].
    #[arg(long, global = true, env = env::MIGRATE_ON_START)]
    pub migrate_on_start: Option<String>,
    /// Port of /livez, /readyz, /metrics and /generation [default: 9090].
    #[arg(long, global = true, env = env::WEIR_ADMIN_PORT)]
    pub admin_port: Option<String>,
    /// JSON file of hashed ingestion keys, read again when its content changes.
    #[arg(long, global = true, env = env::WEIR_KEYS_FILE)]
    pub keys_file: Option<String>,
    /// Folder with the files `username` and `password`; wins over user and password, read again on change.
    #[arg(long, global = true, env = env::WEIR_CLICKHOUSE_CREDENTIALS_DIR)]
    pub clickhouse_credentials_dir: Option<String>,
    /// PEM bundle that is trusted for https endpoints besides the public roots.
    #[arg(long, global = true, env = env::WEIR_CLICKHOUSE_CA_FILE)]
    pub clickhouse_ca_file: Option<String>,
    /// Milliseconds that one insert attempt may take [default: 10000].
    #[arg(long, global = true, env = env::WEIR_CLICKHOUSE_TIMEOUT_MS)]
    pub clickhouse_timeout_ms: Option<String>,
    /// User that views run as; the caller when absent.
    #[arg(long, global = true, env = env::WEIR_CLICKHOUSE_DEFINER)]
    pub clickhouse_definer: Option<String>,
    /// ClickHouse cluster that DDL runs on; one server when absent.
    #[arg(long, global = true, env = env::WEIR_CLICKHOUSE_CLUSTER)]
    pub clickhouse_cluster: Option<String>,
    /// Rows at which the open batch is flushed [default: 10000].
    #[arg(long, global = true, env = env::WEIR_FLUSH_MAX_ROWS)]
    pub flush_max_rows: Option<String>,
    /// Encoded bytes at which the open batch is flushed [default: 8388608].
    #[arg(long, global = true, env = env::WEIR_FLUSH_MAX_BYTES)]
    pub flush_max_bytes: Option<String>,
    /// Milliseconds after which the open batch is flushed [default: 20].
    #[arg(long, global = true, env = env::WEIR_FLUSH_MAX_AGE_MS)]
    pub flush_max_age_ms: Option<String>,
    /// Bytes held for requests that are not answered yet; above it 503 [default: 67108864].
    #[arg(long, global = true, env = env::WEIR_BUFFER_MAX_BYTES)]
    pub buffer_max_bytes: Option<String>,
    /// Folder where requests are synced to disk before they are answered; none: they are answered after the insert.
    #[arg(long, global = true, env = env::WEIR_SPOOL_DIR)]
    pub spool_dir: Option<String>,
    /// Bytes that the spool may take on disk; above it 503 [default: 1073741824].
    #[arg(long, global = true, env = env::WEIR_SPOOL_MAX_BYTES)]
    pub spool_max_bytes: Option<String>,
    /// Seconds from SIGTERM to the exit at the latest [default: 25].
    #[arg(long, global = true, env = env::WEIR_DRAIN_SECONDS)]
    pub drain_seconds: Option<String>,
    /// Networks (CIDR) whose X-Forwarded-For is believed, separated by commas [default: none].
    #[arg(long, global = true, env = env::WEIR_TRUSTED_PROXIES)]
    pub trusted_proxies: Option<String>,
    /// Whether the paths of PostHog's SDKs are served: `true` or `false`; without them only `/batch/` is, as strictly as
    /// ever [default: true].
    #[arg(long, global = true, env = env::WEIR_POSTHOG_PATHS)]
    pub posthog_paths: Option<String>,
    /// Path, such as `/ingest`, under which everything is served besides the root [default: none].
    #[arg(long, global = true, env = env::WEIR_PATH_PREFIX)]
    pub path_prefix: Option<String>,
    /// Connections that the public port keeps open at once; each may take 24 KiB [default: 2048].
    #[arg(long, global = true, env = env::WEIR_MAX_CONNECTIONS)]
    pub max_connections: Option<String>,
    /// Events a second that a key without its own rate may send, and how many at once: `100` or `100:2000`; the
    /// second number is ten times the first when absent [default: no limit].
    #[arg(long, global = true, env = env::WEIR_KEY_RATE_LIMIT)]
    pub key_rate_limit: Option<String>,
    /// Events a second that one client address may send, as for keys; an IPv6 network of 64 bits counts as one
    /// address [default: no limit].
    #[arg(long, global = true, env = env::WEIR_ADDRESS_RATE_LIMIT)]
    pub address_rate_limit: Option<String>,
    /// Bytes of a body, inflated, that are taken before a valid key is found in it; longer bodies whose key stands
    /// further behind are looked through one after another [default: 262144].
    #[arg(long, global = true, env = env::WEIR_UNAUTHENTICATED_BYTES)]
    pub unauthenticated_bytes: Option<String>,
    /// Bytes of properties that one event of PostHog's dialect may have; a larger one is dropped alone
    /// [default: 1048576].
    #[arg(long, global = true, env = env::WEIR_MAX_EVENT_BYTES)]
    pub max_event_bytes: Option<String>,
    /// What is stored of client addresses: `keep`, `truncate` (to /24 and /48) or `drop` [default: keep].
    #[arg(long, global = true, env = env::WEIR_IP_POLICY)]
    pub ip_policy: Option<String>,
    /// Names of properties that are never stored, of events and of persons, separated by commas [default: none].
    #[arg(long, global = true, env = env::WEIR_PROPERTY_DENYLIST)]
    pub property_denylist: Option<String>,
}

impl std::fmt::Debug for SettingsArgs {
    /// Prints no values: two of them are secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SettingsArgs").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn flags_work_after_the_subcommand() {
        let args = Args::try_parse_from(["weir-ingest", "migrate", "--dry-run", "--port", "81"]).unwrap();
        assert_eq!(args.settings.port.as_deref(), Some("81"));
        assert!(matches!(args.command, Some(Command::Migrate(MigrateArgs { dry_run: true, .. }))));
    }
}
