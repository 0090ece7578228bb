//! The entry point of every command of this crate; `args` says which there are.

use std::process::ExitCode;

use clap::Parser;
use weir_e2e::{clickhouse, cluster, demo, soak, verify};

/// Runs Weir on real parts: the demo, the checks, and the parts alone.
#[derive(Debug, Parser)]
#[command(name = "weir-e2e", version)]
enum Command {
    /// Bring a cluster up and leave it running, enter it, or run kubectl in it.
    Cluster(cluster::Args),
    /// Show the main job end to end: from nothing to rows in ClickHouse.
    Demo(demo::Args),
    /// Run stories at full count.
    Soak(soak::Args),
    /// Run every gate and every test, and count them.
    Verify(verify::Args),
    /// Serve the ClickHouse development server.
    Clickhouse(clickhouse::Args),
}

fn main() -> ExitCode {
    let outcome = match Command::parse() {
        Command::Cluster(args) => cluster::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Soak(args) => soak::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Clickhouse(args) => clickhouse::run(args),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
