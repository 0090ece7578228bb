//! The operator as a process beside the cluster, under the rights of its own ServiceAccount.
//!
//! A container that is killed again and again waits longer and longer for its restart; a process does not.

use std::{
    fs::File,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use anyhow::Context as _;

use super::{DRIFT_SECONDS, Stage};
use crate::{
    report::announce,
    target::{RELEASE, SYSTEM},
};

/// A running operator; ends with the value.
#[derive(Debug)]
pub struct OperatorProcess {
    child: Child,
    kubeconfig: PathBuf,
    variables: Vec<(String, String)>,
}

impl OperatorProcess {
    /// Scales the Deployment to nothing and runs the same binary instead, with these variables besides.
    pub async fn replace_deployment(stage: &Stage, variables: &[(&str, &str)]) -> anyhow::Result<Self> {
        scale(stage, 0)?;
        Self::beside(stage, variables).await
    }

    /// Runs the same binary beside whatever runs, with these variables besides or instead.
    pub async fn beside(stage: &Stage, variables: &[(&str, &str)]) -> anyhow::Result<Self> {
        Self::through(stage, &stage.cluster.server(), variables).await
    }

    /// The same through something in front of the API server.
    pub async fn through(stage: &Stage, server: &str, variables: &[(&str, &str)]) -> anyhow::Result<Self> {
        let kubeconfig = stage.cluster.kubeconfig_for_service_account(SYSTEM, RELEASE, server).await?;
        let variable = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let variables: Vec<_> = variables.iter().map(variable).collect();
        Ok(Self { child: spawn(stage, &kubeconfig, &variables)?, kubeconfig, variables })
    }

    /// Ends the process with SIGKILL.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill().context("failed to kill the operator")?;
        self.child.wait().context("failed to wait for the killed operator").map(drop)
    }

    /// Starts it again after it was killed.
    pub fn start_again(&mut self, stage: &Stage) -> anyhow::Result<()> {
        self.child = spawn(stage, &self.kubeconfig, &self.variables)?;
        Ok(())
    }

    /// Ends the process and lets the Deployment run again.
    pub fn restore_deployment(mut self, stage: &Stage) -> anyhow::Result<()> {
        self.kill()?;
        restore_deployment(stage)
    }
}

impl Drop for OperatorProcess {
    fn drop(&mut self) {
        // Fails when the process has ended already, which is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The operator was killed and stays away; it comes back with the value's end.
#[derive(Debug)]
pub struct KilledOperator<'a> {
    stage: &'a Stage,
    is_away: bool,
}

impl<'a> KilledOperator<'a> {
    /// Sends SIGKILL to the operator and lets nothing start it again.
    pub async fn kill(stage: &'a Stage) -> anyhow::Result<Self> {
        stage.kill_one("weir-operator").await?;
        let killed = Self { stage, is_away: true };
        scale(stage, 0)?;
        Ok(killed)
    }

    /// Lets the Deployment run again and waits for it.
    pub fn restore(mut self) -> anyhow::Result<()> {
        self.is_away = false;
        restore_deployment(self.stage)
    }
}

impl Drop for KilledOperator<'_> {
    fn drop(&mut self) {
        // A story that failed must not take the operator from the next.
        if self.is_away
            && let Err(error) = restore_deployment(self.stage)
        {
            announce(&format!("      the operator did not come back: {error:#}"));
        }
    }
}

fn restore_deployment(stage: &Stage) -> anyhow::Result<()> {
    scale(stage, 1)?;
    stage.kubectl(&["rollout", "status", "deployment", RELEASE, "-n", SYSTEM, "--timeout=60s"]).map(drop)
}

fn scale(stage: &Stage, replicas: u32) -> anyhow::Result<()> {
    stage.kubectl(&["scale", "deployment", RELEASE, "-n", SYSTEM, &format!("--replicas={replicas}")])?;
    if replicas == 0 {
        let selector = "app.kubernetes.io/name=weir-operator";
        stage.kubectl(&["wait", "pod", "-n", SYSTEM, "-l", selector, "--for=delete", "--timeout=60s"])?;
    }
    Ok(())
}

fn spawn(stage: &Stage, kubeconfig: &PathBuf, variables: &[(String, String)]) -> anyhow::Result<Child> {
    let log = File::options()
        .create(true)
        .append(true)
        .open(stage.cluster.logs().join("operator-process.log"))
        .context("failed to open the operator's log")?;
    let mut command = Command::new(&stage.prepared.binaries.operator);
    command
        .env_clear()
        .env("KUBECONFIG", kubeconfig)
        // The name that the Lease knows: a restarted container of one pod keeps it as well.
        .env("POD_NAME", "weir-process")
        .env("WEIR_LEASE_NAMESPACE", SYSTEM)
        .env("WEIR_LEASE_NAME", RELEASE)
        .env("WEIR_ALLOW_INLINE_CLICKHOUSE", "true")
        .env("WEIR_DRIFT_SECONDS", DRIFT_SECONDS.to_string())
        .env("WEIR_ADMIN_HOST", "127.0.0.1");
    if let Some((_, file)) = &stage.target.registry.ca {
        command.env("WEIR_REGISTRY_CA_FILE", file);
    }
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
    child.context("failed to start the operator")
}
