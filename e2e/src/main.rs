//! The entry point of every command of this crate; `args` says which there are.

use std::{ffi::OsString, process::ExitCode};

use clap::Parser;
use weir_e2e::{bench, clickhouse, cluster, demo, soak, verify};

/// Runs Weir on real parts: the demo, the checks, and the parts alone.
#[derive(Debug, Parser)]
#[command(name = "weir-e2e", version)]
enum Command {
    /// Measure how fast events are stored, and what it costs.
    Bench(Box<bench::Args>),
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
    let outcome = match Command::parse_from(arguments()) {
        Command::Bench(args) => bench::run(&args),
        Command::Cluster(args) => cluster::run(args),
        Command::Demo(args) => demo::run(&args),
        Command::Soak(args) => soak::run(&args),
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

/// The arguments, without the dashes of `cargo demo -- --keep`: the alias holds the pair that cargo takes.
fn arguments() -> impl Iterator<Item = OsString> {
    let dashes = |(position, argument): &(usize, OsString)| *position == 2 && argument == "--";
    std::env::args_os().enumerate().filter(move |argument| !dashes(argument)).map(|(_, argument)| argument)
}
