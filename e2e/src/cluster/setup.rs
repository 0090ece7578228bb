//! What the parts of one cluster share: the folder, the authority, the binary; and where each part's command comes from.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;

use super::{
    control_plane, dns, kubeconfig, node,
    part::Part,
    pki::{Pki, write_private},
    process::Probe,
    registry::{self, RegistryAccess},
};
use crate::sandbox::{NODE_ADDRESS, Sandbox};

pub(super) const SERVICE_CIDR: &str = "10.96.0.0/16";
/// The first address of [`SERVICE_CIDR`], which the API server takes for itself.
pub(super) const SERVICE_ADDRESS: &str = "10.96.0.1";
pub(super) const POD_CIDR: &str = "10.244.0.0/16";

/// The shared things.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) folder: PathBuf,
    pub(super) cgroup: String,
    pub(super) pki: Pki,
    pub(super) registry: RegistryAccess,
    binary: PathBuf,
}

impl Setup {
    pub(super) fn create(sandbox: &Sandbox, binary: &Path) -> anyhow::Result<Self> {
        let folder = sandbox.folder().to_path_buf();
        fs::create_dir_all(folder.join("logs")).context("failed to create the folder of logs")?;
        let pki = Pki::create(&folder.join("pki"))?;
        let registry = RegistryAccess::generate(&pki);
        registry.write(&folder)?;
        Ok(Self { folder, cgroup: sandbox.cgroup().to_owned(), pki, registry, binary: binary.to_path_buf() })
    }

    /// Writes what the part reads and returns the command that runs it.
    pub(super) fn command(&self, part: Part) -> anyhow::Result<Command> {
        match part {
            Part::Etcd => control_plane::etcd(self),
            Part::ApiServer => control_plane::api_server(self),
            Part::ControllerManager => control_plane::controller_manager(self),
            Part::Scheduler => control_plane::scheduler(self),
            Part::Registry => registry::command(self),
            Part::Containerd => node::containerd(self),
            Part::Kubelet => node::kubelet(self),
            Part::KubeProxy => node::kube_proxy(self),
            Part::CoreDns => dns::command(self),
        }
        .with_context(|| format!("failed to prepare {part}"))
    }

    /// Returns how the part shows that it is ready; for the API server and the node this is only the first half.
    pub(super) fn probe(&self, part: Part) -> Probe {
        let node = |port| SocketAddr::new(node_ip(), port);
        let local = |port| SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
        match part {
            Part::Etcd => Probe::Http(local(2379), "/health"),
            Part::ApiServer => Probe::Tcp(node(6443)),
            Part::ControllerManager => Probe::Tcp(local(10257)),
            Part::Scheduler => Probe::Tcp(local(10259)),
            Part::Registry => Probe::Tcp(node(5000)),
            Part::Containerd => Probe::Unix(self.containerd_socket()),
            Part::Kubelet => Probe::Http(local(10248), "/healthz"),
            Part::KubeProxy => Probe::Http(local(10256), "/healthz"),
            Part::CoreDns => Probe::Http(local(8181), "/ready"),
        }
    }

    pub(super) fn log(&self, part: Part) -> PathBuf {
        self.logs().join(format!("{part}.log"))
    }

    pub(super) fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }

    pub(super) fn audit_log(&self) -> PathBuf {
        self.logs().join("audit.log")
    }

    pub(super) fn containerd_socket(&self) -> PathBuf {
        self.folder.join("containerd/containerd.sock")
    }

    /// Returns a command of the cluster binary.
    pub(super) fn program(&self, part: Part) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg(part.name());
        command
    }

    /// Creates the folder of a part.
    pub(super) fn subfolder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.folder.join(name);
        fs::create_dir_all(&path).with_context(|| format!("failed to create {}", path.display()))?;
        Ok(path)
    }

    /// Issues a client certificate and writes the kubeconfig that carries it.
    pub(super) fn kubeconfig(&self, name: &str, user: &str, group: Option<&str>) -> anyhow::Result<PathBuf> {
        let identity = self.pki.issue_client(name, user, group)?;
        let path = self.subfolder("kubeconfigs")?.join(name);
        write_private(&path, &kubeconfig::with_certificate(&self.pki.ca_pem(), &identity))?;
        Ok(path)
    }
}

/// Writes a configuration file and returns its path.
pub(super) fn write(path: PathBuf, text: &str) -> anyhow::Result<PathBuf> {
    fs::write(&path, text).with_context(|| format!("failed to write {}", path.display()))?;
    Ok(path)
}

/// Renders `--name=value` with a path as value.
pub(super) fn flag(name: &str, path: &Path) -> String {
    format!("--{name}={}", path.display())
}

fn node_ip() -> IpAddr {
    NODE_ADDRESS.parse().expect("the constant is an address")
}
