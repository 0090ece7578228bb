//! `cargo bench-ingest`: how fast a server that speaks `/batch/` stores events, and what that costs.
//!
//! Drives Weir, or any other server by its URL, with bodies as SDKs send them; a second one beside it in alternating
//! slices, so that both are measured in the same minutes. The rows that were stored are inserted once more directly,
//! in large blocks: that is what this machine's ClickHouse costs without any service.
//!
//! CPU is what the kernel counts for each process: of the service and the generator while the load runs, of ClickHouse
//! until it has merged what the load left. It depends far less on what else the machine does than events a second.
//!
//! The files of ClickHouse lie in memory, since a file system may cost more than what is compared: ext4 without a journal
//! looks at every inode that was deleted lately before it makes a file, which was half of ClickHouse's CPU where it was
//! profiled.

mod args;
mod body;
mod connection;
mod direct;
mod generator;
mod measure;
mod numbers;
mod questions;
mod subject;
mod table;
mod template;

use std::{path::Path, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context as _;

pub use self::args::Args;
use self::{
    body::{Bodies, Shape},
    direct::Direct,
    generator::{Load, Pool, Requests},
    measure::Line,
    numbers::Run,
    subject::Subject,
};
use crate::{
    report::{announce, print_line},
    standalone::Programs,
};

/// Slices of each server for one line of the table, when there are two.
const SLICES: u32 = 4;
/// Events for each second of a load of compressed bodies, which are rendered before; a faster load ends early.
const READY_EVENTS: usize = 120_000;
/// The same for a load that only checks rows.
const FEW_READY_EVENTS: usize = 5_000;
/// Events of a direct measurement at most: all that a load of half a minute stores. Fewer than the load stored would be
/// cheaper, since each doubling of a table merges all of its rows once more.
const DIRECT_EVENTS: u64 = 3_000_000;
/// What the line of lone events adds to the name of its server.
const LONE_EVENTS: &str = ", lone events";
/// Connections that bring the events of which questions are asked.
const FILLING: usize = 64;
/// Pause between two lone events.
const IDLE_PAUSE: Duration = Duration::from_millis(50);

/// What is sent to each server.
#[derive(Clone, Debug)]
struct Loads {
    /// Events of a request.
    batch: usize,
    /// Connections, a load for each number.
    connections: Vec<usize>,
    gzip: bool,
    /// Compressed events that are rendered for each second.
    ready_events: usize,
    /// How long each load lasts.
    time: Duration,
    seed: u64,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let maybe_programs = args.programs()?;
    let folder = args.data().join(format!("weir-bench-{:08x}", rand::random::<u32>()));
    if maybe_programs.is_some() {
        announce(&format!("the files of ClickHouse are in {}", folder.display()));
    }
    let runtime = tokio::runtime::Runtime::new().context("failed to start the runtime")?;
    let outcome = runtime.block_on(async {
        let subjects = args.subjects(maybe_programs, &folder).await?;
        match args.questions() {
            Some(events) => questions(&args.loads(), subjects, events).await,
            None => bench(&args.loads(), subjects).await,
        }
    });
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("failed to remove {}", folder.display()))?;
    }
    let faults = outcome?;
    for fault in &faults {
        print_line(&format!("FAIL  {fault}"));
    }
    Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A short load of plain and of compressed bodies; errs unless every acknowledged event is one row.
///
/// It checks what the figures rest on, and no figure.
pub(crate) async fn smoke(folder: &Path, time: Duration, seed: u64) -> anyhow::Result<String> {
    let subject = args::start(Programs::find()?, folder, &[]).await?;
    let mut told = Vec::new();
    for gzip in [false, true] {
        let loads =
            Loads { batch: 50, connections: vec![8], gzip, ready_events: FEW_READY_EVENTS, time, seed };
        for line in measure_all(&loads, std::slice::from_ref(&subject), 8).await? {
            if let Some(fault) = line.fault() {
                anyhow::bail!(fault);
            }
            let coding = if gzip { "compressed" } else { "plain" };
            told.push(format!("{} {coding} events acknowledged and stored", line.outcome.acknowledged));
        }
    }
    subject.stop().await?;
    Ok(told.join(", "))
}

/// Measures everything, prints the table, and returns what is wrong with the rows.
async fn bench(loads: &Loads, subjects: Vec<Subject>) -> anyhow::Result<Vec<String>> {
    let Loads { batch, gzip, time, seed, .. } = loads;
    let coding = if *gzip { ", gzip" } else { "" };
    announce(&format!("bodies of {batch} events{coding}, {} s a line, seed {seed}", time.as_secs()));
    let mut lines = Vec::new();
    let mut maybe_direct: Option<Direct> = None;
    for &connections in &loads.connections {
        lines.extend(measure_all(loads, &subjects, connections).await?);
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
    let mut lone = Vec::new();
    for subject in &subjects {
        lone.push(idle(loads, subject).await?);
    }
    let loads = lines.len();
    lines.append(&mut lone);
    print_line(&table::render(&mut lines, maybe_direct.as_ref()));
    if let Some(direct) = &maybe_direct {
        print_line(&numbers(&mut lines, loads, direct, *gzip));
    }
    for subject in subjects {
        subject.stop().await?;
    }
    Ok(lines.iter().filter_map(Line::fault).collect())
}

/// Brings that many events through the service and asks questions of them; returns what is wrong with the rows.
async fn questions(loads: &Loads, mut subjects: Vec<Subject>, events: u64) -> anyhow::Result<Vec<String>> {
    let subject = subjects.swap_remove(0);
    let Subject::Own(weir) = &subject else {
        anyhow::bail!("--questions asks Weir's own tables: leave --url out")
    };
    let mut faults = Vec::new();
    let mut stored = 0;
    while stored < events {
        let lines = measure_all(loads, std::slice::from_ref(&subject), FILLING).await?;
        faults.extend(lines.iter().filter_map(Line::fault));
        stored += lines.iter().map(|line| line.outcome.acknowledged).sum::<u64>();
        announce(&format!("{stored} of {events} events are stored"));
    }
    print_line(&questions::ask(weir).await?);
    subject.stop().await?;
    Ok(faults)
}

/// The numbers of the design for Weir, whose lines come first among those of the loads and of the lone events.
fn numbers(lines: &mut [Line], loads: usize, direct: &Direct, gzip: bool) -> String {
    let (loads, lone) = lines.split_at_mut(loads);
    let name = lone[0].name.trim_end_matches(LONE_EVENTS).to_owned();
    let own = loads.iter_mut().filter(|line| line.name == name);
    let Some(best) = own.max_by(|one, other| one.outcome.rate().total_cmp(&other.outcome.rate())) else {
        return String::new();
    };
    numbers::render(Run { best, lone: &mut lone[0], direct, gzip })
}

/// One line for each server, measured in turns.
async fn measure_all(loads: &Loads, subjects: &[Subject], connections: usize) -> anyhow::Result<Vec<Line>> {
    let mut lines: Vec<_> = subjects.iter().map(|subject| Line::new(subject.name(), connections)).collect();
    let slices = if subjects.len() > 1 { SLICES } else { 1 };
    let time = loads.time / slices;
    for _ in 0..slices {
        for (line, subject) in lines.iter_mut().zip(subjects) {
            let requests = requests(loads, subject, time).await?;
            let address = subject.address().await?;
            subject.reset_peaks()?;
            line.measure(subject, Load { address, connections, time, requests, pause: Duration::ZERO })
                .await?;
        }
    }
    Ok(lines)
}

/// Lone events, one after the other, on a service that does nothing else.
async fn idle(loads: &Loads, subject: &Subject) -> anyhow::Result<Line> {
    let mut line = Line::new(format!("{}{LONE_EVENTS}", subject.name()), 1);
    let alone = Loads { batch: 1, gzip: false, ..loads.clone() };
    let requests = requests(&alone, subject, loads.time).await?;
    let address = subject.address().await?;
    let load = Load { address, connections: 1, time: loads.time, requests, pause: IDLE_PAUSE };
    line.measure(subject, load).await?;
    Ok(line)
}

async fn requests(loads: &Loads, subject: &Subject, time: Duration) -> anyhow::Result<Requests> {
    let host = subject.address().await?.to_string();
    let Loads { batch, gzip, seed, ready_events, .. } = *loads;
    let bodies = Bodies::new(Shape { seed, host: &host, key: subject.key(), events: batch, gzip });
    if !gzip {
        return Ok(Requests::Rendered(Arc::new(bodies)));
    }
    let events = ready_events * usize::try_from(time.as_millis())? / 1000;
    let pool = tokio::task::spawn_blocking(move || Pool::render(&bodies, events)).await?;
    Ok(Requests::Ready(pool))
}
