//! One `weir-ingest` process: started, asked, signalled, started again.

use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::tool::tail;

const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// The service's own bound for its drain is 25 s.
const STOP_TIMEOUT: Duration = Duration::from_secs(35);
const LOG_TAIL_LINES: usize = 15;

/// A process with fixed ports, folder and environment.
#[derive(Debug)]
pub(super) struct Ingest {
    pub(super) public: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) folder: PathBuf,
    program: PathBuf,
    variables: BTreeMap<String, String>,
    child: Child,
}

impl Ingest {
    /// Starts the process; its output goes to `log` in its folder.
    pub(super) fn start(
        program: PathBuf,
        folder: PathBuf,
        public: SocketAddr,
        admin: SocketAddr,
        variables: Vec<(String, String)>,
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&folder).with_context(|| format!("failed to create {}", folder.display()))?;
        // The later of two variables of one name wins.
        let variables = variables.into_iter().collect();
        let child = spawn(&program, &folder, &variables)?;
        Ok(Self { public, admin, folder, program, variables, child })
    }

    /// Changes a variable, from the next start on.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.variables.insert(name.to_owned(), value.to_owned());
    }

    /// Kills the process if it still runs, and starts it again.
    pub(super) async fn restart(&mut self) -> anyhow::Result<()> {
        if self.child.try_wait().context("failed to look after weir-ingest")?.is_none() {
            self.signal(Signal::SIGKILL)?;
        }
        self.wait_ended(STOP_TIMEOUT).await?;
        self.child = spawn(&self.program, &self.folder, &self.variables)?;
        Ok(())
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn log(&self) -> anyhow::Result<String> {
        let path = log_file(&self.folder);
        let bytes = std::fs::read(&path).with_context(|| format!("failed to read {}", path.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    pub(super) async fn wait_ready(&mut self, deadline: Duration) -> anyhow::Result<()> {
        let started = Instant::now();
        while !is_ready(self.admin).await.unwrap_or(false) {
            if let Some(status) = self.child.try_wait().context("failed to look after weir-ingest")? {
                return Err(self.failure(&format!("ended with {status}")));
            }
            if started.elapsed() > deadline {
                return Err(self.failure(&format!("is not ready after {} s", deadline.as_secs())));
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// Sends a signal; a process that has ended already is an error, since the caller expects a running one.
    pub(super) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = i32::try_from(self.id()).context("a process id out of range")?;
        kill(Pid::from_raw(pid), signal).with_context(|| format!("failed to send {signal} to weir-ingest"))
    }

    pub(super) async fn wait_ended(&mut self, deadline: Duration) -> anyhow::Result<ExitStatus> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().context("failed to look after weir-ingest")? {
                return Ok(status);
            }
            if started.elapsed() > deadline {
                return Err(self.failure(&format!("has not ended after {} s", deadline.as_secs())));
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Ends the process in order; one that has ended already is fine.
    pub(super) async fn stop(&mut self) -> anyhow::Result<()> {
        if self.child.try_wait().context("failed to look after weir-ingest")?.is_some() {
            return Ok(());
        }
        self.signal(Signal::SIGTERM)?;
        let status = self.wait_ended(STOP_TIMEOUT).await?;
        if status.success() { Ok(()) } else { Err(self.failure(&format!("ended with {status}"))) }
    }

    fn failure(&self, what: &str) -> anyhow::Error {
        let log = self.log().unwrap_or_default();
        let tail = tail(&log, LOG_TAIL_LINES);
        anyhow::anyhow!("weir-ingest {what}; its log {} ends with:\n{tail}", log_file(&self.folder).display())
    }
}

impl Drop for Ingest {
    fn drop(&mut self) {
        // Ended already, in most cases; then both calls do nothing.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A command whose process is killed when the thread that starts it ends.
pub(super) fn command(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program);
    command
}

/// Errs with what a program wrote when it failed.
pub(super) fn ended_well(output: &Output) -> anyhow::Result<()> {
    let text = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(
        output.status.success(),
        "it ended with {}:\n{}",
        output.status,
        tail(&text, LOG_TAIL_LINES)
    );
    Ok(())
}

fn spawn(program: &Path, folder: &Path, variables: &BTreeMap<String, String>) -> anyhow::Result<Child> {
    let path = log_file(folder);
    let log = OpenOptions::new().create(true).append(true).open(&path);
    let log = log.with_context(|| format!("failed to open {}", path.display()))?;
    let errors = log.try_clone().context("failed to share a log")?;
    let mut command = command(program);
    command.env_clear().envs(variables).current_dir(folder);
    command.stdin(Stdio::null()).stdout(log).stderr(errors);
    command.spawn().context("failed to start `setpriv`: install util-linux")
}

fn log_file(folder: &Path) -> PathBuf {
    folder.join("log")
}

async fn is_ready(admin: SocketAddr) -> std::io::Result<bool> {
    let ask = async {
        let mut stream = TcpStream::connect(admin).await?;
        let request = format!("GET /readyz HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut status_line = [0; 12];
        stream.read_exact(&mut status_line).await?;
        Ok(status_line.ends_with(b" 200"))
    };
    tokio::time::timeout(Duration::from_secs(2), ask).await.unwrap_or(Ok(false))
}
