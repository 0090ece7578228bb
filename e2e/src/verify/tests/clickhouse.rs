//! The ClickHouse that tests insert into and read from: the development server, on loopback, in this process.

use std::{path::PathBuf, process::Command};

use anyhow::Context;
use tokio::runtime::Runtime;

use crate::{
    clickhouse::{Options, Server},
    tool,
};

/// A running server, with the runtime that carries it.
#[derive(Debug)]
pub(super) struct TestClickhouse {
    runtime: Runtime,
    server: Server,
}

impl TestClickhouse {
    /// Starts a server on a free port, with its data in that folder.
    pub(super) fn start(data: PathBuf) -> anyhow::Result<Self> {
        let launcher = std::env::current_exe().context("failed to find this program's own file")?;
        let password = hex::encode(rand::random::<[u8; 16]>());
        let options = Options::new(tool::clickhouse_engine()?, launcher, data, &password);
        let runtime = Runtime::new().context("failed to start the runtime")?;
        let server = runtime.block_on(Server::start(options))?;
        Ok(Self { runtime, server })
    }

    /// Tells a test where it is.
    pub(super) fn describe_to(&self, command: &mut Command) {
        let (user, password) = self.server.admin();
        command.env("WEIR_TEST_CLICKHOUSE_URL", self.server.url());
        command.env("WEIR_TEST_CLICKHOUSE_CONTROL", self.server.control_url());
        command.env("WEIR_TEST_CLICKHOUSE_USER", user).env("WEIR_TEST_CLICKHOUSE_PASSWORD", password);
    }

    /// Ends the engine.
    pub(super) fn stop(self) -> anyhow::Result<()> {
        self.runtime.block_on(self.server.stop())
    }
}
