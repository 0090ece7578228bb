//! `cargo demo`: the main job end to end, from nothing to rows in ClickHouse.

mod existing;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context as _;

use crate::{
    cluster::ExistingArgs,
    report::{announce, print_line},
    sandbox::{self, Keep, Options},
    scenario::send_with_posthog_node,
    stack::Stack,
    stage::{Prepared, Stage, TEAM, phase},
    target::Target,
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
    #[command(flatten)]
    existing: ExistingArgs,
    #[command(flatten)]
    login: existing::ClickhouseLogin,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let prepare = || {
        announce("Installing what is missing and building; the first time takes about a quarter of an hour.");
        let prepared = Prepared::prepare()?;
        phase("everything installed and built", started);
        anyhow::Ok(prepared)
    };
    if let Some(environment) = args.existing.environment()? {
        let target = existing::target(environment, &args.login, prepare()?)?;
        return tokio::runtime::Runtime::new()?.block_on(existing::run(&target, args.events));
    }
    let options = Options { keep: Keep::Never, ..Options::default() };
    sandbox::run(
        &options,
        || prepare().map(drop),
        |sandbox| {
            let prepared = Prepared::find()?;
            tokio::runtime::Runtime::new()?.block_on(async {
                let stage = Stage::start(sandbox, prepared).await?;
                let stack = stage.shop();
                apply_example(&stage.target, &stack).await?;
                send_and_show(&stage.target, &stack, &stack.service_url().await?, args.events).await?;
                phase("all of it", started);
                if args.keep {
                    keep(&stage).await?;
                }
                Ok(ExitCode::SUCCESS)
            })
        },
    )
}

async fn apply_example(target: &Target, stack: &Stack) -> anyhow::Result<()> {
    let started = Instant::now();
    let example = target.example("01-minimal.yaml")?.display().to_string();
    target.kubectl(&["apply", "--server-side", "-f", &example])?;
    stack.wait_current(Duration::from_mins(2)).await?;
    phase("examples/01-minimal.yaml is Ready", started);
    Ok(())
}

async fn send_and_show(target: &Target, stack: &Stack, url: &str, events: u64) -> anyhow::Result<()> {
    let started = Instant::now();
    let (sent, rows) = send_with_posthog_node(target, stack, url, events).await?;
    phase("events sent with posthog-node and read back", started);
    print_line(&target.kubectl(&["get", "astack", "-n", TEAM])?);
    print_line(&target.kubectl(&["get", "pods,jobs,secrets", "-n", TEAM])?);
    let database = stack.get().await?.status.and_then(|status| status.database);
    let database = database.context("status.database is empty")?;
    let sql = format!(
        "SELECT event, count() AS events, uniqExact(person_id) AS people, min(timestamp) AS first, \
         max(timestamp) AS last FROM {database}.events GROUP BY event ORDER BY events DESC"
    );
    let table = target.clickhouse.query(&format!("{sql} FORMAT PrettyCompactMonoBlock")).await?;
    print_line(&format!("{sql}\n{table}"));
    print_line(&format!("{sent} events acknowledged to posthog-node, {rows} rows in ClickHouse."));
    print_line(
        "To go on: `cargo demo -- --keep` leaves it running, examples/ has more, README.md says where to read on.",
    );
    Ok(())
}

async fn keep(stage: &Stage) -> anyhow::Result<()> {
    let (kubeconfig, kubectl) = (stage.target.kubeconfig.display(), crate::tool::kubectl()?);
    print_line("Everything keeps running until Ctrl-C. In another terminal, as root:");
    print_line("  nsenter --target $(pgrep --newest etcd) --net --mount --pid bash");
    print_line(&format!(
        "  export KUBECONFIG={kubeconfig}; {} get astack --all-namespaces",
        kubectl.display()
    ));
    tokio::signal::ctrl_c().await.context("failed to wait for Ctrl-C")
}
