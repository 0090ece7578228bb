//! What a real kube-apiserver says to the CRD, the charts, the examples, and to specs that are wrong.

mod invalid;
mod manifests;
mod relist;
mod stacks;

use std::{fmt::Display, path::PathBuf, process::Command, time::Instant};

use anyhow::Context;
use kube::Client;

use super::{charts::Charts, place::Place};
use crate::{
    cluster::{Cluster, Parts},
    report::Report,
    sandbox::Sandbox,
    tool::{self, Hint, run as run_tool},
};

/// The field manager of everything that is applied here.
pub(super) const MANAGER: &str = "weir-verify";

/// An API server with its store, and the programs that speak to it.
struct Server<'a> {
    place: &'a Place,
    charts: Charts<'a>,
    cluster: Cluster,
    client: Client,
    kubectl: PathBuf,
    folder: PathBuf,
}

/// Brings an API server up and checks everything against it.
pub(super) fn run(place: &Place, sandbox: &Sandbox, report: &mut Report) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("failed to start the runtime")?;
    runtime.block_on(async {
        let started = Instant::now();
        let server = Server::start(place, sandbox).await?;
        report.record("api: kube-apiserver is up", Ok(String::new()), started.elapsed());
        manifests::check(&server, report).await;
        stacks::check(&server, report).await?;
        invalid::check(&server, report).await?;
        relist::check(&server, report).await
    })
}

impl<'a> Server<'a> {
    async fn start(place: &'a Place, sandbox: &Sandbox) -> anyhow::Result<Self> {
        let cluster = Cluster::start(&sandbox.room("api")?, Parts::api_only()).await?;
        Ok(Self {
            place,
            charts: Charts::new(place)?,
            client: cluster.client().await?,
            cluster,
            kubectl: tool::kubectl()?,
            folder: place.subfolder("api")?,
        })
    }

    /// Runs kubectl as an administrator, in the root of the workspace.
    fn kubectl(&self, args: &[&str]) -> anyhow::Result<String> {
        let mut command: Command = self.place.command(&self.kubectl, args);
        command.arg("--kubeconfig").arg(self.cluster.kubeconfig());
        run_tool(&mut command, &Hint::new("run again", "mend what the API server names"))
    }

    /// Lets the API server judge a file as if it were applied, unknown fields included.
    fn dry_run(&self, file: &str) -> anyhow::Result<String> {
        let listed = self.kubectl(&[
            "apply",
            "--server-side",
            "--dry-run=server",
            "--validate=strict",
            "--filename",
            file,
            "--output=name",
        ])?;
        Ok(format!("{} objects", listed.lines().count()))
    }
}

/// Records an outcome that was awaited.
fn record<E: Display>(report: &mut Report, name: &str, started: Instant, outcome: Result<String, E>) {
    report.record(name, outcome.map_err(|error| format!("{error:#}")), started.elapsed());
}
