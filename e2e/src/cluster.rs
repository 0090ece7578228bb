//! A real Kubernetes inside the sandbox: the upstream programs themselves, containers, images, access control, DNS.
//!
//! [`Cluster::start`] brings up any set of [`Parts`]; a part that dies or does not get ready errs with its name, its command
//! and the end of its log. Every connection is verified against the authority of the run, every part is a user of its own.
//! NetworkPolicies are stored but not enforced: no engine for them is in the package registries.

pub(crate) mod busybox;
mod command;
mod control_plane;
mod diagnostics;
mod dns;
mod environment;
mod kubeconfig;
mod node;
mod part;
mod pki;
mod process;
pub(crate) mod registry;
mod setup;
mod state;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context;
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::{Node, ServiceAccount},
};
use kube::{
    Api, Client, Config,
    api::PostParams,
    config::{KubeConfigOptions, Kubeconfig},
};

pub use self::{
    command::{Args, run},
    diagnostics::collect as collect_diagnostics,
    environment::{Environment, ExistingArgs},
    part::{Part, Parts},
    pki::{Identity, Pki},
    registry::{Credentials, RegistryAccess},
};
use self::{
    node::NODE,
    process::{POLL_INTERVAL, Process, READY_TIMEOUT},
    setup::Setup,
};
use crate::{sandbox::Sandbox, tool};

/// How long the token of a service account is good for.
const TOKEN_SECONDS: i64 = 6 * 3600;

/// Installs what a cluster needs; outside of the sandbox.
pub fn install() -> anyhow::Result<()> {
    tool::debian_packages(tool::CLUSTER_PACKAGES)?;
    tool::cluster_binary()?;
    tool::kubectl()?;
    Ok(())
}

/// A running cluster; dropping it ends its parts, the end of the sandbox ends its containers.
#[derive(Debug)]
pub struct Cluster {
    setup: Arc<Setup>,
    parts: Parts,
    kubeconfig: PathBuf,
    processes: Mutex<BTreeMap<Part, Process>>,
}

impl Cluster {
    /// Brings the parts up and returns when all of them are ready, the node and the default service account included.
    pub async fn start(sandbox: &Sandbox, parts: Parts) -> anyhow::Result<Self> {
        let setup = Arc::new(Setup::create(sandbox, &tool::cluster_binary()?)?);
        let kubeconfig = setup.kubeconfig("admin", "weir-e2e-admin", Some("system:masters"))?;
        let cluster = Self { setup, parts, kubeconfig, processes: Mutex::default() };
        let (first, second): (Vec<Part>, Vec<Part>) =
            cluster.parts.iter().partition(|part| *part <= Part::Containerd);
        for part in &first {
            cluster.spawn(*part)?;
        }
        let images = cluster.provide_images();
        for part in first {
            cluster.wait_ready(part).await?;
        }
        if cluster.parts.contains(Part::CoreDns) {
            dns::grant(&cluster.client().await?).await.context("failed to grant CoreDNS its reads")?;
        }
        for part in &second {
            cluster.spawn(*part)?;
        }
        for part in second {
            cluster.wait_ready(part).await?;
        }
        images.await.context("failed to wait for the images")??;
        cluster.wait_usable().await?;
        Ok(cluster)
    }

    /// Returns the kubeconfig of an administrator.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Returns the client configuration of an administrator.
    pub async fn config(&self) -> anyhow::Result<Config> {
        client_config(&self.kubeconfig).await
    }

    /// Returns a new client that acts as an administrator.
    pub async fn client(&self) -> anyhow::Result<Client> {
        Client::try_from(self.config().await?).context("failed to make a client")
    }

    /// Returns the authority of the run, which also signs what else needs a certificate.
    pub fn pki(&self) -> &Pki {
        &self.setup.pki
    }

    /// Returns how to reach the registry.
    pub fn registry(&self) -> &RegistryAccess {
        &self.setup.registry
    }

    /// Returns the audit log: one JSON event per line, writes with bodies, reads of service accounts.
    pub fn audit_log(&self) -> PathBuf {
        self.setup.audit_log()
    }

    /// Returns the folder that holds `<part>.log` of every part.
    pub fn logs(&self) -> PathBuf {
        self.setup.logs()
    }

    /// Returns the folder of the run.
    pub fn folder(&self) -> &Path {
        &self.setup.folder
    }

    /// Returns the cluster as a place to deploy to, like one that was there before.
    pub fn environment(&self) -> Environment {
        Environment {
            kubeconfig: self.kubeconfig.clone(),
            registry: self.setup.registry.clone(),
            clickhouse: None,
        }
    }

    /// Returns the address of the API server.
    pub fn server(&self) -> String {
        kubeconfig::server()
    }

    /// Writes the kubeconfig of a service account, so that a process beside the cluster acts under its real rights, through
    /// the API server's address or that of something in front of it.
    pub async fn kubeconfig_for_service_account(
        &self,
        namespace: &str,
        name: &str,
        server: &str,
    ) -> anyhow::Result<PathBuf> {
        let request = TokenRequest {
            spec: TokenRequestSpec { expiration_seconds: Some(TOKEN_SECONDS), ..TokenRequestSpec::default() },
            ..TokenRequest::default()
        };
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client().await?, namespace);
        let status = accounts
            .create_token_request(name, &PostParams::default(), &request)
            .await
            .with_context(|| format!("failed to request a token for the service account {namespace}/{name}"))?
            .status
            .context("the API server answered a token request without a token")?;
        let file = format!("{namespace}-{name}-{}", server.replace(['/', ':'], "_"));
        let path = self.setup.subfolder("kubeconfigs")?.join(file);
        pki::write_private(&path, &kubeconfig::with_token(server, &self.setup.pki.ca_pem(), &status.token))?;
        Ok(path)
    }

    /// Ends a part with SIGTERM, and with SIGKILL when it does not listen; its containers stay.
    pub fn stop(&self, part: Part) -> anyhow::Result<()> {
        self.take(part)?.stop()
    }

    /// Ends a part with SIGKILL.
    pub fn kill(&self, part: Part) -> anyhow::Result<()> {
        self.take(part)?.kill()
    }

    /// Starts a part again, after stopping it when it runs, and waits until it is ready.
    pub async fn restart(&self, part: Part) -> anyhow::Result<()> {
        if self.processes().contains_key(&part) {
            self.stop(part)?;
        }
        self.spawn(part)?;
        self.wait_ready(part).await
    }

    /// Returns the process id of a part that runs.
    pub fn process_id(&self, part: Part) -> Option<u32> {
        self.processes().get(&part).map(Process::id)
    }

    /// Gathers logs, events, pod descriptions and container logs in `folder`, whatever still answers.
    pub async fn diagnostics(&self, folder: &Path) -> anyhow::Result<()> {
        diagnostics::collect(&self.kubeconfig, folder).await?;
        diagnostics::copy_folder(&self.logs(), &folder.join("parts"))
    }

    fn spawn(&self, part: Part) -> anyhow::Result<()> {
        let process = Process::start(part, self.setup.command(part)?, self.setup.log(part))?;
        self.processes().insert(part, process);
        Ok(())
    }

    fn take(&self, part: Part) -> anyhow::Result<Process> {
        self.processes().remove(&part).with_context(|| format!("{part} does not run"))
    }

    fn processes(&self) -> MutexGuard<'_, BTreeMap<Part, Process>> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the images that every cluster has while its parts come up.
    fn provide_images(&self) -> tokio::task::JoinHandle<anyhow::Result<()>> {
        let (setup, parts) = (Arc::clone(&self.setup), self.parts.clone());
        tokio::task::spawn_blocking(move || {
            for (part, provide) in
                [(Part::Containerd, busybox::import as fn(&Setup) -> _), (Part::Registry, busybox::push)]
            {
                if parts.contains(part) {
                    wait_for(&setup, part)?;
                    provide(&setup)?;
                }
            }
            Ok(())
        })
    }

    async fn wait_ready(&self, part: Part) -> anyhow::Result<()> {
        let probe = self.setup.probe(part);
        self.wait_until(part, "did not get ready", async || Ok(probe.succeeds())).await?;
        if part == Part::ApiServer {
            // It opens its port before it can answer.
            let client = self.client().await?;
            self.wait_until(part, "did not say that it is ready", async || Ok(is_api_ready(&client).await))
                .await?;
        }
        Ok(())
    }

    async fn wait_usable(&self) -> anyhow::Result<()> {
        if self.parts.contains(Part::Kubelet) {
            let nodes: Api<Node> = Api::all(self.client().await?);
            self.wait_until(Part::Kubelet, "did not make its node Ready", async || {
                Ok(nodes.get_opt(NODE).await?.is_some_and(|node| is_ready(&node)))
            })
            .await?;
        }
        if self.parts.contains(Part::ControllerManager) {
            let accounts: Api<ServiceAccount> = Api::namespaced(self.client().await?, "default");
            self.wait_until(
                Part::ControllerManager,
                "did not make the default service account",
                async || Ok(accounts.get_opt("default").await?.is_some()),
            )
            .await?;
        }
        Ok(())
    }

    async fn wait_until(
        &self,
        part: Part,
        otherwise: &str,
        condition: impl AsyncFn() -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY_TIMEOUT;
        while !condition().await? {
            self.check_alive(part)?;
            if Instant::now() > deadline {
                return Err(self.failure(part, &format!("{otherwise} within {} s", READY_TIMEOUT.as_secs())));
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        // Another process may answer on the port of one that has died.
        self.check_alive(part)
    }

    fn check_alive(&self, part: Part) -> anyhow::Result<()> {
        self.processes().get_mut(&part).map_or(Ok(()), Process::check_alive)
    }

    fn failure(&self, part: Part, what: &str) -> anyhow::Error {
        self.processes()
            .get(&part)
            .map_or_else(|| anyhow::anyhow!("{part} {what}"), |process| process.failure(what))
    }
}

/// Reads a kubeconfig as the configuration of a client.
pub async fn client_config(kubeconfig: &Path) -> anyhow::Result<Config> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)
        .with_context(|| format!("failed to read {}", kubeconfig.display()))?;
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .context("failed to make a client configuration")
}

async fn is_api_ready(client: &Client) -> bool {
    let Ok(request) = http::Request::get("/readyz").body(Vec::new()) else { return false };
    let asked = tokio::time::timeout(Duration::from_secs(5), client.request_text(request)).await;
    asked.is_ok_and(|answer| answer.is_ok())
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Waits for a part from a thread; that it died is found and told by the task that waits for it too.
fn wait_for(setup: &Setup, part: Part) -> anyhow::Result<()> {
    let (probe, deadline) = (setup.probe(part), Instant::now() + READY_TIMEOUT);
    while !probe.succeeds() {
        anyhow::ensure!(Instant::now() < deadline, "{part} is not ready after {} s", READY_TIMEOUT.as_secs());
        std::thread::sleep(POLL_INTERVAL);
    }
    Ok(())
}
