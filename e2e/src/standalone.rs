//! Weir's data path without Kubernetes: the ClickHouse development server and any number of `weir-ingest` processes on
//! loopback, inside the sandbox or outside of it.
//!
//! ```no_run
//! # async fn story() -> anyhow::Result<()> {
//! use weir_e2e::standalone::{Options, Programs, Signal, Standalone};
//! let mut weir = Standalone::start(Options::new(Programs::find()?, "/tmp/story".as_ref())).await?; // Migrated.
//! let first = weir.add(&[("WEIR_FLUSH_MAX_AGE_MS", "5")])?; // Starts a process; any number of them.
//! weir.wait_ready(first).await?;
//! // … send to weir.url(first) with weir.key(), break ClickHouse with weir.clickhouse().fault(…) …
//! weir.signal(first, Signal::SIGKILL)?;
//! weir.restart(first).await?; // The same ports, folder and environment.
//! weir.wait_ready(first).await?;
//! println!("{} events", weir.query("SELECT count() FROM {database}.events").await?);
//! weir.stop().await
//! # }
//! ```
//! Everything ends when the value is dropped, and when this process is killed. Start and restart from a thread that
//! lives as long as the processes shall (the main one, or a worker of the runtime): the kernel ends them with it.

mod process;
mod usage;

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use anyhow::Context as _;
pub use nix::sys::signal::Signal;

use self::process::{Ingest, ended_well};
pub use self::usage::Usage;
use crate::{clickhouse, image, tool};

/// Database of every run.
const DATABASE: &str = "product_analytics";
/// How long a process may take until `/readyz` says yes, on a machine that others use too.
const READY: Duration = Duration::from_mins(1);

/// Programs that were built and installed before.
#[derive(Clone, Debug)]
pub struct Programs {
    /// `weir-ingest`, as the image holds it.
    pub ingest: PathBuf,
    /// Library of the ClickHouse engine.
    pub engine: PathBuf,
}

/// Which way the processes and [`Standalone::query`] reach ClickHouse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Through the development server, whose faults and restarts they feel.
    Proxied,
    /// To the engine itself, for measurements; its address is lost when it is restarted.
    Direct,
}

/// How a run is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// The programs.
    pub programs: Programs,
    /// Where everything is kept: `clickhouse/`, and `ingest-0/`, `ingest-1/` … for the processes.
    pub folder: PathBuf,
    /// The way to ClickHouse.
    pub route: Route,
    /// Ingestion key that every process takes.
    pub key: String,
}

/// The running parts.
#[derive(Debug)]
pub struct Standalone {
    clickhouse: clickhouse::Server,
    options: Options,
    processes: Vec<Ingest>,
}

impl Programs {
    /// Builds and installs what is missing; outside of the sandbox.
    pub fn prepare() -> anyhow::Result<Self> {
        Ok(Self { ingest: image::build_ingest()?, engine: tool::clickhouse_engine()? })
    }

    /// Finds what was prepared; inside of the sandbox, where nothing is built any more.
    pub fn find() -> anyhow::Result<Self> {
        Ok(Self { ingest: image::built_ingest()?, engine: tool::clickhouse_engine()? })
    }
}

impl Options {
    /// Through the development server, with a key that nobody else knows.
    pub fn new(programs: Programs, folder: &Path) -> Self {
        let key = format!("key-{}", hex::encode(rand::random::<[u8; 16]>()));
        Self { programs, folder: folder.to_path_buf(), route: Route::Proxied, key }
    }
}

impl Standalone {
    /// Starts ClickHouse and migrates the schema; a folder that was used before keeps its data.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let launcher = std::env::current_exe().context("failed to find this program's own file")?;
        let data = options.folder.join("clickhouse");
        let password = hex::encode(rand::random::<[u8; 16]>());
        let server = clickhouse::Options::new(options.programs.engine.clone(), launcher, data, &password);
        let clickhouse = clickhouse::Server::start(server).await?;
        let weir = Self { clickhouse, options, processes: Vec::new() };
        weir.migrate(DATABASE).await?;
        Ok(weir)
    }

    /// Starts a process and returns its index; it has these variables besides, or instead of, those of [`Self`].
    pub fn add(&mut self, environment: &[(&str, &str)]) -> anyhow::Result<usize> {
        let index = self.processes.len();
        let folder = self.options.folder.join(format!("ingest-{index}"));
        let (public, admin) = (free_address()?, free_address()?);
        let mut variables = self.environment();
        variables.extend([
            ("HOST".to_owned(), public.ip().to_string()),
            ("PORT".to_owned(), public.port().to_string()),
            ("WEIR_ADMIN_PORT".to_owned(), admin.port().to_string()),
            ("PUBLIC_API_KEYS".to_owned(), self.options.key.clone()),
        ]);
        variables.extend(environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let program = self.options.programs.ingest.clone();
        self.processes.push(Ingest::start(program, folder, public, admin, variables)?);
        Ok(index)
    }

    /// Waits until `/readyz` of a process says yes; errs with its log when it ends instead.
    pub async fn wait_ready(&mut self, index: usize) -> anyhow::Result<()> {
        self.processes[index].wait_ready(READY).await
    }

    /// URL of the public port of a process, without a slash at its end.
    pub fn url(&self, index: usize) -> String {
        format!("http://{}", self.processes[index].public)
    }

    /// URL of the admin port of a process.
    pub fn admin_url(&self, index: usize) -> String {
        format!("http://{}", self.processes[index].admin)
    }

    /// Folder of a process, for its spool, keys or credentials.
    pub fn folder(&self, index: usize) -> &Path {
        &self.processes[index].folder
    }

    /// What a process wrote so far, over all its restarts.
    pub fn log(&self, index: usize) -> anyhow::Result<String> {
        self.processes[index].log()
    }

    /// Sends a signal to a process.
    pub fn signal(&self, index: usize, signal: Signal) -> anyhow::Result<()> {
        self.processes[index].signal(signal)
    }

    /// Waits for the end of a process that was told to end.
    pub async fn wait_ended(&mut self, index: usize, deadline: Duration) -> anyhow::Result<ExitStatus> {
        self.processes[index].wait_ended(deadline).await
    }

    /// Starts a process again: the same ports, folder and environment. One that still runs is killed.
    pub async fn restart(&mut self, index: usize) -> anyhow::Result<()> {
        self.processes[index].restart().await
    }

    /// Changes a variable of a process, from its next restart on.
    pub fn set(&mut self, index: usize, name: &str, value: &str) {
        self.processes[index].set(name, value);
    }

    /// CPU and memory of a process since it was started last.
    pub fn usage(&self, index: usize) -> anyhow::Result<Usage> {
        Usage::of(self.processes[index].id())
    }

    /// CPU and memory of the engine since it was started last.
    pub fn clickhouse_usage(&self) -> anyhow::Result<Usage> {
        Usage::of(self.clickhouse.engine_pid())
    }

    /// Forgets the peaks of memory so far, of every process and of the engine.
    pub fn reset_peaks(&self) -> anyhow::Result<()> {
        let engine = self.clickhouse.engine_pid();
        self.processes.iter().map(Ingest::id).chain([engine]).try_for_each(usage::reset_peak)
    }

    /// The development server: faults, kills and restarts of the engine.
    pub fn clickhouse(&self) -> &clickhouse::Server {
        &self.clickhouse
    }

    /// Ingestion key that every process takes.
    pub fn key(&self) -> &str {
        &self.options.key
    }

    /// Database with the tables.
    pub fn database(&self) -> &str {
        DATABASE
    }

    /// URL by which ClickHouse is reached.
    pub fn clickhouse_url(&self) -> String {
        match self.options.route {
            Route::Proxied => self.clickhouse.url(),
            Route::Direct => self.clickhouse.engine_url(),
        }
    }

    /// Runs a statement as ClickHouse's administrator; `{database}` in it is the database.
    pub async fn query(&self, sql: &str) -> anyhow::Result<String> {
        self.clickhouse.query(&sql.replace("{database}", DATABASE)).await
    }

    /// Ends everything, the processes by SIGTERM; errs when one of them does not end in order.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        for process in &mut self.processes {
            process.stop().await?;
        }
        self.clickhouse.stop().await
    }

    /// Runs the migrations that a database lacks; the tables of [`Self::database`] are there from the start.
    pub async fn migrate(&self, database: &str) -> anyhow::Result<()> {
        let output = self.migration(database).output().await;
        ended_well(&output.context("failed to start `setpriv`: install util-linux")?)
    }

    /// A runner that migrates a database, not started yet; it is killed when its handle is dropped.
    pub fn migration(&self, database: &str) -> tokio::process::Command {
        let mut command = tokio::process::Command::from(process::command(&self.options.programs.ingest));
        command.arg("migrate").env_clear().envs(self.environment()).env("CLICKHOUSE_DATABASE", database);
        command.kill_on_drop(true);
        command
    }

    fn environment(&self) -> Vec<(String, String)> {
        let (user, password) = self.clickhouse.admin();
        let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        vec![
            variable("CLICKHOUSE_URL", &self.clickhouse_url()),
            variable("CLICKHOUSE_USER", user),
            variable("CLICKHOUSE_PASSWORD", password),
            variable("CLICKHOUSE_DATABASE", DATABASE),
        ]
    }
}

/// A free loopback port below those that the kernel gives to outgoing connections: it must be free after a restart too.
fn free_address() -> anyhow::Result<SocketAddr> {
    for _ in 0..100 {
        let port = rand::random_range(20_000..32_000);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    anyhow::bail!("no loopback port between 20000 and 32000 is free")
}
