//! One run of the engine: its process, its port, and the few statements that the server itself sends to it.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use tokio::process::{Child, ChildStdin, Command};

use super::{Options, config, log_tables, upstream};

/// The name of the file in the data folder that takes what the engine writes.
const LOG: &str = "engine.log";

/// A running engine.
#[derive(Debug)]
pub(crate) struct Engine {
    child: Child,
    address: SocketAddr,
    /// Its end ends the child. Apart from the child, whose `wait` would close it.
    _lifeline: Option<ChildStdin>,
}

impl Engine {
    /// Starts the engine and waits until it answers; users.xml and config.xml are in place.
    pub(crate) async fn start(options: &Options) -> anyhow::Result<Self> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            match Self::start_once(options).await {
                Ok(engine) => return Ok(engine),
                // The free port that was picked may be taken by then.
                Err(_) if attempt < 3 => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn start_once(options: &Options) -> anyhow::Result<Self> {
        let port = free_port()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        log_tables::stash(&options.data)?;
        let log = options.data.join(LOG);
        let output =
            std::fs::File::create(&log).with_context(|| format!("failed to write {}", log.display()))?;
        let mut command = Command::new(&options.launcher);
        command.arg("clickhouse").arg("--engine").arg(&options.engine).arg("--engine-process").arg("--");
        command.args(config::engine_arguments(&options.data, port));
        command.current_dir(&options.data);
        command.stdin(Stdio::piped()).stdout(output.try_clone()?).stderr(output).kill_on_drop(true);
        let mut child =
            command.spawn().with_context(|| format!("failed to start {}", options.launcher.display()))?;
        let lifeline = child.stdin.take();
        let mut engine = Self { child, address, _lifeline: lifeline };
        engine.answered(&log).await?;
        // Without its history the engine is still good.
        if let Err(error) = log_tables::restore(&options.data, address).await {
            super::say(format_args!("the engine's logs were not restored: {error:#}"));
        }
        Ok(engine)
    }

    async fn answered(&mut self, log: &Path) -> anyhow::Result<()> {
        let until = Instant::now() + Duration::from_mins(1);
        loop {
            if let Some(status) = self.child.try_wait()? {
                let text = std::fs::read_to_string(log).unwrap_or_default();
                let tail: Vec<_> = text.lines().filter(|line| line.contains("Code:")).collect();
                bail!("the engine ended with {status}: {}", tail.last().copied().unwrap_or(text.trim()));
            }
            if statement(self.address, "SELECT 1").await.is_ok() {
                return Ok(());
            }
            if Instant::now() > until {
                bail!("the engine did not answer within a minute; see {}", log.display());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Resolves when the process is gone.
    pub(crate) async fn ended(&mut self) -> String {
        match self.child.wait().await {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        }
    }

    /// Ends the process. Killing is enough: whatever was acknowledged is with the kernel, and the engine's own
    /// shutdown takes longer than its recovery.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        if let Err(error) = statement(self.address, "SYSTEM FLUSH LOGS").await {
            super::say(format_args!("the engine's logs were not flushed: {error:#}"));
        }
        self.child.kill().await.context("failed to end the engine")
    }
}

/// Sends a statement as the engine's own user, who may read, flush and kill.
pub(crate) async fn statement(address: SocketAddr, sql: &str) -> anyhow::Result<String> {
    let request = Request::post("/?log_queries=0").header("host", "engine");
    let request = request.body(Full::new(Bytes::from(sql.to_owned())))?;
    let response = upstream::send(address, request).await?;
    let failed = response.headers().get("x-clickhouse-exception-code").cloned();
    let text = String::from_utf8_lossy(&response.into_body().collect().await?.to_bytes()).into_owned();
    match failed {
        None => Ok(text),
        Some(code) => bail!("code {code:?}: {text}"),
    }
}

fn free_port() -> anyhow::Result<u16> {
    let probe = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("failed to find a free port")?;
    Ok(probe.local_addr()?.port())
}
