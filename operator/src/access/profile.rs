//! How a declared reader may read: what of the database, from where, and with which settings. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::quota::Limits;
use super::right::{Right, Scope};
use crate::quote::{identifier, literal};

/// A declared reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reader {
    /// Its name in the spec.
    pub(crate) name: String,
    /// What it may read.
    pub(crate) reads: Reads,
    /// Where it may log in from.
    pub(crate) hosts: Hosts,
    /// Its settings, exactly.
    pub(crate) settings: Vec<Setting>,
    /// Conditions of the rows that it may read, by table.
    pub(crate) rows: BTreeMap<String, String>,
    /// The most that it may use, by the seconds of an interval.
    pub(crate) quota: BTreeMap<u64, Limits>,
}

/// What a reader may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reads {
    /// The whole database.
    Everything,
    /// These tables, each with its columns; all columns where none is named.
    Tables(Vec<(String, Vec<String>)>),
}

/// Where a user may log in from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hosts {
    /// From everywhere.
    Any,
    /// From nowhere.
    None,
    /// From these networks, in CIDR form.
    Networks(BTreeSet<String>),
}

/// A setting of a user.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Setting {
    /// Name as ClickHouse knows it.
    pub(crate) name: String,
    /// Value; the server's default when there is none.
    pub(crate) value: Option<String>,
    /// Smallest value.
    pub(crate) min: Option<String>,
    /// Largest value.
    pub(crate) max: Option<String>,
    /// Whether the user may change it.
    pub(crate) change: Change,
}

/// Settings whose value the server can choose, each with the number that it chooses.
pub(crate) type Automatic = BTreeMap<String, String>;

/// Whether a user may change a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Change {
    /// Within the limits, unless it is read-only.
    Writable,
    /// Never.
    Const,
    /// Within the limits.
    ChangeableInReadonly,
}

/// Settings that ClickStack's HyperDX changes. It sends `wait_end_of_query`, which is how `http_wait_end_of_query` is called
/// in a URL.
const HYPERDX_CHANGES: [&str; 4] = [
    "max_rows_to_read",
    "read_overflow_mode",
    "cancel_http_readonly_queries_on_client_close",
    "http_wait_end_of_query",
];

/// The settings of the profile `HyperDX`: read-only, and exactly four that may be changed.
pub(crate) fn hyperdx_settings() -> Vec<Setting> {
    let fixed = Setting { value: Some("1".into()), ..Setting::plain("readonly") };
    let changed = |name: &&str| Setting { change: Change::ChangeableInReadonly, ..Setting::plain(name) };
    std::iter::once(fixed).chain(HYPERDX_CHANGES.iter().map(changed)).collect()
}

impl Setting {
    /// A setting of that name of which nothing is said.
    pub(crate) fn plain(name: &str) -> Self {
        Self { name: name.to_owned(), value: None, min: None, max: None, change: Change::Writable }
    }

    fn sql(&self) -> String {
        let mut sql = identifier(&self.name);
        for (word, value) in [(" =", &self.value), (" MIN", &self.min), (" MAX", &self.max)] {
            if let Some(value) = value {
                sql.push_str(word);
                sql.push(' ');
                sql.push_str(&literal(value));
            }
        }
        sql.push_str(match self.change {
            Change::Writable => "",
            Change::Const => " CONST",
            Change::ChangeableInReadonly => " CHANGEABLE_IN_READONLY",
        });
        sql
    }

    /// The setting in the one form of all that mean the same on a server. It writes truth values as numbers, and an automatic
    /// number of threads, which 0 asks for as well, as the number that it comes to there.
    pub(crate) fn canonical(self, automatic: &Automatic) -> Self {
        let automatic = automatic.get(&self.name);
        let number = |value: Option<String>| {
            value.map(|value| match value.as_str() {
                "true" => "1".to_owned(),
                "false" => "0".to_owned(),
                "auto" | "0" => automatic.cloned().unwrap_or(value),
                // As other versions show it.
                text if text.contains("auto(") => automatic.cloned().unwrap_or(value),
                _ => value,
            })
        };
        Self { value: number(self.value), min: number(self.min), max: number(self.max), ..self }
    }
}

/// The whole list as it stands in CREATE and ALTER USER; it replaces what was there.
pub(super) fn settings_sql(settings: &[Setting]) -> String {
    if settings.is_empty() {
        return "SETTINGS NONE".into();
    }
    format!("SETTINGS {}", settings.iter().map(Setting::sql).collect::<Vec<_>>().join(", "))
}

pub(super) fn hosts_sql(hosts: &Hosts) -> String {
    match hosts {
        Hosts::Any => "HOST ANY".into(),
        Hosts::None => "HOST NONE".into(),
        Hosts::Networks(networks) => {
            let networks: Vec<_> = networks.iter().map(|network| literal(network)).collect();
            format!("HOST IP {}", networks.join(", "))
        }
    }
}

/// A network in one form: the server shows one address without a length, and writes IPv6 in its own way.
pub(super) fn canonical_network(network: &str) -> String {
    let (address, length) = network.split_once('/').unwrap_or((network, ""));
    let Ok(address) = address.parse::<IpAddr>() else { return network.to_owned() };
    let whole = if address.is_ipv4() { "32" } else { "128" };
    format!("{address}/{}", if length.is_empty() { whole } else { length })
}

/// Rights of a reader in a database.
pub(super) fn rights(reads: &Reads, database: &str) -> Vec<Right> {
    match reads {
        Reads::Everything => vec![Right::new("SELECT", Scope::Database(database.to_owned()))],
        Reads::Tables(tables) => {
            let rights = tables.iter().flat_map(|(table, columns)| {
                let of = |column: Option<&String>| {
                    let (database, table) = (database.to_owned(), table.clone());
                    let scope = column.map_or(Scope::Table(database.clone(), table.clone()), |column| {
                        Scope::Column(database, table, column.clone())
                    });
                    Right::new("SELECT", scope)
                };
                if columns.is_empty() {
                    vec![of(None)]
                } else {
                    columns.iter().map(|column| of(Some(column))).collect()
                }
            });
            rights.collect()
        }
    }
}
