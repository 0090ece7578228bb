//! The command line: every setting as a flag and an environment variable. Nothing is computed here.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Kubernetes operator for product analytics on your own ClickHouse.
#[derive(Debug, Clone, Parser)]
#[command(name = "weir-operator", version, about)]
pub struct Args {
    /// Namespaces whose stacks are served, separated by commas. Empty: every namespace.
    #[arg(long, env = "WEIR_WATCH_NAMESPACES", value_delimiter = ',')]
    pub watch_namespaces: Vec<String>,
    /// Whether a stack may name a ClickHouse of its own. Default: true when namespaces are listed, else false.
    #[arg(long, env = "WEIR_ALLOW_INLINE_CLICKHOUSE", num_args = 0..=1, default_missing_value = "true")]
    pub allow_inline_clickhouse: Option<bool>,
    /// Name of this cluster in ClickHouse's ownership ledger. Default: the UID of the namespace kube-system.
    #[arg(long, env = "WEIR_CLUSTER_ID")]
    pub cluster_id: Option<String>,
    /// PEM bundle of CAs that signed the registry's certificate, besides the public ones.
    #[arg(long, env = "WEIR_REGISTRY_CA_FILE")]
    pub registry_ca_file: Option<PathBuf>,
    /// Address that the admin port binds.
    #[arg(long, env = "WEIR_ADMIN_HOST", default_value = "0.0.0.0")]
    pub admin_host: std::net::IpAddr,
    /// Port of /livez, /readyz and /metrics.
    #[arg(long, env = "WEIR_ADMIN_PORT", default_value_t = 8081)]
    pub admin_port: u16,
    /// How log lines look.
    #[arg(long, env = "WEIR_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,
    /// Least severe level that is logged: error, warn, info, debug or trace.
    #[arg(long, env = "WEIR_LOG_LEVEL", default_value = "info")]
    pub log_level: String,
    /// Namespace of the Lease that elects the leader. Default: the client's own namespace.
    #[arg(long, env = "WEIR_LEASE_NAMESPACE")]
    pub lease_namespace: Option<String>,
    /// Name of the Lease that elects the leader.
    #[arg(long, env = "WEIR_LEASE_NAME", default_value = "weir-operator")]
    pub lease_name: String,
    /// Name of this process in the Lease. Default: a random one.
    #[arg(long, env = "POD_NAME")]
    pub identity: Option<String>,
    /// Stacks that are reconciled at the same time.
    #[arg(long, env = "WEIR_CONCURRENCY", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    pub concurrency: u16,
    /// Seconds within which a settled stack is compared with ClickHouse again: after 0.7 to 0.9 of them.
    #[arg(long, env = "WEIR_DRIFT_SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..))]
    pub drift_seconds: u64,
    /// Seconds for which a registry's answer is believed.
    #[arg(long, env = "WEIR_IMAGE_CACHE_SECONDS", default_value_t = 60)]
    pub image_cache_seconds: u64,
    /// Seconds that one reconcile may take.
    #[arg(long, env = "WEIR_PASS_SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(5..))]
    pub pass_seconds: u64,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For a terminal.
    Text,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn inline_clickhouse_takes_a_value_or_none() {
        let given = |flags: &[&str]| {
            Args::try_parse_from([&["weir-operator"], flags].concat()).unwrap().allow_inline_clickhouse
        };
        assert_eq!(given(&[]), None);
        assert_eq!(given(&["--allow-inline-clickhouse"]), Some(true));
        assert_eq!(given(&["--allow-inline-clickhouse=false"]), Some(false));
    }
}
