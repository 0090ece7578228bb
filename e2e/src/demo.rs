//! `cargo demo`: the main job end to end, from nothing to rows in ClickHouse.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context as _;

use crate::{
    report::{announce, print_line},
    sandbox::{self, Keep, Options},
    scenario::send_with_posthog_node,
    stage::{Prepared, Stage, TEAM, phase},
};

/// Arguments of `demo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Leave everything running afterwards, until Ctrl-C.
    #[arg(long)]
    keep: bool,
    /// Events that the SDK sends.
    #[arg(long, default_value_t = 200)]
    events: u64,
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let options = Options { keep: Keep::Never, ..Options::default() };
    let prepare = || {
        announce("Installing what is missing and building; the first time takes about a quarter of an hour.");
        Prepared::prepare()?;
        phase("everything installed and built", started);
        Ok(())
    };
    sandbox::run(&options, prepare, |sandbox| {
        let prepared = Prepared::prepare()?;
        tokio::runtime::Runtime::new()?.block_on(async {
            let stage = Stage::start(sandbox, prepared).await?;
            show(&stage, args.events).await?;
            if args.keep {
                keep(&stage).await?;
            }
            Ok(ExitCode::SUCCESS)
        })
    })
}

async fn show(stage: &Stage, events: u64) -> anyhow::Result<()> {
    let started = Instant::now();
    stage.kubectl(&["apply", "--server-side", "-f", &stage.example("01-minimal.yaml")?])?;
    let stack = stage.shop();
    stack.wait_current(Duration::from_secs(90)).await?;
    let started = phase("examples/01-minimal.yaml is Ready", started);
    let (sent, rows) = send_with_posthog_node(stage, &stack, events).await?;
    phase("events sent with posthog-node and read back", started);
    print_line(&stage.kubectl(&["get", "astack", "-n", TEAM, "-o", "wide"])?);
    print_line(&stage.kubectl(&["get", "pods,jobs,secrets", "-n", TEAM])?);
    let database = stack.get().await?.status.and_then(|status| status.database);
    let database = database.context("status.database is empty")?;
    let sql = format!(
        "SELECT event, count() AS events, uniqExact(person_id) AS people, min(timestamp) AS first, max(timestamp) AS last \
         FROM {database}.events GROUP BY event ORDER BY events DESC FORMAT PrettyCompactMonoBlock"
    );
    print_line(&format!("{sql}\n{}", stage.query(&sql).await?));
    print_line(&format!("{sent} events acknowledged to posthog-node, {rows} rows in ClickHouse."));
    print_line(
        "Go on: `cargo demo -- --keep` leaves it running; examples/ has more; README.md says how to install it on a cluster of yours.",
    );
    Ok(())
}

async fn keep(stage: &Stage) -> anyhow::Result<()> {
    let inside = format!("nsenter --target $(pgrep --newest --full 'weir-e2e demo') --net --mount --pid");
    print_line("Everything keeps running until Ctrl-C. In another terminal:");
    print_line(&format!(
        "  {inside} env KUBECONFIG={} {} get astack -A",
        stage.target.kubeconfig.display(),
        crate::tool::kubectl()?.display()
    ));
    print_line(&format!(
        "ClickHouse: {} (user {})",
        stage.target.clickhouse.url, stage.target.clickhouse.user
    ));
    tokio::signal::ctrl_c().await.context("failed to wait for Ctrl-C")
}
