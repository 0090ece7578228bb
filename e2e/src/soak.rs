//! `cargo soak -- NAME`: the stories at the counts and durations that the design promises.

use std::process::ExitCode;

use anyhow::ensure;

use crate::{
    report::{Report, announce},
    sandbox::{self, Options},
    scenario::{self, Effort, Plan, SCENARIOS},
};

/// Arguments of `soak`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Stories to run; none runs all of them.
    names: Vec<String>,
    /// Seed of every random choice. Default: a fresh one, which is printed.
    #[arg(long)]
    seed: Option<u64>,
    /// Run the short form that `cargo verify` runs.
    #[arg(long)]
    sample: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    for name in &args.names {
        let known: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        ensure!(
            known.contains(&name.as_str()),
            "no story is named `{name}`; there are: {}",
            known.join(", ")
        );
    }
    let effort = if args.sample { Effort::Sample } else { Effort::Full };
    let plan = Plan { effort, seed: args.seed.unwrap_or_else(scenario::fresh_seed) };
    sandbox::run(
        &Options::default(),
        || scenario::prepare(&args.names),
        |sandbox| {
            let mut report = Report::default();
            scenario::run(sandbox, plan, &args.names, &mut report)?;
            announce("");
            Ok(if report.close() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        },
    )
}
