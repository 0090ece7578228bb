//! What is measured: Weir in a [`Standalone`] of its own, or any other server, told by its URL.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, ensure};
use tokio::net::lookup_host;
use url::Url;

use crate::{
    query::ClickhouseAccess,
    standalone::{Standalone, Usage},
};

/// How long merges may go on after a load before their CPU is no longer waited for.
const MERGES: Duration = Duration::from_secs(20);

/// The tables that events become rows of.
pub(super) const TABLES: [&str; 5] =
    ["events_data", "person_properties", "person_set_once", "person_facts", "links"];

/// A server that speaks `/batch/`.
#[derive(Debug)]
pub(super) enum Subject {
    /// Weir, with its ClickHouse.
    Own(Box<Standalone>),
    /// Somebody else's.
    Other(Box<Other>),
}

/// A server that was started elsewhere.
#[derive(Clone, Debug)]
pub(super) struct Other {
    pub(super) url: Url,
    pub(super) key: String,
    /// Process of the service, when it runs on this machine.
    pub(super) maybe_pid: Option<u32>,
    /// Process of its ClickHouse, when it runs on this machine.
    pub(super) maybe_clickhouse_pid: Option<u32>,
    /// Where its rows are counted: a ClickHouse URL with user and password, and the table.
    pub(super) maybe_rows: Option<(Url, String)>,
}

/// What is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stored {
    /// Rows of the events' table.
    pub(super) rows: u64,
    /// Events among them.
    pub(super) events: u64,
    /// Inserts into the events' table so far.
    pub(super) inserts: u64,
}

/// CPU and memory of both sides at one moment; nothing where a process is not known.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Used {
    pub(super) service: Option<Usage>,
    pub(super) clickhouse: Option<Usage>,
}

impl Subject {
    pub(super) fn name(&self) -> String {
        match self {
            Self::Own(_) => "weir".to_owned(),
            Self::Other(other) => other.url.authority().to_owned(),
        }
    }

    pub(super) fn key(&self) -> &str {
        match self {
            Self::Own(weir) => weir.key(),
            Self::Other(other) => &other.key,
        }
    }

    /// Host and port of the server.
    pub(super) async fn address(&self) -> anyhow::Result<SocketAddr> {
        let authority = match self {
            Self::Own(weir) => weir.url(0).trim_start_matches("http://").to_owned(),
            Self::Other(other) => {
                ensure!(other.url.scheme() == "http", "{}: the generator speaks plain HTTP only", other.url);
                let host = other.url.host_str().context("the URL has no host")?;
                format!("{host}:{}", other.url.port_or_known_default().unwrap_or(80))
            }
        };
        let mut found =
            lookup_host(&authority).await.with_context(|| format!("failed to find {authority}"))?;
        found.next().with_context(|| format!("{authority} has no address"))
    }

    /// Forgets the peak of memory so far, where it can be forgotten.
    pub(super) fn reset_peaks(&self) -> anyhow::Result<()> {
        match self {
            Self::Own(weir) => weir.reset_peaks(),
            Self::Other(_) => Ok(()),
        }
    }

    /// Ends what was started for the run.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        match self {
            Self::Own(weir) => weir.stop().await,
            Self::Other(_) => Ok(()),
        }
    }

    pub(super) fn used(&self) -> anyhow::Result<Used> {
        Ok(match self {
            Self::Own(weir) => {
                Used { service: Some(weir.usage(0)?), clickhouse: Some(weir.clickhouse_usage()?) }
            }
            Self::Other(other) => Used {
                service: other.maybe_pid.map(Usage::of).transpose()?,
                clickhouse: other.maybe_clickhouse_pid.map(Usage::of).transpose()?,
            },
        })
    }

    /// Counts what is stored; nothing for a server whose rows cannot be counted.
    pub(super) async fn stored(&self) -> anyhow::Result<Option<Stored>> {
        match self {
            Self::Own(weir) => {
                let counts =
                    weir.query("SELECT count(), uniqExact(uuid) FROM {database}.events_data").await?;
                weir.query("SYSTEM FLUSH LOGS").await?;
                let inserts = "SELECT count() FROM system.query_log WHERE type = 'QueryFinish' \
                               AND query LIKE 'INSERT INTO events_data%' AND current_database = '{database}'";
                let inserts = weir.query(inserts).await?.trim().parse()?;
                let (rows, events) = pair(&counts)?;
                Ok(Some(Stored { rows, events, inserts }))
            }
            Self::Other(other) => {
                let Some((url, table)) = &other.maybe_rows else { return Ok(None) };
                let answer =
                    access(url).query(&format!("SELECT count(), uniqExact(uuid) FROM {table}")).await?;
                let (rows, events) = pair(&answer)?;
                Ok(Some(Stored { rows, events, inserts: 0 }))
            }
        }
    }

    /// Waits until ClickHouse has merged what the load left behind.
    pub(super) async fn settle(&self) -> anyhow::Result<()> {
        match self {
            Self::Own(weir) => settle(weir).await,
            // Whether it still merges is not known.
            Self::Other(_) => Ok(()),
        }
    }

    /// Empties the tables, so that every load merges into nothing.
    pub(super) async fn clear(&self) -> anyhow::Result<()> {
        let Self::Own(weir) = self else { return Ok(()) };
        for table in TABLES {
            weir.query(&format!("TRUNCATE TABLE {{database}}.{table}")).await?;
        }
        Ok(())
    }
}

/// Waits until no merge runs, twice in a row.
pub(super) async fn settle(weir: &Standalone) -> anyhow::Result<()> {
    let started = std::time::Instant::now();
    let mut quiet = 0;
    while quiet < 2 && started.elapsed() < MERGES {
        tokio::time::sleep(Duration::from_millis(250)).await;
        let merges = weir.query("SELECT count() FROM system.merges").await?;
        quiet = if merges.trim() == "0" { quiet + 1 } else { 0 };
    }
    Ok(())
}

fn access(url: &Url) -> ClickhouseAccess {
    let mut bare = url.clone();
    // Both fail for URLs that cannot have them, and then there were none.
    bare.set_username("").ok();
    bare.set_password(None).ok();
    let user = if url.username().is_empty() { "default" } else { url.username() };
    ClickhouseAccess {
        url: bare,
        user: user.to_owned(),
        password: url.password().unwrap_or_default().to_owned(),
        ca_pem: None,
    }
}

fn pair(answer: &str) -> anyhow::Result<(u64, u64)> {
    let (one, other) = answer.trim().split_once('\t').context("ClickHouse did not answer two numbers")?;
    Ok((one.parse()?, other.parse()?))
}
