//! The command `weir-e2e clickhouse`.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use super::{Certificate, Https, Options, Server, child};

/// Serves the ClickHouse development server until it is interrupted.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The engine's library; installed when absent.
    #[arg(long, value_name = "FILE")]
    engine: Option<PathBuf>,
    /// The folder that keeps data, users and certificates.
    #[arg(long, value_name = "DIR", default_value = "target/clickhouse")]
    data: PathBuf,
    /// Where plain HTTP is served.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8123")]
    http: SocketAddr,
    /// Where HTTPS is served.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8443")]
    https: SocketAddr,
    /// Where faults and imports are taken; asks for no password.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8124")]
    control: SocketAddr,
    /// A PEM chain for HTTPS; a CA and a certificate are made when absent.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The PEM key of the chain.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// A further name of the made certificate; may be repeated.
    #[arg(long, value_name = "NAME")]
    tls_name: Vec<String>,
    /// Where the made CA's certificate is written.
    #[arg(long, value_name = "FILE")]
    ca_out: Option<PathBuf>,
    /// The account with every right.
    #[arg(long, value_name = "NAME", default_value = "admin")]
    admin_user: String,
    /// The file with its password.
    #[arg(long, value_name = "FILE", conflicts_with = "admin_password")]
    admin_password_file: Option<PathBuf>,
    /// Its password; the environment keeps it out of the process list.
    #[arg(long, value_name = "PASSWORD", env = "WEIR_CLICKHOUSE_ADMIN_PASSWORD", hide_env_values = true)]
    admin_password: Option<String>,
    /// Seconds that a restart waits for requests in flight.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    drain_seconds: u64,
    /// Be the engine's process; only the server itself starts one.
    #[arg(long, hide = true)]
    engine_process: bool,
    /// The arguments of the engine's process.
    #[arg(last = true, hide = true)]
    engine_arguments: Vec<String>,
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    if args.engine_process {
        let engine = args.engine.context("--engine-process needs --engine")?;
        return child::run(&engine, &args.engine_arguments);
    }
    let ca_out = args.ca_out.clone();
    let options = options(args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(options, ca_out))
}

async fn serve(options: Options, ca_out: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate())?;
    let server = Server::start(options).await?;
    if let (Some(path), Some(pem)) = (&ca_out, server.ca_pem()) {
        std::fs::write(path, pem).with_context(|| format!("failed to write {}", path.display()))?;
    }
    let https = server.https_url().unwrap_or_default();
    super::say(format_args!("serving {} and {https}; control {}", server.url(), server.control_url()));
    tokio::select! {
        _ = terminate.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    server.stop().await?;
    Ok(ExitCode::SUCCESS)
}

fn options(args: Args) -> anyhow::Result<Options> {
    let engine = match args.engine {
        Some(engine) => engine,
        None => crate::tool::clickhouse_engine()?,
    };
    let password = match (args.admin_password_file, args.admin_password) {
        (Some(path), _) => {
            let text = std::fs::read_to_string(&path);
            text.with_context(|| format!("failed to read {}", path.display()))?.trim_end().to_owned()
        }
        (None, Some(password)) => password,
        (None, None) => anyhow::bail!("give --admin-password-file or WEIR_CLICKHOUSE_ADMIN_PASSWORD"),
    };
    let certificate = match (args.tls_cert, args.tls_key) {
        (Some(chain), Some(key)) => Certificate::Files { chain, key },
        _ => Certificate::Generated { names: args.tls_name },
    };
    let launcher = std::env::current_exe().context("failed to find this program")?;
    let options = Options::new(engine, launcher, args.data, &password);
    Ok(Options {
        http: args.http,
        https: Some(Https { address: args.https, certificate }),
        control: args.control,
        admin_user: args.admin_user,
        drain: Duration::from_secs(args.drain_seconds),
        ..options
    })
}
