//! What the command is told, and the servers that it names.

use std::{path::Path, path::PathBuf, time::Duration};

use anyhow::Context as _;
use nix::sys::statvfs::statvfs;
use url::Url;

use super::{
    Loads, READY_EVENTS,
    subject::{Other, Subject},
};
use crate::{
    standalone::{Options, Programs, Route, Standalone},
    tool,
};

/// Bytes that the rows of a run may take, twice, with the parts that were merged.
const ROOM: u64 = 8 << 30;

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
    #[arg(long, value_delimiter = ',', default_value = "1,16,64,256,512")]
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
    /// Bring this many events through Weir, then time what analysts ask of them, instead of the table of loads.
    #[arg(long, value_name = "EVENTS", conflicts_with = "url")]
    questions: Option<u64>,
    /// Where Weir's ClickHouse keeps its files. Default: in memory, where it has room, so that no file system is
    /// measured; else a folder for temporary files.
    #[arg(long, value_name = "FOLDER", conflicts_with = "url")]
    data: Option<PathBuf>,
    /// Another `weir-ingest` than the one of this workspace, which is then not built.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

impl Args {
    /// How many events questions are to be asked of, if any.
    pub(super) fn questions(&self) -> Option<u64> {
        self.questions
    }

    /// Where what is started keeps its files.
    pub(super) fn data(&self) -> PathBuf {
        if let Some(folder) = &self.data {
            return folder.clone();
        }
        let memory = Path::new("/dev/shm");
        let has_room =
            statvfs(memory).is_ok_and(|free| free.blocks_available() * free.fragment_size() >= ROOM);
        if has_room { memory.to_owned() } else { std::env::temp_dir() }
    }

    /// What is sent.
    pub(super) fn loads(&self) -> Loads {
        Loads {
            batch: self.batch,
            connections: self.connections.clone(),
            gzip: self.gzip,
            ready_events: READY_EVENTS,
            time: Duration::from_secs(self.seconds),
            seed: self.seed.unwrap_or_else(rand::random),
        }
    }

    /// Builds and installs what Weir needs, unless another server is driven.
    pub(super) fn programs(&self) -> anyhow::Result<Option<Programs>> {
        Ok(match (&self.url, &self.program) {
            (Some(_), _) => None,
            (None, Some(ingest)) => {
                Some(Programs { ingest: ingest.canonicalize()?, engine: tool::clickhouse_engine()? })
            }
            (None, None) => Some(Programs::prepare()?),
        })
    }

    /// The servers, Weir started.
    pub(super) async fn subjects(
        &self,
        programs: Option<Programs>,
        folder: &Path,
    ) -> anyhow::Result<Vec<Subject>> {
        let first = match (&self.url, programs) {
            (None, Some(programs)) => start(programs, folder, &self.env).await?,
            (Some(url), _) => Subject::Other(Box::new(Other {
                url: url.clone(),
                key: self.key.clone(),
                maybe_pid: self.pid,
                maybe_clickhouse_pid: self.clickhouse_pid,
                maybe_rows: self.rows.as_ref().map(rows).transpose()?,
            })),
            (None, None) => anyhow::bail!("there is nothing to drive"),
        };
        let beside = self.beside.as_ref().map(|url| {
            anyhow::Ok(Subject::Other(Box::new(Other {
                url: url.clone(),
                key: self.beside_key.clone(),
                maybe_pid: self.beside_pid,
                maybe_clickhouse_pid: self.beside_clickhouse_pid,
                maybe_rows: self.beside_rows.as_ref().map(rows).transpose()?,
            })))
        });
        Ok(std::iter::once(first).chain(beside.transpose()?).collect())
    }
}

/// Starts Weir with further variables, around the proxy of its ClickHouse, which costs CPU of its own.
pub(super) async fn start(
    programs: Programs,
    folder: &Path,
    variables: &[String],
) -> anyhow::Result<Subject> {
    let options = Options { route: Route::Direct, ..Options::new(programs, folder) };
    let mut weir = Standalone::start(options).await?;
    let variables = variables
        .iter()
        .map(|variable| variable.split_once('=').with_context(|| format!("`{variable}` is not NAME=VALUE")));
    let index = weir.add(&variables.collect::<anyhow::Result<Vec<_>>>()?)?;
    weir.wait_ready(index).await?;
    Ok(Subject::Own(Box::new(weir)))
}

/// Splits `http://user:password@host/#database.table`.
fn rows(url: &Url) -> anyhow::Result<(Url, String)> {
    let table = url.fragment().context("name the table behind a #")?.to_owned();
    let mut url = url.clone();
    url.set_fragment(None);
    Ok((url, table))
}
