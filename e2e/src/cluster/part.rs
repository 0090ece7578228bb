//! The parts of a cluster, and which of them a run needs.

use std::{collections::BTreeSet, fmt, str::FromStr};

/// One program of the cluster; the order is the order of start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The store of the API server.
    Etcd,
    /// The API server, with audit log.
    ApiServer,
    /// The registry at `registry.test:5000`, with TLS and passwords.
    Registry,
    /// The container runtime.
    Containerd,
    /// The controllers of Kubernetes itself.
    ControllerManager,
    /// The scheduler.
    Scheduler,
    /// The only node.
    Kubelet,
    /// The addresses of Services.
    KubeProxy,
    /// The DNS of pods and of the sandbox.
    CoreDns,
}

impl Part {
    /// Every part.
    pub const ALL: [Self; 9] = [
        Self::Etcd,
        Self::ApiServer,
        Self::Registry,
        Self::Containerd,
        Self::ControllerManager,
        Self::Scheduler,
        Self::Kubelet,
        Self::KubeProxy,
        Self::CoreDns,
    ];

    /// Returns the name of the program, which is also the name of its log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::Registry => "registry",
            Self::Containerd => "containerd",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
            Self::Kubelet => "kubelet",
            Self::KubeProxy => "kube-proxy",
            Self::CoreDns => "coredns",
        }
    }

    /// Returns the parts without which this one does not start.
    const fn needs(self) -> &'static [Self] {
        match self {
            Self::Etcd | Self::Registry | Self::Containerd => &[],
            Self::ApiServer => &[Self::Etcd],
            Self::ControllerManager | Self::Scheduler | Self::KubeProxy | Self::CoreDns => &[Self::ApiServer],
            Self::Kubelet => &[Self::ApiServer, Self::Containerd],
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Part {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> anyhow::Result<Self> {
        Self::ALL.into_iter().find(|part| part.name() == name).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|part| part.name()).collect();
            anyhow::anyhow!("no part is named `{name}`; there are {}", names.join(", "))
        })
    }
}

/// A set of parts that holds, with each part, the ones that it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts(BTreeSet<Part>);

impl Parts {
    /// The whole cluster.
    pub fn all() -> Self {
        Self::of(Part::ALL)
    }

    /// The API server with its store: objects and access control are real, nothing runs.
    pub fn api_only() -> Self {
        Self::of([Part::ApiServer])
    }

    /// The given parts and those that they need.
    pub fn of(parts: impl IntoIterator<Item = Part>) -> Self {
        let mut wanted: Vec<Part> = parts.into_iter().collect();
        let mut all = BTreeSet::new();
        while let Some(part) = wanted.pop() {
            if all.insert(part) {
                wanted.extend(part.needs());
            }
        }
        Self(all)
    }

    /// Says whether the part is in the set.
    pub fn contains(&self, part: Part) -> bool {
        self.0.contains(&part)
    }

    /// Returns the parts in their order of start.
    pub fn iter(&self) -> impl Iterator<Item = Part> {
        self.0.iter().copied()
    }
}

impl fmt::Display for Parts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.iter().map(Part::name).collect();
        formatter.write_str(&names.join(","))
    }
}

impl FromStr for Parts {
    type Err = anyhow::Error;

    fn from_str(names: &str) -> anyhow::Result<Self> {
        let parts: Vec<Part> = names.split(',').map(str::parse).collect::<anyhow::Result<_>>()?;
        Ok(Self::of(parts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_brings_what_it_needs() {
        let parts: Parts = "kubelet".parse().expect("a part");
        assert_eq!(parts.to_string(), "etcd,kube-apiserver,containerd,kubelet");
    }

    #[test]
    fn an_unknown_part_is_answered_with_the_known_ones() {
        let error = "kublet".parse::<Parts>().expect_err("no such part").to_string();
        assert!(error.starts_with("no part is named `kublet`; there are etcd, kube-apiserver, "));
    }
}
