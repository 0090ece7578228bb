//! Where Weir is deployed to: the cluster of a sandbox, or one that was there before.

use std::path::PathBuf;

use anyhow::Context;
use kube::Client;
use url::Url;

use super::{
    client_config,
    registry::{Credentials, RegistryAccess},
};

/// A cluster, a registry and perhaps a ClickHouse, whoever started them.
#[derive(Debug, Clone)]
pub struct Environment {
    /// The kubeconfig of somebody who may install Weir.
    pub kubeconfig: PathBuf,
    /// The registry that the images are pushed to and that the nodes pull from.
    pub registry: RegistryAccess,
    /// A ClickHouse that is there already; without one the run brings its own.
    pub clickhouse: Option<Url>,
}

impl Environment {
    /// Returns a new client.
    pub async fn client(&self) -> anyhow::Result<Client> {
        Client::try_from(client_config(&self.kubeconfig).await?).context("failed to make a client")
    }
}

/// The flags that name parts which exist already.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ExistingArgs {
    /// Use the cluster of this kubeconfig instead of bringing one up; needs --registry.
    #[arg(long, value_name = "FILE", requires = "registry")]
    pub kubeconfig: Option<PathBuf>,
    /// Push images to this registry, such as registry.example.com/team; the cluster's nodes must be able to pull from it.
    #[arg(long, value_name = "HOST", requires = "kubeconfig")]
    pub registry: Option<String>,
    /// The user of that registry; its password is read from the environment variable WEIR_REGISTRY_PASSWORD.
    #[arg(long, value_name = "NAME", requires = "registry")]
    pub registry_user: Option<String>,
    /// The authority that signed that registry's certificate, when the system does not know it.
    #[arg(long, value_name = "FILE", requires = "registry")]
    pub registry_ca: Option<PathBuf>,
    /// Use this ClickHouse instead of bringing one up.
    #[arg(long, value_name = "URL")]
    pub clickhouse: Option<Url>,
}

impl ExistingArgs {
    /// Returns the environment that the flags name, or nothing when the run has to bring up its own cluster.
    pub fn environment(&self) -> anyhow::Result<Option<Environment>> {
        let (Some(kubeconfig), Some(host)) = (&self.kubeconfig, &self.registry) else { return Ok(None) };
        let user = self.registry_user.clone().map(|username| {
            std::env::var("WEIR_REGISTRY_PASSWORD")
                .map(|password| Credentials { username, password })
                .context("--registry-user needs the environment variable WEIR_REGISTRY_PASSWORD")
        });
        let user = user.transpose()?;
        let ca = self.registry_ca.clone().map(|file| {
            let pem = std::fs::read_to_string(&file)
                .with_context(|| format!("failed to read {}", file.display()))?;
            anyhow::Ok((pem, file))
        });
        let registry =
            RegistryAccess { host: host.clone(), push: user.clone(), pull: user, ca: ca.transpose()? };
        Ok(Some(Environment {
            kubeconfig: kubeconfig.clone(),
            registry,
            clickhouse: self.clickhouse.clone(),
        }))
    }
}
