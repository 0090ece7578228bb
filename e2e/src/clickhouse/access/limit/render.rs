//! What row policies and quotas come to for one user, in users.xml.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    super::{Access, render::escape},
    Quota, RowPolicy,
};

/// Whether a user whom no permissive policy admits sees the rows of a table that has policies: ClickHouse's
/// `users_without_row_policies_can_read_rows`. The strict answer, under which whoever is forgotten loses all rows; users.xml
/// itself admits everybody who has no filter, whatever the setting says.
const ROWS_WITHOUT_POLICY: bool = false;

/// The filters and the quota of a user.
pub(in super::super) fn limits_of(access: &Access, user: &str) -> String {
    let identities = access.identities(user);
    let quota = access.quotas.iter().find(|(_, quota)| quota.grantees.match_any(&identities));
    let quota = quota.map(|(name, _)| format!("<quota>{name}</quota>")).unwrap_or_default();
    let mut by_table: BTreeMap<(&str, &str), Vec<&RowPolicy>> = BTreeMap::new();
    for policy in access.policies.values() {
        by_table.entry((&policy.name.database, &policy.name.table)).or_default().push(policy);
    }
    let filters = by_table.into_iter().filter_map(|((database, table), policies)| {
        let filter = mixed(&policies, &identities, ROWS_WITHOUT_POLICY)?;
        let [database, table] = [database, table].map(|name| escape(name).replace('"', "&quot;"));
        let filter = escape(&filter);
        Some(format!("<database name=\"{database}\"><table name=\"{table}\"><filter>{filter}</filter></table></database>"))
    });
    let filters = filters.collect::<Vec<_>>().concat();
    if filters.is_empty() { quota } else { format!("{quota}<databases>{filters}</databases>") }
}

/// ClickHouse's rule: a row is seen when one of the permissive policies admits it and every restrictive one does.
fn mixed(policies: &[&RowPolicy], identities: &BTreeSet<&str>, rows_without_policy: bool) -> Option<String> {
    let of = |is_restrictive: bool| {
        let of_kind = policies.iter().filter(move |policy| policy.is_restrictive == is_restrictive);
        let matching = of_kind.filter(|policy| policy.grantees.match_any(identities));
        matching.map(|policy| format!("({})", policy.filter)).collect::<Vec<_>>()
    };
    let (permissive, mut all) = (of(false), of(true));
    if permissive.is_empty() && !rows_without_policy {
        all.push("0".to_owned());
    } else if !permissive.is_empty() {
        all.push(format!("({})", permissive.join(" OR ")));
    }
    (!all.is_empty()).then(|| all.join(" AND "))
}

/// The quotas themselves.
pub(in super::super) fn quotas(access: &Access) -> String {
    let limits = |limits: &BTreeMap<String, String>| {
        let limits = limits.iter().map(|(limit, amount)| format!("<{limit}>{amount}</{limit}>"));
        limits.collect::<Vec<_>>().concat()
    };
    let quota = |(name, quota): (&String, &Quota)| {
        let intervals = quota.intervals.iter().map(|(seconds, of)| {
            format!("<interval><duration>{seconds}</duration>{}</interval>", limits(of))
        });
        format!("<{name}>{}</{name}>\n", intervals.collect::<Vec<_>>().concat())
    };
    access.quotas.iter().map(quota).collect::<Vec<_>>().concat()
}

#[cfg(test)]
mod tests {
    use super::{super::Grantees, *};

    fn policy(is_restrictive: bool, filter: &str, to: Option<&str>) -> RowPolicy {
        let names = to.map(str::to_owned).into_iter().collect();
        let grantees = Grantees { is_all: to.is_none(), names, ..Grantees::default() };
        RowPolicy { is_restrictive, filter: filter.to_owned(), grantees, ..RowPolicy::default() }
    }

    #[test]
    fn policies_mix_as_clickhouse_mixes_them() {
        let (own, open) = (policy(true, "a = 1", Some("r")), policy(false, "1", None));
        let both = [&open, &own];
        let (reader, other) = (BTreeSet::from(["u", "r"]), BTreeSet::from(["x"]));
        assert_eq!(mixed(&both, &reader, false).as_deref(), Some("(a = 1) AND ((1))"));
        assert_eq!(mixed(&both, &other, false).as_deref(), Some("((1))"));
        // Without the one that admits everybody, it is for the setting to say.
        assert_eq!(mixed(&[&own], &other, true), None);
        assert_eq!(mixed(&[&own], &other, false).as_deref(), Some("0"));
        assert_eq!(mixed(&[&own], &reader, true).as_deref(), Some("(a = 1)"));
        assert_eq!(mixed(&[&own], &reader, false).as_deref(), Some("(a = 1) AND 0"));
    }
}
