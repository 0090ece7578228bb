//! The demo on a cluster, a registry and a ClickHouse that are there already.

use std::{
    path::PathBuf,
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};

use super::{apply_example, send_and_show};
use crate::{
    cluster::{Environment, client_config},
    image::Binaries,
    query::ClickhouseAccess,
    stack::Stack,
    stage::{Prepared, TEAM, phase},
    target::{Administrator, Target},
    tool,
};

/// Seconds between two comparisons of ClickHouse with the stacks: the chart's default.
const DRIFT_SECONDS: u64 = 300;

/// The flags that say how to administer an existing ClickHouse.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct ClickhouseLogin {
    /// Administrator of that ClickHouse; the password is read from the environment variable WEIR_CLICKHOUSE_PASSWORD.
    #[arg(long, value_name = "NAME", default_value = "default")]
    clickhouse_user: String,
    /// Authority that signed its certificate, when it is no public one.
    #[arg(long, value_name = "FILE", requires = "clickhouse")]
    clickhouse_ca: Option<PathBuf>,
}

/// What the demo needs of an existing environment.
pub(super) struct Existing {
    target: Target,
    binaries: Binaries,
}

/// Puts the flags together; a ClickHouse must be among them, since a cluster elsewhere cannot reach one on this machine.
pub(super) fn target(
    environment: Environment,
    login: &ClickhouseLogin,
    prepared: Prepared,
) -> anyhow::Result<Existing> {
    let url = environment
        .clickhouse
        .context("--kubeconfig needs --clickhouse: name one that the cluster reaches")?;
    let password = std::env::var("WEIR_CLICKHOUSE_PASSWORD")
        .context("set WEIR_CLICKHOUSE_PASSWORD to the password of --clickhouse-user")?;
    let ca_pem = match &login.clickhouse_ca {
        Some(file) => Some(
            std::fs::read_to_string(file).with_context(|| format!("failed to read {}", file.display()))?,
        ),
        None => None,
    };
    let folder = std::env::temp_dir().join(format!("weir-demo-{:08x}", rand::random::<u32>()));
    std::fs::create_dir_all(&folder).with_context(|| format!("failed to create {}", folder.display()))?;
    let user = login.clickhouse_user.clone();
    let target = Target {
        kubeconfig: environment.kubeconfig,
        registry: environment.registry,
        administrator: Administrator { user: user.clone(), password: password.clone() },
        clickhouse: ClickhouseAccess { url, user, password, ca_pem },
        folder,
        sdk: prepared.sdk,
    };
    Ok(Existing { target, binaries: prepared.binaries })
}

/// Installs Weir there, applies the first example and sends events through a forwarded port.
pub(super) async fn run(existing: &Existing, events: u64) -> anyhow::Result<ExitCode> {
    let target = &existing.target;
    let started = Instant::now();
    let images = target.push_images(&existing.binaries)?;
    let started = phase("images built and pushed", started);
    target.install(&images, DRIFT_SECONDS)?;
    target.prepare_namespace(TEAM)?;
    phase("charts installed with Helm", started);
    let client = kube::Client::try_from(client_config(&target.kubeconfig).await?)?;
    let stack = Stack::new(&client, TEAM, "shop");
    apply_example(target, &stack).await?;
    let forward = Forward::start(target).await?;
    send_and_show(target, &stack, &forward.url, events).await?;
    std::fs::remove_dir_all(&target.folder).context("failed to remove the folder of the run")?;
    Ok(ExitCode::SUCCESS)
}

/// A forwarded port of the stack's Service; ends with the value.
struct Forward {
    child: Child,
    url: String,
}

impl Forward {
    async fn start(target: &Target) -> anyhow::Result<Self> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = Command::new(tool::kubectl()?);
        command.args(["port-forward", "-n", TEAM, "service/shop-ingest", &format!("{port}:8080")]);
        let child = command.env("KUBECONFIG", &target.kubeconfig).stdout(Stdio::null()).spawn();
        let forward = Self {
            child: child.context("failed to start kubectl")?,
            url: format!("http://127.0.0.1:{port}"),
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            ensure!(Instant::now() < deadline, "kubectl port-forward did not open its port");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(forward)
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        // Fails when it has ended already, which is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
