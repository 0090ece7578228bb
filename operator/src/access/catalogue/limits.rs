//! Row policies and quotas, as ClickHouse shows them.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use super::super::quota::{Limits, QuotaState};
use super::super::rows::{PolicyName, PolicyState};
use crate::clickhouse::{Connection, Error};

/// Reads every row policy.
pub(super) async fn fetch_policies(
    connection: &Connection,
) -> Result<BTreeMap<PolicyName, PolicyState>, Error> {
    let rows = connection.rows::<PolicyRow>("SELECT * FROM system.row_policies").await?;
    Ok(rows.into_iter().map(PolicyRow::into_state).collect())
}

/// Reads every quota with its limits.
pub(super) async fn fetch_quotas(connection: &Connection) -> Result<BTreeMap<String, QuotaState>, Error> {
    let rows = connection.rows::<QuotaRow>("SELECT * FROM system.quotas").await?;
    let mut quotas: BTreeMap<_, _> = rows.into_iter().map(QuotaRow::into_state).collect();
    for row in connection.rows::<LimitRow>("SELECT * FROM system.quota_limits").await? {
        if let Some(quota) = quotas.get_mut(&row.quota_name) {
            quota.is_randomized |= row.is_randomized_interval != 0;
            quota.intervals.insert(row.duration, row.limits());
        }
    }
    Ok(quotas)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PolicyRow {
    short_name: String,
    database: String,
    table: Option<String>,
    select_filter: Option<String>,
    is_restrictive: u8,
    apply_to_all: u8,
    apply_to_list: BTreeSet<String>,
    apply_to_except: BTreeSet<String>,
}

impl PolicyRow {
    fn into_state(self) -> (PolicyName, PolicyState) {
        let table = self.table.unwrap_or_default();
        let name = PolicyName { name: self.short_name, database: self.database, table };
        let state = PolicyState {
            filter: self.select_filter.unwrap_or_default(),
            is_restrictive: self.is_restrictive != 0,
            is_for_all: self.apply_to_all != 0,
            grantees: self.apply_to_list,
            exceptions: self.apply_to_except,
        };
        (name, state)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct QuotaRow {
    name: String,
    keys: BTreeSet<String>,
    apply_to_all: u8,
    apply_to_list: BTreeSet<String>,
    apply_to_except: BTreeSet<String>,
}

impl QuotaRow {
    fn into_state(self) -> (String, QuotaState) {
        let state = QuotaState {
            keys: self.keys,
            intervals: BTreeMap::new(),
            is_randomized: false,
            is_for_all: self.apply_to_all != 0,
            grantees: self.apply_to_list,
            exceptions: self.apply_to_except,
        };
        (self.name, state)
    }
}

#[derive(Debug, Deserialize)]
struct LimitRow {
    quota_name: String,
    duration: u64,
    #[serde(default)]
    is_randomized_interval: u8,
    // Every column `max_…`, those that a newer version adds included: a limit set by hand is a difference, whatever it is.
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

impl LimitRow {
    fn limits(self) -> Limits {
        let amount = |value: Value| match value {
            Value::Number(number) => Some(number.to_string()),
            // As servers write 64 bits that quote them.
            Value::String(text) => Some(text),
            _ => None,
        };
        let limit = |(column, value): (String, Value)| {
            Some((column.strip_prefix("max_")?.to_owned(), amount(value)?))
        };
        self.rest.into_iter().filter_map(limit).collect()
    }
}
