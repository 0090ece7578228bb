//! The operator hears of what changed while its watches were away: a restarted API server has forgotten the versions that
//! they ask for (410), so they list anew.
//!
//! The faults are chosen so that no timer of the operator could have been the one to notice: it looks at a Secret that it
//! calls invalid again after 48 s at the earliest.

use std::{
    fs::File,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::json;
use weir_crds::{AnalyticsStack, ConditionType, Reason};

use super::{Server, record, stacks::smallest};
use crate::{
    cluster::Part,
    report::Report,
    stack::Stack,
    tool::{Hint, run as run_tool},
};

const NAMESPACE: &str = "relist";
const SECRET: &str = "clickhouse-admin";
const LOG: &str = "operator.log";
/// Time that the operator has to hear of a change, well below the time after which it would look by itself.
const HEARS: Duration = Duration::from_secs(25);
/// A pause that takes longer than the lease costs the operator its lease, and with it the test its subject.
const ATTEMPTS: usize = 3;

/// Checks both ways in which an object can change unseen.
pub(super) async fn check(server: &Server<'_>, report: &mut Report) -> anyhow::Result<()> {
    let subject = Subject::make(server).await?;
    let started = Instant::now();
    let name = "api: an object that went while the watches were away is noticed";
    record(report, name, started, subject.deletion().await);
    let started = Instant::now();
    let name = "api: an object that changed while the watches were away is noticed";
    record(report, name, started, subject.change().await);
    Ok(())
}

struct Subject<'a> {
    server: &'a Server<'a>,
    stack: Stack,
    secrets: Api<Secret>,
    operator: PathBuf,
}

impl<'a> Subject<'a> {
    async fn make(server: &'a Server<'a>) -> anyhow::Result<Self> {
        let client = server.client.clone();
        let mut cargo = server
            .place
            .command("cargo", ["build", "--quiet", "--offline", "--workspace", "--bin", "weir-operator"]);
        run_tool(&mut cargo, &Hint::new("install Rust", "mend what the compiler names"))?;
        let namespace = json!({ "metadata": { "name": NAMESPACE } });
        let namespaces: Api<Namespace> = Api::all(client.clone());
        namespaces.create(&PostParams::default(), &serde_json::from_value(namespace)?).await?;
        let mut stack = smallest("store");
        stack["metadata"]["namespace"] = json!(NAMESPACE);
        let stacks: Api<AnalyticsStack> = Api::namespaced(client.clone(), NAMESPACE);
        stacks.create(&PostParams::default(), &serde_json::from_value(stack)?).await?;
        Ok(Self {
            server,
            stack: Stack::new(&client, NAMESPACE, "store"),
            secrets: Api::namespaced(client, NAMESPACE),
            operator: server.place.built("weir-operator")?,
        })
    }

    async fn deletion(&self) -> anyhow::Result<String> {
        self.noticed(Reason::SecretNotFound, async || {
            self.secrets.delete(SECRET, &DeleteParams::default()).await.map(drop)
        })
        .await
    }

    async fn change(&self) -> anyhow::Result<String> {
        self.noticed(Reason::ClickhouseUnreachable, async || {
            let patch = Patch::Merge(json!({ "stringData": { "password": "a password" } }));
            self.secrets.patch(SECRET, &PatchParams::default(), &patch).await.map(drop)
        })
        .await
    }

    /// Makes a change while the operator's watches are away, and waits until status says so.
    async fn noticed(
        &self,
        expected: Reason,
        change: impl AsyncFn() -> Result<(), kube::Error>,
    ) -> anyhow::Result<String> {
        for _ in 0..ATTEMPTS {
            self.break_secret().await?;
            let mut operator = Operator::start(self.server, &self.operator)?;
            self.wait(Reason::SecretInvalid, Duration::from_mins(1)).await?;
            operator.signal(Signal::SIGSTOP)?;
            // The first list of the restarted server is newer than anything that the operator has seen.
            self.move_history().await?;
            self.server.cluster.restart(Part::ApiServer).await?;
            change().await.context("failed to make the change")?;
            operator.signal(Signal::SIGCONT)?;
            let (started, heard) = (Instant::now(), self.wait(expected, HEARS).await);
            if operator.has_ended()? {
                continue;
            }
            heard?;
            anyhow::ensure!(
                self.has_listed_anew()?,
                "the API server knew what the watches asked for, so nothing was lost that could be missed"
            );
            return Ok(format!("after {:.1} s", started.elapsed().as_secs_f64()));
        }
        anyhow::bail!(
            "the operator lost its lease in each of {ATTEMPTS} attempts: the API server starts too slowly"
        )
    }

    /// Writes the administrator's Secret without its password, which stays invalid until somebody mends it.
    async fn break_secret(&self) -> anyhow::Result<()> {
        if self.secrets.get_opt(SECRET).await?.is_some() {
            self.secrets.delete(SECRET, &DeleteParams::default()).await?;
        }
        let secret = json!({
            "metadata": { "name": SECRET },
            "type": "weir.dev/clickhouse-admin",
            "stringData": { "username": "admin" },
        });
        self.secrets.create(&PostParams::default(), &serde_json::from_value(secret)?).await?;
        Ok(())
    }

    /// Whether a watch of the operator was told that what it asks for is forgotten.
    fn has_listed_anew(&self) -> anyhow::Result<bool> {
        let log = std::fs::read_to_string(self.server.cluster.logs().join(LOG))
            .context("failed to read the log")?;
        Ok(log.contains("too old resource version"))
    }

    async fn move_history(&self) -> anyhow::Result<()> {
        let maps: Api<ConfigMap> = Api::namespaced(self.server.client.clone(), NAMESPACE);
        let map = json!({ "metadata": { "generateName": "moved-" } });
        maps.create(&PostParams::default(), &serde_json::from_value(map)?).await?;
        Ok(())
    }

    async fn wait(&self, reason: Reason, deadline: Duration) -> anyhow::Result<()> {
        self.stack
            .wait_condition((ConditionType::DependenciesReady, "False", reason), deadline)
            .await
            .map(drop)
    }
}

/// A running operator; ends with the value.
struct Operator {
    child: Child,
}

impl Operator {
    fn start(server: &Server<'_>, program: &PathBuf) -> anyhow::Result<Self> {
        let log = File::options().create(true).append(true).open(server.cluster.logs().join(LOG))?;
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("KUBECONFIG", server.cluster.kubeconfig())
            .env("POD_NAME", "weir-verify")
            .env("WEIR_LEASE_NAMESPACE", NAMESPACE)
            .env("WEIR_WATCH_NAMESPACES", NAMESPACE)
            .env("WEIR_CLUSTER_ID", NAMESPACE)
            .env("WEIR_ADMIN_HOST", "127.0.0.1");
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
        Ok(Self { child: child.context("failed to start the operator")? })
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = i32::try_from(self.child.id()).context("a process id out of range")?;
        kill(Pid::from_raw(pid), signal).context("failed to signal the operator")
    }

    fn has_ended(&mut self) -> anyhow::Result<bool> {
        Ok(self.child.try_wait().context("failed to look after the operator")?.is_some())
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        // Fails when the process has ended already, which is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
