//! The faults, each as close to the real thing as this machine can have it.

use std::{fmt, time::Duration};

use rand::{RngExt as _, rngs::StdRng};

use super::{super::Plan, ground::Ground};
use crate::{
    clickhouse::{Effect, Fault},
    standalone::Signal,
};

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Blow {
    /// The engine's process is killed, this many times.
    EngineKilled(u32),
    /// No answer comes.
    Hung,
    /// Every statement waits.
    Slow,
    /// The user may only read: the engine itself refuses inserts.
    UserReadOnly,
    /// The table is read-only, as a replica without its Keeper is.
    TableReadOnly,
    /// The file system of the engine has no room for a part.
    DiskFull,
    /// The engine does the work, and the answer comes when nobody waits for it any more.
    AnswerLate,
    /// The engine does the work, and the connection is cut instead of an answer.
    AnswerDropped,
    /// An ingest process is killed, this many times.
    IngestKilled(u32),
    /// An ingest process is told to end, this many times.
    IngestTerminated(u32),
}

impl Blow {
    /// Every fault, those that are counted as often as the plan says.
    pub(super) fn all(plan: Plan) -> Vec<Self> {
        vec![
            // 5 rounds without and with a spool make 100.
            Self::EngineKilled(plan.pick(3, 10)),
            Self::Hung,
            Self::Slow,
            Self::UserReadOnly,
            Self::TableReadOnly,
            Self::DiskFull,
            Self::AnswerLate,
            Self::AnswerDropped,
            // 5 rounds make 50.
            Self::IngestKilled(plan.pick(2, 10)),
            Self::IngestTerminated(plan.pick(2, 10)),
        ]
    }

    /// Lets the fault happen and ends it.
    pub(super) async fn strike(
        &self,
        ground: &mut Ground,
        replicas: usize,
        random: &mut StdRng,
    ) -> anyhow::Result<()> {
        let clickhouse = |effect: Effect| Fault::lasting(effect).only("INSERT");
        match self {
            Self::EngineKilled(times) => {
                for _ in 0..*times {
                    ground.weir.clickhouse().kill_engine()?;
                    pause(random, 800, 1500).await;
                    // On a busy machine it may not even run again yet.
                    ground.engine_answers().await?;
                }
            }
            Self::Hung => ground.hold(clickhouse(Effect::Hang), random).await,
            Self::Slow => ground.hold(clickhouse(Effect::Late { millis: 300 }), random).await,
            Self::AnswerLate => ground.hold(clickhouse(Effect::LateAnswer { millis: 2500 }), random).await,
            Self::AnswerDropped => ground.hold(clickhouse(Effect::DropAnswer), random).await,
            Self::TableReadOnly => {
                let effect = Effect::Exception { code: 242, name: "TABLE_IS_READ_ONLY".to_owned() };
                ground.hold(clickhouse(effect), random).await;
            }
            Self::UserReadOnly => {
                ground.set_read_only(true).await?;
                pause(random, 500, 1500).await;
                ground.set_read_only(false).await?;
            }
            Self::DiskFull => {
                // A merge that runs has set its space aside already, and this engine would not notice that it is gone.
                ground.stop_merges().await?;
                let ballast = ground.disk.fill()?;
                pause(random, 1000, 2000).await;
                drop(ballast);
                ground.weir.query("SYSTEM START MERGES").await?;
            }
            Self::IngestKilled(times) => {
                for _ in 0..*times {
                    ground.end_one(Signal::SIGKILL, replicas, random).await?;
                }
            }
            Self::IngestTerminated(times) => {
                for _ in 0..*times {
                    ground.end_one(Signal::SIGTERM, replicas, random).await?;
                }
            }
        }
        Ok(())
    }

    /// Whether clients may meet broken connections.
    pub(super) fn breaks_connections(&self) -> bool {
        matches!(self, Self::IngestKilled(_) | Self::IngestTerminated(_))
    }
}

/// Waits for a random time between two bounds in milliseconds.
pub(super) async fn pause(random: &mut StdRng, least: u64, most: u64) {
    tokio::time::sleep(Duration::from_millis(random.random_range(least..most))).await;
}

impl fmt::Display for Blow {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EngineKilled(times) => write!(formatter, "ClickHouse killed {times} times"),
            Self::Hung => write!(formatter, "ClickHouse hung"),
            Self::Slow => write!(formatter, "ClickHouse slow"),
            Self::UserReadOnly => write!(formatter, "user read-only"),
            Self::TableReadOnly => write!(formatter, "table read-only"),
            Self::DiskFull => write!(formatter, "disk full"),
            Self::AnswerLate => write!(formatter, "answer after the deadline"),
            Self::AnswerDropped => write!(formatter, "answer dropped"),
            Self::IngestKilled(times) => write!(formatter, "ingest killed {times} times"),
            Self::IngestTerminated(times) => write!(formatter, "ingest terminated {times} times"),
        }
    }
}
