//! Four runners on one database, and who kills them.

use std::{
    fmt,
    os::unix::process::ExitStatusExt as _,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail};
use rand::{RngExt as _, rngs::StdRng, seq::SliceRandom as _};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    sync::{Notify, watch},
};

use crate::standalone::Standalone;

const RUNNERS: usize = 4;
/// What a runner logs once a statement has run and is recorded.
const HAS_RUN: &str = "migration statement has run";
/// `EX_TEMPFAIL`: worth another try.
const TEMPORARY: i32 = 75;
/// What a statement takes about, so that a kill meets any part of one.
const STATEMENT: u64 = 60;
/// How often a runner is started at most: each is killed a few times only.
const MAX_LIVES: u32 = 30;

/// What happened in races.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// Runners that were killed.
    killed: u32,
    /// Of them, those that held the lock.
    acting: u32,
    /// Runners that gave up for now and were started again.
    temporary: u32,
    /// Statements that ran a second time, since a kill kept them from the ledger.
    pub(super) again: u64,
}

/// One race, told.
pub(super) struct Race<'a> {
    weir: &'a Standalone,
    database: &'a str,
    progress: watch::Sender<Progress>,
    kills: [Notify; RUNNERS],
}

/// How far the database is.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    statements: usize,
    /// The runner that ran the last one, unless it was killed since.
    maybe_acting: Option<usize>,
}

/// How often one runner was ended.
#[derive(Clone, Copy, Debug, Default)]
struct Lives {
    killed: u32,
    temporary: u32,
}

impl<'a> Race<'a> {
    pub(super) fn new(weir: &'a Standalone, database: &'a str) -> Self {
        let kills = [const { Notify::const_new() }; RUNNERS];
        Self { weir, database, progress: watch::channel(Progress::default()).0, kills }
    }

    /// Runs until every runner has ended well; errs when one was never killed.
    pub(super) async fn run(&self, targets: &[usize], random: &mut StdRng) -> anyhow::Result<Tally> {
        let runners = futures::future::try_join_all((0..RUNNERS).map(|number| self.runner(number)));
        let (lives, acting) = tokio::try_join!(runners, self.strike(targets, random))?;
        if let Some(number) = lives.iter().position(|lives| lives.killed == 0) {
            bail!("runner {number} was never killed");
        }
        Ok(Tally {
            killed: lives.iter().map(|lives| lives.killed).sum(),
            acting,
            temporary: lives.iter().map(|lives| lives.temporary).sum(),
            again: 0,
        })
    }

    /// Kills at each target whoever acts and one that waits; says how often somebody acted.
    async fn strike(&self, targets: &[usize], random: &mut StdRng) -> anyhow::Result<u32> {
        let mut alive: Vec<usize> = (0..RUNNERS).collect();
        alive.shuffle(random);
        let mut acted = 0;
        let mut progress = self.progress.subscribe();
        for target in targets {
            // Before the first statement nobody has shown that it acts.
            let is_reached =
                |now: &Progress| now.statements >= *target && (*target == 0 || now.maybe_acting.is_some());
            let maybe_acting =
                progress.wait_for(is_reached).await.context("the race has ended")?.maybe_acting;
            pause(random).await;
            acted += u32::from(maybe_acting.is_some());
            alive.retain(|number| Some(*number) != maybe_acting);
            for number in maybe_acting.into_iter().chain(alive.pop()) {
                self.kills[number].notify_one();
            }
            self.progress.send_modify(|progress| progress.maybe_acting = None);
        }
        // Nobody acts until the claim of the last one that did expires, so that all still run.
        for number in alive {
            pause(random).await;
            self.kills[number].notify_one();
        }
        Ok(acted)
    }

    /// One runner's lives, to the one that ends well.
    async fn runner(&self, number: usize) -> anyhow::Result<Lives> {
        let mut lives = Lives::default();
        for _ in 0..MAX_LIVES {
            let (status, log) = self.live(number).await?;
            if status.success() {
                return Ok(lives);
            }
            match (status.signal(), status.code()) {
                (Some(_), _) => lives.killed += 1,
                (_, Some(TEMPORARY)) => lives.temporary += 1,
                _ => bail!("runner {number} ended with {status}: {log}"),
            }
        }
        bail!("runner {number} did not end well in {MAX_LIVES} lives")
    }

    /// Starts a runner and follows it to its end, which may be told from outside; returns its last line as well.
    async fn live(&self, number: usize) -> anyhow::Result<(ExitStatus, String)> {
        let mut command = self.weir.migration(self.database);
        command.env("LOG_LEVEL", "info").stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().context("failed to start a runner")?;
        let errors = child.stderr.take().context("a runner has no standard error")?;
        let mut lines = BufReader::new(errors).lines();
        let mut last = String::new();
        loop {
            tokio::select! {
                line = lines.next_line() => match line.context("failed to read what a runner says")? {
                    Some(line) => {
                        if line.contains(HAS_RUN) {
                            self.progress.send_modify(|progress| {
                                progress.statements += 1;
                                progress.maybe_acting = Some(number);
                            });
                        }
                        last = line;
                    }
                    None => return Ok((child.wait().await.context("failed to wait for a runner")?, last)),
                },
                () = self.kills[number].notified() => child.start_kill().context("failed to kill a runner")?,
            }
        }
    }
}

/// Lets some part of a statement go by.
async fn pause(random: &mut StdRng) {
    tokio::time::sleep(Duration::from_millis(random.random_range(0..STATEMENT))).await;
}

impl Tally {
    pub(super) fn add(&mut self, other: &Self) {
        self.killed += other.killed;
        self.acting += other.acting;
        self.temporary += other.temporary;
        self.again += other.again;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { killed, acting, temporary, again } = self;
        write!(
            formatter,
            "{killed} kills, {acting} of them of a runner that held the lock; {temporary} gave up for now; \
             {again} statements ran again"
        )
    }
}
