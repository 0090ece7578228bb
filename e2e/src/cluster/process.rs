//! The processes of a cluster: started, watched until ready, stopped.

use std::{
    fs::OpenOptions,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::part::Part;
use crate::tool;

/// How long a part may take until it is ready, on a machine that others use too.
pub(super) const READY_TIMEOUT: Duration = Duration::from_secs(90);
/// How long a part may take to end after SIGTERM.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(40);
const LOG_TAIL_LINES: usize = 15;

/// How a part shows that it is ready.
#[derive(Debug, Clone)]
pub(super) enum Probe {
    /// It accepts connections.
    Tcp(SocketAddr),
    /// It accepts connections at a path.
    Unix(PathBuf),
    /// It answers 200 over plain HTTP.
    Http(SocketAddr, &'static str),
}

/// A part that runs.
#[derive(Debug)]
pub(super) struct Process {
    part: Part,
    child: Child,
    command_line: String,
    log: PathBuf,
}

impl Process {
    /// Starts the command with its output appended to `log`.
    pub(super) fn start(part: Part, mut command: Command, log: PathBuf) -> anyhow::Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("failed to open {}", log.display()))?;
        let errors = file.try_clone().context("failed to share a log")?;
        let command_line = tool::command_line(&command);
        let child = command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            .spawn()
            .with_context(|| format!("failed to start {part} with `{command_line}`"))?;
        Ok(Self { part, child, command_line, log })
    }

    /// Returns the id of the process, as seen inside the sandbox.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Errs, with the end of the log, when the process is gone.
    pub(super) fn check_alive(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait().with_context(|| format!("failed to look after {}", self.part))? {
            None => Ok(()),
            Some(status) => Err(self.failure(&format!("ended with {status}"))),
        }
    }

    /// Describes a failure of this part: its command and the last lines of its log.
    pub(super) fn failure(&self, what: &str) -> anyhow::Error {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let tail = tool::tail(&String::from_utf8_lossy(&log), LOG_TAIL_LINES);
        anyhow::anyhow!(
            "{} {what}\n  command: {}\n  log: {}, which ends with:\n{tail}",
            self.part,
            self.command_line,
            self.log.display()
        )
    }

    /// Ends the process: asks, waits, and kills the one that does not listen.
    pub(super) fn stop(mut self) -> anyhow::Result<()> {
        self.signal(Signal::SIGTERM)?;
        let deadline = Instant::now() + STOP_TIMEOUT;
        while self.child.try_wait().with_context(|| format!("failed to look after {}", self.part))?.is_none()
        {
            if Instant::now() > deadline {
                return self.kill();
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }

    /// Kills the process and waits for its end.
    pub(super) fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().with_context(|| format!("failed to kill {}", self.part))?;
        self.child.wait().with_context(|| format!("failed to wait for {}", self.part))?;
        Ok(())
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = i32::try_from(self.id()).context("a process id out of range")?;
        kill(Pid::from_raw(pid), signal).with_context(|| format!("failed to signal {}", self.part))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Ended already, in most cases; then both calls do nothing.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Probe {
    /// Says whether the part is ready now.
    pub(super) fn succeeds(&self) -> bool {
        match self {
            Self::Tcp(address) => connect(address).is_ok(),
            Self::Unix(path) => UnixStream::connect(path).is_ok(),
            Self::Http(address, path) => http_ok(address, path).unwrap_or(false),
        }
    }
}

fn connect(address: &SocketAddr) -> std::io::Result<TcpStream> {
    TcpStream::connect_timeout(address, Duration::from_secs(1))
}

fn http_ok(address: &SocketAddr, path: &str) -> std::io::Result<bool> {
    let mut stream = connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut status_line = [0; 12];
    match stream.read_exact(&mut status_line) {
        Ok(()) => Ok(status_line.ends_with(b" 200")),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
