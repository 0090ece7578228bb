//! `migrate`: brings the schema of one database to a version of this binary.
//!
//! Statements run one at a time under the lock, each recorded in the ledger once it has run; a run that dies is resumed
//! where it stopped. Every statement can be repeated, so that the one between "has run" and "is recorded" does no harm.

mod command;
mod embedded;
mod error;
mod history;
mod ledger;
mod lock;
mod render;
mod split;

use std::time::Duration;

use uuid::Uuid;

use crate::clickhouse::Client;
use crate::settings::Settings;
use history::Applied;
use ledger::Ledger;
use lock::Lock;

pub use command::run;
pub use embedded::Step;
pub use embedded::steps;
pub use embedded::steps_of;
pub use error::Error;
pub use history::Mismatch;
pub use lock::LockTimes;
pub use render::Rendering;
pub use render::render;

/// Time that one call of the ledger may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Time that one statement may take; later migrations may move data.
const STATEMENT_TIMEOUT: Duration = Duration::from_hours(1);

/// What to apply, and to what.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where and as whom the schema lives.
    pub rendering: Rendering,
    /// The migrations, in order.
    pub steps: Vec<Step>,
    /// Version to reach; the newest when absent.
    pub maybe_target: Option<u32>,
    /// How the lock keeps time.
    pub lock_times: LockTimes,
}

impl Options {
    /// The embedded migrations for the database of the settings.
    pub fn from_settings(settings: &Settings, maybe_target: Option<u32>) -> Result<Self, Error> {
        let rendering = Rendering {
            database: settings.clickhouse.database.clone(),
            maybe_definer: settings.migration.definer.clone(),
            maybe_cluster: settings.migration.cluster.clone(),
        };
        Ok(Self { rendering, steps: steps()?, maybe_target, lock_times: LockTimes::default() })
    }
}

/// What a run has found and done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Statements that this run has run.
    pub statements: usize,
    /// Version of the schema now.
    pub version: u32,
}

/// What is there and what is left.
#[derive(Debug)]
pub struct State<'a> {
    /// Version of the schema: the highest of which every statement has run.
    pub version: u32,
    /// Statements up to the target that have not run.
    pub pending: Vec<&'a Step>,
}

/// Applies what is missing, alone: other runs wait or give up. Nothing is written when nothing is missing.
pub async fn apply(client: &Client, options: &Options) -> Result<Report, Error> {
    let client = client.with_timeout(CALL_TIMEOUT);
    let state = observe(&client, options).await?;
    if state.pending.is_empty() {
        return Ok(Report { statements: 0, version: state.version });
    }
    let ledger = Ledger::new(&client, &options.rendering);
    ledger.create_database().await.map_err(Error::Create)?;
    ledger.create_tables().await.map_err(Error::Create)?;
    let run_id = Uuid::new_v4();
    let mut lock = Lock::acquire(&client, &options.rendering.database, run_id, options.lock_times).await?;
    let applied = apply_locked(&client, options, &ledger, &mut lock, run_id).await;
    lock.release().await;
    applied
}

/// Reads what is there, and refuses what must not be touched. Writes nothing.
pub async fn observe<'a>(client: &Client, options: &'a Options) -> Result<State<'a>, Error> {
    let ledger = Ledger::new(&client.with_timeout(CALL_TIMEOUT), &options.rendering);
    let foreign = ledger.foreign_tables().await.map_err(Error::Observe)?;
    if !foreign.is_empty() {
        return Err(Error::Foreign(foreign));
    }
    let applied: Vec<Applied> = ledger.read().await.map_err(Error::Observe)?;
    let pending = history::pending(&options.steps, &applied, options.maybe_target)?;
    Ok(State { version: history::version(&applied), pending })
}

async fn apply_locked(
    client: &Client,
    options: &Options,
    ledger: &Ledger,
    lock: &mut Lock,
    run_id: Uuid,
) -> Result<Report, Error> {
    // Read again: the run that held the lock before may have done it all.
    let pending = observe(client, options).await?.pending;
    for step in &pending {
        lock.confirm().await?;
        let work = run_step(client, options, step);
        lock.keep_during(work).await??;
        let (version, statement) = (step.version, step.statement);
        let failed = |source| Error::Record { version, statement, source };
        ledger.record(step, run_id).await.map_err(failed)?;
        tracing::info!(version, statement, statements = step.statements, "migration statement has run");
    }
    let version = observe(client, options).await?.version;
    Ok(Report { statements: pending.len(), version })
}

async fn run_step(client: &Client, options: &Options, step: &Step) -> Result<(), Error> {
    let sql = render(&step.template, &options.rendering);
    let client = client.without_database().with_timeout(STATEMENT_TIMEOUT);
    client.execute(&sql).await.map_err(|source| Error::Statement {
        version: step.version,
        statement: step.statement,
        name: step.name.clone(),
        head: sql.lines().next().unwrap_or_default().to_owned(),
        source,
    })
}
