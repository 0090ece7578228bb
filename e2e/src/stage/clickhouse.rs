//! The ClickHouse of a stage: its start, its replica, statements, and faults on request.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use kube::{Api, api::ListParams};
use weir_crds::AnalyticsStack;

use super::{DATABASES, Stage};
use crate::{
    administrator,
    clickhouse::{self, Certificate, Effect, Fault, Https},
    cluster::Cluster,
    query::{ClickhouseAccess, fails_with, until_answered},
    sandbox::NODE_ADDRESS,
};

const AUTHENTICATION_FAILED: u32 = 516;
/// Code of a query that was killed.
pub const QUERY_WAS_CANCELLED: u32 = 394;
/// HTTP and HTTPS ports of ClickHouse, and of its replica.
pub(super) const PORTS: (u16, u16) = (8123, 8443);
const REPLICA_PORTS: (u16, u16) = (8124, 8444);
/// Address of ClickHouse's replica, where a story starts one.
pub const REPLICA: &str = "https://clickhouse.test:8444";

impl Stage {
    /// Runs a statement as ClickHouse's administrator.
    pub async fn query(&self, sql: &str) -> anyhow::Result<String> {
        self.target.clickhouse.query(sql).await
    }

    /// Runs a statement as a user of ClickHouse.
    pub async fn query_as(&self, user: &str, password: &str, sql: &str) -> anyhow::Result<String> {
        self.target.clickhouse.query_as(user, password, sql).await
    }

    /// Whether ClickHouse refuses a login. Any other error is one: a cut connection denies nobody. But for a poll that met
    /// the end of a revoked user's queries, which was let in.
    pub async fn is_denied(&self, user: &str, password: &str) -> anyhow::Result<bool> {
        match self.query_as(user, password, "SELECT 1").await {
            Ok(_) => Ok(false),
            Err(error) if fails_with(&error, AUTHENTICATION_FAILED) => Ok(true),
            Err(error) if fails_with(&error, QUERY_WAS_CANCELLED) => Ok(false),
            Err(error) => Err(error.context(format!("{user} is neither let in nor denied"))),
        }
    }

    /// Makes ClickHouse refuse connections.
    pub fn clickhouse_down(&self) {
        self.clickhouse.fault(Fault::lasting(Effect::Refuse));
    }

    /// Makes ClickHouse answer as if it had done what changes databases and access, and do nothing of it.
    pub fn clickhouse_pretends(&self) {
        for statement in [
            "CREATE DATABASE",
            "CREATE ROLE",
            "CREATE USER",
            "ALTER USER",
            " TO `",
            "ROW POLICY",
            "CREATE QUOTA",
        ] {
            self.clickhouse.fault(Fault::lasting(Effect::Pretend).only(statement));
        }
    }

    /// Starts a second ClickHouse beside the first, with the same administrators and CA, at [`REPLICA`]. It has none of the
    /// first one's databases, no other users and roles, and nothing of one that was there before.
    pub async fn start_replica(&self) -> anyhow::Result<clickhouse::Server> {
        let folder = self.target.folder.join("replica");
        if folder.exists() {
            std::fs::remove_dir_all(&folder).context("failed to remove the last replica's data")?;
        }
        let password = &self.target.clickhouse.password;
        let replica =
            start_server(&self.cluster, &self.prepared.engine, folder, REPLICA_PORTS, password).await?;
        administrator::create(&replica, self.admin_password(), &DATABASES).await?;
        Ok(replica)
    }

    /// Lets a replica catch up with the users and roles of the first ClickHouse.
    pub async fn replicate_access(&self, replica: &clickhouse::Server) -> anyhow::Result<()> {
        self.clickhouse.replicate_access(replica).await
    }

    /// Drops the databases of deleted stacks, which keep them: every restart of the engine loads all tables.
    pub async fn drop_kept_databases(&self) -> anyhow::Result<()> {
        let stacks = Api::<AnalyticsStack>::all(self.client.clone()).list(&ListParams::default()).await?;
        let used: BTreeSet<_> = stacks.into_iter().filter_map(|stack| stack.status?.database).collect();
        let of_stacks =
            "SELECT name FROM system.databases WHERE startsWith(name, 'weir_') AND name != 'weir_ledger'";
        for database in self.query(of_stacks).await?.lines().filter(|database| !used.contains(*database)) {
            let dropped = self.query(&format!("DROP DATABASE `{database}` SYNC")).await;
            dropped.with_context(|| format!("failed to drop {database}"))?;
        }
        Ok(())
    }

    /// Keeps ClickHouse's text log, from the next change of users or roles on; returns the file.
    pub fn keep_text_log(&self) -> anyhow::Result<PathBuf> {
        self.clickhouse.keep_text_log()
    }

    /// Takes every fault of ClickHouse back, and waits until it answers again.
    pub async fn clickhouse_up(&self) -> anyhow::Result<()> {
        self.clickhouse.clear_faults();
        until_answered(async |sql| self.query(sql).await).await
    }
}

/// Starts a ClickHouse on the node's address.
pub(super) async fn start_server(
    cluster: &Cluster,
    engine: &Path,
    data: PathBuf,
    (http, https): (u16, u16),
    password: &str,
) -> anyhow::Result<clickhouse::Server> {
    let name = format!("clickhouse-{https}");
    let identity = cluster.pki().issue_server(&name, &["clickhouse.test", NODE_ADDRESS])?;
    let launcher = std::env::current_exe().context("failed to find this program's own file")?;
    let mut options = clickhouse::Options::new(engine.to_path_buf(), launcher, data, password);
    let address = |port| -> anyhow::Result<SocketAddr> { Ok(SocketAddr::new(NODE_ADDRESS.parse()?, port)) };
    options.http = address(http)?;
    options.https = Some(Https {
        address: address(https)?,
        certificate: Certificate::Files { chain: identity.certificate_file, key: identity.key_file },
    });
    clickhouse::Server::start(options).await
}

pub(super) fn access(cluster: &Cluster, clickhouse: &clickhouse::Server) -> ClickhouseAccess {
    let (user, password) = clickhouse.admin();
    ClickhouseAccess {
        url: "https://clickhouse.test:8443".parse().expect("the constant is a URL"),
        user: user.to_owned(),
        password: password.to_owned(),
        ca_pem: Some(cluster.pki().ca_pem()),
    }
}
