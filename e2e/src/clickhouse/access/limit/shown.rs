//! The system tables of row policies and quotas, as ClickHouse would show what was said: a query over them is answered
//! from what is kept, after the engine has judged it and the caller's rights on its own tables.

use sha2::{Digest as _, Sha256};

use super::{super::Access, Grantees};

/// Columns of ClickHouse 26.7, each with its type.
const POLICIES: &str = "name String, short_name String, database String, table String, id UUID, storage String, \
    select_filter Nullable(String), is_restrictive UInt8, apply_to_all UInt8, apply_to_list Array(String), \
    apply_to_except Array(String)";
const QUOTAS: &str = "name String, id UUID, storage String, keys Array(String), durations Array(UInt32), \
    apply_to_all UInt8, apply_to_list Array(String), apply_to_except Array(String), \
    ipv4_prefix_bits Nullable(UInt8), ipv6_prefix_bits Nullable(UInt8)";
const LIMITS: &str = "quota_name String, duration UInt32, is_randomized_interval UInt8, max_queries Nullable(UInt64), \
    max_query_selects Nullable(UInt64), max_query_inserts Nullable(UInt64), max_errors Nullable(UInt64), \
    max_result_rows Nullable(UInt64), max_result_bytes Nullable(UInt64), max_read_rows Nullable(UInt64), \
    max_read_bytes Nullable(UInt64), max_execution_time Nullable(Float64), max_written_bytes Nullable(UInt64), \
    max_failed_sequential_authentications Nullable(UInt64), max_queries_per_normalized_hash Nullable(UInt64)";

/// Where entities are kept that were made by statements.
const STORAGE: &str = "local_directory";

/// The query with these tables in place of the engine's; `None` when it names none of them.
pub(crate) fn substitute(sql: &str, access: &Access) -> Option<String> {
    let mut found = false;
    let mut text = sql.to_owned();
    for (table, rows) in [
        ("system.row_policies", policies as fn(&Access) -> String),
        ("system.quota_limits", limits),
        ("system.quotas", quotas),
    ] {
        while let Some(at) = find(&text, table) {
            found = true;
            text.replace_range(at..at + table.len(), &rows(access));
        }
    }
    found.then_some(text)
}

/// Where a table is named, and not one whose name only begins like it.
fn find(text: &str, table: &str) -> Option<usize> {
    let ends = |at: &usize| {
        let next = text[at + table.len()..].chars().next();
        !next.is_some_and(|next| next.is_alphanumeric() || next == '_')
    };
    text.match_indices(table).map(|(at, _)| at).find(ends)
}

/// The rows as a subquery. It must not name the table that it stands for.
fn rows(columns: &str, rows: &[Vec<String>]) -> String {
    let names = columns.split(", ").filter_map(|column| column.split_once(' ')).map(|(name, _)| name);
    let picked: Vec<_> = names.enumerate().map(|(at, name)| format!("t.{} AS {name}", at + 1)).collect();
    let rows: Vec<_> = rows.iter().map(|row| format!("tuple({})", row.join(", "))).collect();
    let rows = format!("CAST([{}], {})", rows.join(", "), quoted(&format!("Array(Tuple({columns}))")));
    format!("(SELECT {} FROM (SELECT arrayJoin({rows}) AS t))", picked.join(", "))
}

fn policies(access: &Access) -> String {
    let row = |(full, policy): (&String, &super::RowPolicy)| {
        let name = &policy.name;
        let texts = [full, &name.short, &name.database, &name.table].map(|text| quoted(text));
        let id = identity("policy", full);
        let kind = u8::from(policy.is_restrictive).to_string();
        let filter = quoted(&policy.filter);
        [&texts[..], &[id, quoted(STORAGE), filter, kind], &grantees(&policy.grantees)].concat()
    };
    rows(POLICIES, &access.policies.iter().map(row).collect::<Vec<_>>())
}

fn quotas(access: &Access) -> String {
    let row = |(name, quota): (&String, &super::Quota)| {
        let keys = if quota.is_by_user { "['user_name']" } else { "[]" }.to_owned();
        let durations: Vec<_> = quota.intervals.keys().map(ToString::to_string).collect();
        let durations = format!("[{}]", durations.join(", "));
        let head = [quoted(name), identity("quota", name), quoted(STORAGE), keys, durations];
        [&head[..], &grantees(&quota.grantees), &["NULL".to_owned(), "NULL".to_owned()]].concat()
    };
    rows(QUOTAS, &access.quotas.iter().map(row).collect::<Vec<_>>())
}

fn limits(access: &Access) -> String {
    let columns: Vec<_> = LIMITS.split(", ").filter_map(|column| column.split_once(' ')).skip(3).collect();
    let mut all = Vec::new();
    for (name, quota) in &access.quotas {
        for (seconds, limits) in &quota.intervals {
            let amounts = columns.iter().map(|(column, _)| {
                let limit = column.strip_prefix("max_").and_then(|limit| limits.get(limit));
                limit.cloned().unwrap_or_else(|| "NULL".to_owned())
            });
            let head = [quoted(name), seconds.to_string(), "0".to_owned()];
            all.push(head.into_iter().chain(amounts).collect());
        }
    }
    rows(LIMITS, &all)
}

fn grantees(grantees: &Grantees) -> [String; 3] {
    let list = |names: &std::collections::BTreeSet<String>| {
        format!("[{}]", names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", "))
    };
    [u8::from(grantees.is_all).to_string(), list(&grantees.names), list(&grantees.except)]
}

/// The same for the same name, as an entity keeps its identity.
fn identity(kind: &str, name: &str) -> String {
    let digits = hex::encode(&Sha256::digest(format!("{kind} {name}"))[..16]);
    let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
    quoted(&parts.join("-"))
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_tables_themselves_are_replaced() {
        let access = Access::default();
        assert_eq!(substitute("SELECT * FROM system.quotas_usage", &access), None);
        let text = substitute("SELECT name FROM system.quotas WHERE name = 'q'", &access).unwrap();
        assert!(text.starts_with("SELECT name FROM (SELECT t.1 AS name, t.2 AS id"), "{text}");
        assert!(text.ends_with("AS t)) WHERE name = 'q'"), "{text}");
    }
}
