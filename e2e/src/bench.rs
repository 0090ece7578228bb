//! `cargo bench-ingest`: how fast a server that speaks `/batch/` stores events, and what that costs.
//!
//! Drives Weir, or any other server by its URL, with bodies as SDKs send them; a second one beside it in alternating
//! slices, so that both are measured in the same minutes. The rows that were stored are inserted once more directly,
//! in large blocks: that is what this machine's ClickHouse costs without any service.

mod body;
mod connection;
mod direct;
mod generator;
mod measure;
mod subject;
mod table;
mod template;

use std::{path::Path, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context as _;
use url::Url;

use self::{
    body::{Bodies, Shape},
    direct::Direct,
    generator::{Load, Pool, Requests},
    measure::Line,
    subject::{Other, Subject},
};
use crate::{
    report::{announce, print_line},
    standalone::{Options, Programs, Route, Standalone},
};

/// Slices of each server for one line of the table, when there are two.
const SLICES: u32 = 4;
/// Events a second that are rendered before a load of compressed bodies; a load that is faster ends early.
const POOL_RATE: f64 = 120_000.0;
/// Events of a direct measurement at most.
const DIRECT_EVENTS: u64 = 200_000;
/// Pause between two lone events.
const IDLE_PAUSE: Duration = Duration::from_millis(50);

/// Arguments of `bench`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Drive this server instead of starting Weir.
    #[arg(long, value_name = "URL")]
    url: Option<Url>,
    /// Its ingestion key.
    #[arg(long, value_name = "KEY", default_value = "bench-key")]
    key: String,
    /// Its process, when it runs on this machine: for CPU and memory.
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// The process of its ClickHouse.
    #[arg(long, value_name = "PID")]
    clickhouse_pid: Option<u32>,
    /// Its ClickHouse, with user and password, and its table: `http://user:password@host:8123/#database.events`.
    #[arg(long, value_name = "URL")]
    rows: Option<Url>,
    /// Drive this server too, in alternating slices.
    #[arg(long, value_name = "URL")]
    beside: Option<Url>,
    /// Key of that server.
    #[arg(long, value_name = "KEY", default_value = "bench-key")]
    beside_key: String,
    /// Process of that server.
    #[arg(long, value_name = "PID")]
    beside_pid: Option<u32>,
    /// Process of that server's ClickHouse.
    #[arg(long, value_name = "PID")]
    beside_clickhouse_pid: Option<u32>,
    /// ClickHouse and table of that server.
    #[arg(long, value_name = "URL")]
    beside_rows: Option<Url>,
    /// Events of a request.
    #[arg(long, default_value_t = 50)]
    batch: usize,
    /// Connections that send at once; a line of the table for each number.
    #[arg(long, value_delimiter = ',', default_value = "1,4,16,32,64")]
    connections: Vec<usize>,
    /// Compress the bodies.
    #[arg(long)]
    gzip: bool,
    /// Seconds of load for each line and server.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Seed of the bodies. Default: a fresh one, which is printed.
    #[arg(long)]
    seed: Option<u64>,
    /// A variable for Weir's process, such as WEIR_FLUSH_MAX_ROWS=20000; may be repeated.
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Another `weir-ingest` than the one of this workspace, which is then not built.
    #[arg(long, value_name = "FILE")]
    program: Option<std::path::PathBuf>,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let maybe_programs = match (&args.url, &args.program) {
        (Some(_), _) => None,
        (None, Some(ingest)) => {
            Some(Programs { ingest: ingest.canonicalize()?, engine: crate::tool::clickhouse_engine()? })
        }
        (None, None) => Some(Programs::prepare()?),
    };
    let folder = std::env::temp_dir().join(format!("weir-bench-{:08x}", rand::random::<u32>()));
    // One thread beside the blocking ones: this process does nothing but wait for the generator.
    let runtime = tokio::runtime::Runtime::new().context("failed to start the runtime")?;
    let outcome = runtime.block_on(bench(args, maybe_programs, &folder));
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("failed to remove {}", folder.display()))?;
    }
    let faults = outcome?;
    for fault in &faults {
        print_line(&format!("FAIL  {fault}"));
    }
    Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Measures everything, prints the table, and returns what is wrong with the rows.
async fn bench(args: &Args, programs: Option<Programs>, folder: &Path) -> anyhow::Result<Vec<String>> {
    let subjects = subjects(args, programs, folder).await?;
    let seed = args.seed.unwrap_or_else(rand::random);
    announce(&format!(
        "bodies of {} events{}, {} s a line, seed {seed}",
        args.batch,
        if args.gzip { ", gzip" } else { "" },
        args.seconds
    ));
    let mut lines = Vec::new();
    let mut maybe_direct: Option<Direct> = None;
    for &connections in &args.connections {
        lines.extend(measure_all(args, &subjects, connections, seed).await?);
        if let Subject::Own(weir) = &subjects[0] {
            let direct = Direct::measure(weir, DIRECT_EVENTS).await?;
            match &mut maybe_direct {
                None => maybe_direct = Some(direct),
                Some(sum) => sum.add(direct),
            }
        }
        for subject in &subjects {
            subject.clear().await?;
        }
    }
    for subject in &subjects {
        lines.push(idle(args, subject, seed).await?);
    }
    print_line(&table::render(&mut lines, maybe_direct.as_ref()));
    for subject in subjects {
        if let Subject::Own(weir) = subject {
            weir.stop().await?;
        }
    }
    Ok(lines.iter().filter_map(Line::fault).collect())
}

/// One line for each server, measured in turns.
async fn measure_all(
    args: &Args,
    subjects: &[Subject],
    connections: usize,
    seed: u64,
) -> anyhow::Result<Vec<Line>> {
    let mut lines: Vec<_> = subjects.iter().map(|subject| Line::new(subject.name(), connections)).collect();
    let slices = if subjects.len() > 1 { SLICES } else { 1 };
    let time = Duration::from_secs(args.seconds) / slices;
    for _ in 0..slices {
        for (line, subject) in lines.iter_mut().zip(subjects) {
            let requests = requests(args, subject, seed, time).await?;
            let address = subject.address().await?;
            if let Subject::Own(weir) = subject {
                weir.reset_peaks()?;
            }
            line.measure(subject, Load { address, connections, time, requests, pause: Duration::ZERO })
                .await?;
        }
    }
    Ok(lines)
}

/// Lone events, one after the other, on a service that does nothing else.
async fn idle(args: &Args, subject: &Subject, seed: u64) -> anyhow::Result<Line> {
    let mut line = Line::new(format!("{}, lone events", subject.name()), 1);
    let alone = Args { batch: 1, gzip: false, ..args.clone() };
    let time = Duration::from_secs(args.seconds);
    let requests = requests(&alone, subject, seed, time).await?;
    let load = Load { address: subject.address().await?, connections: 1, time, requests, pause: IDLE_PAUSE };
    line.measure(subject, load).await?;
    Ok(line)
}

async fn requests(args: &Args, subject: &Subject, seed: u64, time: Duration) -> anyhow::Result<Requests> {
    let host = subject.address().await?.to_string();
    let shape = Shape { seed, host: &host, key: subject.key(), events: args.batch, gzip: args.gzip };
    let bodies = Bodies::new(shape);
    if !args.gzip {
        return Ok(Requests::Rendered(Arc::new(bodies)));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some millions")]
    let events = (time.as_secs_f64() * POOL_RATE) as usize;
    let pool = tokio::task::spawn_blocking(move || Pool::render(&bodies, events)).await?;
    Ok(Requests::Ready(pool))
}

async fn subjects(args: &Args, programs: Option<Programs>, folder: &Path) -> anyhow::Result<Vec<Subject>> {
    let first = match (&args.url, programs) {
        (None, Some(programs)) => Subject::Own(Box::new(start(args, programs, folder).await?)),
        (Some(url), _) => Subject::Other(Box::new(Other {
            url: url.clone(),
            key: args.key.clone(),
            maybe_pid: args.pid,
            maybe_clickhouse_pid: args.clickhouse_pid,
            maybe_rows: args.rows.as_ref().map(rows).transpose()?,
        })),
        (None, None) => anyhow::bail!("there is nothing to drive"),
    };
    let mut subjects = vec![first];
    if let Some(url) = &args.beside {
        subjects.push(Subject::Other(Box::new(Other {
            url: url.clone(),
            key: args.beside_key.clone(),
            maybe_pid: args.beside_pid,
            maybe_clickhouse_pid: args.beside_clickhouse_pid,
            maybe_rows: args.beside_rows.as_ref().map(rows).transpose()?,
        })));
    }
    Ok(subjects)
}

async fn start(args: &Args, programs: Programs, folder: &Path) -> anyhow::Result<Standalone> {
    let options = Options { route: Route::Direct, ..Options::new(programs, folder) };
    let mut weir = Standalone::start(options).await?;
    let variables = args
        .env
        .iter()
        .map(|variable| variable.split_once('=').with_context(|| format!("`{variable}` is not NAME=VALUE")));
    let index = weir.add(&variables.collect::<anyhow::Result<Vec<_>>>()?)?;
    weir.wait_ready(index).await?;
    Ok(weir)
}

/// Splits `http://user:password@host/#database.table`.
fn rows(url: &Url) -> anyhow::Result<(Url, String)> {
    let table = url.fragment().context("name the table behind a #")?.to_owned();
    let mut url = url.clone();
    url.set_fragment(None);
    Ok((url, table))
}
