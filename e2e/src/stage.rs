//! Everything that a story needs, brought up: cluster, registry, ClickHouse, images, charts, and a team's namespace.

mod clickhouse;
mod operator_process;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

pub use self::{
    clickhouse::{QUERY_WAS_CANCELLED, REPLICA},
    operator_process::{KilledOperator, OperatorProcess},
};
use anyhow::{Context as _, ensure};
use k8s_openapi::api::events::v1::Event;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    administrator,
    clickhouse::Server,
    cluster::{self, Cluster, Parts},
    image::{self, Binaries},
    report::announce,
    sandbox::Sandbox,
    stack::Stack,
    target::{Administrator, Images, RELEASE, SYSTEM, Target, repository},
    tool,
};

/// Namespace of the team whose stacks the stories use.
pub const TEAM: &str = "shop";
/// Databases that the examples name themselves.
const DATABASES: [&str; 1] = ["store_analytics"];
/// How often the operator of a stage compares ClickHouse with the stacks.
const DRIFT_SECONDS: u64 = 15;

/// Programs that were built and installed outside of the sandbox.
#[derive(Debug)]
pub struct Prepared {
    /// The product's binaries.
    pub binaries: Binaries,
    /// Folder with the SDKs' `node_modules`.
    pub sdk: PathBuf,
    /// Library of the ClickHouse engine.
    pub engine: PathBuf,
}

impl Prepared {
    /// Builds and installs whatever a stage needs; outside of the sandbox.
    pub fn prepare() -> anyhow::Result<Self> {
        cluster::install()?;
        tool::helm()?;
        image::build_binaries()?;
        Self::find()
    }

    /// Finds what was prepared; inside of the sandbox, where nothing is built any more.
    pub fn find() -> anyhow::Result<Self> {
        Ok(Self {
            binaries: image::built_binaries()?,
            sdk: tool::npm_packages(&repository()?.join("e2e/sdk"))?,
            engine: tool::clickhouse_engine()?,
        })
    }
}

/// The running parts.
pub struct Stage {
    /// The cluster.
    pub cluster: Cluster,
    /// Client with all rights.
    pub client: Client,
    /// The images in the registry.
    pub images: Images,
    /// Where Weir is installed.
    pub target: Target,
    clickhouse: Server,
    prepared: Prepared,
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Stage({})", self.target.folder.display())
    }
}

impl Stage {
    /// Brings everything up and installs Weir; says how long each step took.
    pub async fn start(sandbox: &Sandbox, prepared: Prepared) -> anyhow::Result<Self> {
        let started = Instant::now();
        let cluster = Cluster::start(sandbox, Parts::all()).await?;
        let started = phase("cluster", started);
        let password = hex::encode(rand::random::<[u8; 16]>());
        let data = sandbox.folder().join("clickhouse");
        let clickhouse =
            clickhouse::start_server(&cluster, &prepared.engine, data, clickhouse::PORTS, &password).await?;
        let administrator = Administrator {
            user: administrator::USER.to_owned(),
            password: hex::encode(rand::random::<[u8; 16]>()),
        };
        administrator::create(&clickhouse, &administrator.password, &DATABASES).await?;
        let started = phase("ClickHouse", started);
        let target = Target {
            kubeconfig: cluster.kubeconfig().to_path_buf(),
            registry: cluster.registry().clone(),
            clickhouse: clickhouse::access(&cluster, &clickhouse),
            administrator,
            folder: sandbox.folder().join("work"),
            sdk: prepared.sdk.clone(),
        };
        std::fs::create_dir_all(&target.folder).context("failed to create the folder of the run")?;
        let images = target.push_images(&prepared.binaries)?;
        let started = phase("images built and pushed", started);
        target.install(&images, DRIFT_SECONDS)?;
        target.prepare_namespace(TEAM)?;
        phase("charts installed with Helm", started);
        let client = cluster.client().await?;
        Ok(Self { cluster, client, images, target, clickhouse, prepared })
    }

    /// The stack of the minimal example.
    pub fn shop(&self) -> Stack {
        Stack::new(&self.client, TEAM, "shop")
    }

    /// Applies the minimal example under another name.
    pub fn make_stack(&self, name: &str) -> anyhow::Result<Stack> {
        self.make_stack_with(name, |_| {})
    }

    /// Applies the minimal example under another name and with a change.
    pub fn make_stack_with(
        &self,
        name: &str,
        change: impl FnOnce(&mut serde_json::Value),
    ) -> anyhow::Result<Stack> {
        self.make_stack_in(TEAM, name, change)
    }

    /// Applies the minimal example in another place, under another name and with a change.
    pub fn make_stack_in(
        &self,
        namespace: &str,
        name: &str,
        change: impl FnOnce(&mut serde_json::Value),
    ) -> anyhow::Result<Stack> {
        let path = self.target.example("01-minimal.yaml")?;
        let mut object: serde_json::Value = serde_saphyr::from_str(&std::fs::read_to_string(path)?)?;
        object["metadata"]["name"] = name.into();
        object["metadata"]["namespace"] = namespace.into();
        change(&mut object);
        self.target.apply(&object)?;
        Ok(Stack::new(&self.client, namespace, name))
    }

    /// Path of an example, rendered for this stage.
    pub fn example(&self, name: &str) -> anyhow::Result<String> {
        Ok(self.target.example(name)?.display().to_string())
    }

    /// Runs kubectl.
    pub fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.target.kubectl(arguments)
    }

    /// Moves the tag of the stack's image to another image.
    pub fn push_as(&self, image: &crate::target::PushedImage, tag: &str) -> anyhow::Result<()> {
        self.target.push_as(image, tag)
    }

    /// Objects of a kind in a namespace.
    pub fn dynamic(&self, namespace: &str, group: &str, kind: &str) -> anyhow::Result<Api<DynamicObject>> {
        let gvk = GroupVersionKind::gvk(group, "v1", kind);
        let resource = ApiResource::from_gvk(&gvk);
        let plural =
            if kind == "NetworkPolicy" { "networkpolicies".to_owned() } else { resource.plural.clone() };
        let resource = ApiResource { plural, ..resource };
        Ok(Api::namespaced_with(self.client.clone(), namespace, &resource))
    }

    /// Events of that name that a reader of the stack sees.
    pub async fn count_events(&self, stack: &Stack, event: &str) -> anyhow::Result<u64> {
        self.target.ask_events(stack, "count()", event).await
    }

    /// Events of that name that a reader sees more often than once.
    pub async fn count_doubled(&self, stack: &Stack, event: &str) -> anyhow::Result<u64> {
        self.target.ask_events(stack, "count() - uniqExact(uuid)", event).await
    }

    /// Name with which the operator speaks to the API server.
    pub fn operator_user(&self) -> String {
        format!("system:serviceaccount:{SYSTEM}:{RELEASE}")
    }

    /// How often the operator compares ClickHouse with the stacks.
    pub fn drift_period(&self) -> Duration {
        Duration::from_secs(DRIFT_SECONDS)
    }

    /// Password of the account that the operator administers ClickHouse with.
    pub fn admin_password(&self) -> &str {
        &self.target.administrator.password
    }

    /// Writes the team's administrator Secret.
    pub fn write_admin_secret(&self, password: &str) -> anyhow::Result<()> {
        self.target.write_admin_secret(TEAM, password)
    }

    /// When an object was created, in seconds since 1970.
    pub fn created_at(&self, kind: &str, name: &str) -> anyhow::Result<i64> {
        let path = "jsonpath={.metadata.creationTimestamp}";
        let printed = self.kubectl(&["get", kind, name, "-n", TEAM, "-o", path])?;
        let created: jiff::Timestamp = printed.trim().parse().context("the object has no creation time")?;
        Ok(created.as_second())
    }

    /// Note of the newest event of that reason about a stack.
    pub async fn event_note(&self, stack: &Stack, reason: &str) -> anyhow::Result<String> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), TEAM);
        let about = |event: &Event| event.regarding.as_ref().and_then(|object| object.name.clone());
        let found = events.list(&ListParams::default()).await?.items.into_iter().rev().find(|event| {
            event.reason.as_deref() == Some(reason) && about(event).as_deref() == Some(stack.name.as_str())
        });
        found.and_then(|event| event.note).with_context(|| format!("no event {reason} about {}", stack.name))
    }

    /// Sends SIGKILL to one process of that program.
    pub async fn kill_one(&self, program: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            if let Some(process) = processes_of(program)?.first() {
                return kill(*process, Signal::SIGKILL).context("failed to kill the process");
            }
            // After several kills the kubelet waits before it starts the container again.
            ensure!(Instant::now() < deadline, "no process {program} came back within a minute");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Keeps logs, events and descriptions of a failed story, and says where.
    pub async fn keep_diagnostics(&self, story: &str) {
        let folder = self.target.folder.join("diagnostics").join(story);
        match self.cluster.diagnostics(&folder).await {
            Ok(()) => announce(&format!("      logs, events and pods of the failure: {}", folder.display())),
            Err(error) => announce(&format!("      failed to gather diagnostics: {error:#}")),
        }
    }
}

/// Says how long a phase took and starts the next.
pub fn phase(name: &str, started: Instant) -> Instant {
    announce(&format!("{:6.1} s  {name}", started.elapsed().as_secs_f64()));
    Instant::now()
}

/// Processes of this sandbox that run a program, found by name, pods included.
fn processes_of(program: &str) -> anyhow::Result<Vec<Pid>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").context("failed to list processes")? {
        let path = entry?.path();
        let pid = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
        let name = std::fs::read_to_string(path.join("comm")).unwrap_or_default();
        if let (Some(pid), true) = (pid, name.trim() == program) {
            found.push(Pid::from_raw(pid));
        }
    }
    Ok(found)
}
