//! The parts that a fault meets: ClickHouse on a disk of its own, replicas, load, and the count at the end.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use rand::{RngExt as _, rngs::StdRng};
use sha2::{Digest as _, Sha256};

use super::{
    super::mebibytes,
    blow::{Blow, pause},
    disk::Disk,
    verdict::{self, Tally},
};
use crate::{
    clickhouse::Fault,
    load::{Load, Outcome},
    query::until_answered,
    standalone::{Options, Programs, Signal, Standalone},
};

/// Replicas that are there, of which a load uses one to all.
pub(super) const REPLICAS: usize = 4;
/// Memory that the service may hold for unanswered requests.
const BUFFER_BYTES: u64 = 32 << 20;
/// What the service may use besides.
const BASE_BYTES: u64 = 64 << 20;
const CONNECTIONS: usize = 8;
/// Before and after a fault, so that it meets a service that works and leaves one.
const WARM_UP: u64 = 200;
const RECOVERY: Duration = Duration::from_mins(1);
/// User that the service stores with, whose rights can be taken for a while.
const WRITER: &str = "writer";

/// The running parts.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) weir: Standalone,
    pub(super) disk: Disk,
    folder: PathBuf,
    password: String,
    replicas: Vec<usize>,
    tally: Tally,
}

impl Ground {
    /// Starts ClickHouse with an empty schema and a user for the service.
    pub(super) async fn prepare(folder: &Path) -> anyhow::Result<Self> {
        let disk = Disk::mount(&folder.join("clickhouse"))?;
        let weir = Standalone::start(Options::new(Programs::find()?, folder)).await?;
        let password = hex::encode(rand::random::<[u8; 16]>());
        let hash = hex::encode(Sha256::digest(&password));
        weir.query(&format!("CREATE USER {WRITER} IDENTIFIED WITH sha256_hash BY '{hash}'")).await?;
        weir.query(&format!("GRANT SELECT, INSERT ON {}.* TO {WRITER}", weir.database())).await?;
        let folder = folder.to_path_buf();
        Ok(Self { weir, disk, folder, password, replicas: Vec::new(), tally: Tally::default() })
    }

    /// Replaces the replicas by new ones, with a spool or without.
    pub(super) async fn start_replicas(&mut self, spool: bool) -> anyhow::Result<()> {
        self.stop_replicas().await?;
        for number in 0..REPLICAS {
            let path = self.folder.join(format!("spool-{number}")).display().to_string();
            let buffer = BUFFER_BYTES.to_string();
            let mut environment = vec![
                ("CLICKHOUSE_USER", WRITER),
                ("CLICKHOUSE_PASSWORD", self.password.as_str()),
                ("WEIR_CLICKHOUSE_TIMEOUT_MS", "2000"),
                ("WEIR_BUFFER_MAX_BYTES", buffer.as_str()),
                ("WEIR_DRAIN_SECONDS", "10"),
            ];
            if spool {
                environment.push(("WEIR_SPOOL_DIR", path.as_str()));
            }
            let replica = self.weir.add(&environment)?;
            self.weir.wait_ready(replica).await?;
            self.replicas.push(replica);
        }
        Ok(())
    }

    async fn stop_replicas(&mut self) -> anyhow::Result<()> {
        for replica in std::mem::take(&mut self.replicas) {
            self.weir.signal(replica, Signal::SIGTERM)?;
            let status = self.weir.wait_ended(replica, Duration::from_secs(30)).await?;
            ensure!(status.success(), "a replica that was told to end ended with {status}");
        }
        Ok(())
    }

    /// Loads that many replicas, lets the fault happen, and compares rows with acknowledged events.
    pub(super) async fn endure(
        &mut self,
        blow: &Blow,
        replicas: usize,
        random: &mut StdRng,
    ) -> anyhow::Result<String> {
        let event = format!("fault {:08x}", random.random::<u32>());
        let load = self.load(&event, replicas).start();
        load.wait_for(WARM_UP, RECOVERY).await.context("before the fault")?;
        blow.strike(self, replicas, random).await?;
        let so_far = load.acknowledged();
        load.wait_for(so_far + WARM_UP, RECOVERY).await.context("after the fault")?;
        let outcome = tokio::time::timeout(RECOVERY, load.stop()).await;
        let outcome = outcome.context("some clients got no answer after the fault")?;
        ensure!(outcome.refused == 0, "{} requests were given up", outcome.refused);
        check_statuses(blow, &outcome)?;
        let rows = verdict::rows_are(&self.weir, &event, &outcome.ids).await?;
        let peak = self.peak()?;
        self.tally.add(&outcome, rows, peak);
        Ok(format!(
            "      {blow}, {replicas} replicas: {} events sent and acknowledged = {rows} rows, 0 doubled, \
             {} of {} requests retried, answers {:?}, peak {:.0} MiB\n",
            outcome.acknowledged,
            outcome.retried,
            outcome.requests,
            outcome.statuses,
            mebibytes(peak),
        ))
    }

    fn load(&self, event: &str, replicas: usize) -> Load {
        Load {
            urls: self.replicas[..replicas].iter().map(|replica| self.weir.url(*replica)).collect(),
            key: self.weir.key().to_owned(),
            event: event.to_owned(),
            connections: CONNECTIONS,
            events_per_request: 10,
            pause: Duration::from_millis(5),
            attempts: u64::MAX,
        }
    }

    /// The largest memory of a replica since it was started last; errs above the cap.
    fn peak(&self) -> anyhow::Result<u64> {
        let mut largest = 0;
        for replica in &self.replicas {
            let peak = self.weir.usage(*replica)?.peak_bytes;
            ensure!(
                peak <= BASE_BYTES + BUFFER_BYTES,
                "a replica used {:.0} MiB, {:.0} MiB are the cap",
                mebibytes(peak),
                mebibytes(BASE_BYTES + BUFFER_BYTES)
            );
            largest = largest.max(peak);
        }
        Ok(largest)
    }

    /// Sets a fault of ClickHouse for a random while.
    pub(super) async fn hold(&self, fault: Fault, random: &mut StdRng) {
        self.weir.clickhouse().fault(fault);
        pause(random, 2200, 3200).await;
        self.weir.clickhouse().clear_faults();
    }

    /// Waits until the engine that was killed answers again.
    pub(super) async fn engine_answers(&self) -> anyhow::Result<()> {
        until_answered(async |sql| self.weir.query(sql).await).await
    }

    /// Keeps merges from starting, and waits for those that run.
    pub(super) async fn stop_merges(&self) -> anyhow::Result<()> {
        self.weir.query("SYSTEM STOP MERGES").await?;
        let ended = async {
            while self.weir.query("SELECT count() FROM system.merges").await?.trim() != "0" {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(RECOVERY, ended).await.context("merges go on")?
    }

    /// Takes the writer's right to write, or gives it back.
    pub(super) async fn set_read_only(&self, read_only: bool) -> anyhow::Result<()> {
        let value = u8::from(read_only);
        self.weir.query(&format!("ALTER USER {WRITER} SETTINGS readonly = {value}")).await.map(drop)
    }

    /// Ends one of the loaded replicas at a random moment, and starts it again.
    pub(super) async fn end_one(
        &mut self,
        signal: Signal,
        replicas: usize,
        random: &mut StdRng,
    ) -> anyhow::Result<()> {
        pause(random, 50, 500).await;
        let replica = self.replicas[random.random_range(0..replicas)];
        self.weir.signal(replica, signal)?;
        let status = self.weir.wait_ended(replica, Duration::from_secs(30)).await?;
        ensure!(signal == Signal::SIGKILL || status.success(), "told to end, it ended with {status}");
        self.tally.ended += 1;
        self.weir.restart(replica).await?;
        self.weir.wait_ready(replica).await
    }

    /// Ends everything in order and sums up.
    pub(super) async fn finish(mut self) -> anyhow::Result<String> {
        self.stop_replicas().await?;
        self.weir.stop().await?;
        Ok(self.tally.to_string())
    }
}

/// A storage fault is never the client's, and a connection breaks only when a process ends.
fn check_statuses(blow: &Blow, outcome: &Outcome) -> anyhow::Result<()> {
    let allowed = |status: u16| matches!(status, 200 | 503) || (status == 0 && blow.breaks_connections());
    let strange: Vec<_> = outcome.statuses.keys().filter(|status| !allowed(**status)).collect();
    ensure!(strange.is_empty(), "answers {strange:?} among {:?}", outcome.statuses);
    Ok(())
}
