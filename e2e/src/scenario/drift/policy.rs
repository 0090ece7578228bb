//! What a person changes in ClickHouse by hand is put back, reported or left, as `spec.policy.drift` says.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use futures::future::try_join_all;
use serde_json::json;
use weir_crds::{AnalyticsStack, ConditionType, DriftPolicy, Reason};

use crate::{
    stack::{Stack, find_condition, summary},
    stage::{Stage, TEAM},
};

/// How long the operator may take beyond its period, on a machine that does more.
const SLACK: Duration = Duration::from_secs(15);
/// What a report has to name: one act for each change by hand.
const ACTS: [&str; 6] = [
    "grant INSERT",
    "restore the login of user",
    "create user",
    "reduce the rights",
    "set row policy",
    "create quota",
];

/// A stack with one policy.
pub(super) struct Watched {
    policy: DriftPolicy,
    stack: Stack,
    /// Prefix of its names in ClickHouse.
    prefix: String,
}

/// Makes a stack for each policy, each with a reader that nothing serves with.
pub(super) fn make(stage: &Stage) -> anyhow::Result<[Watched; 3]> {
    let watched = [DriftPolicy::Enforce, DriftPolicy::Report, DriftPolicy::Ignore].map(
        |policy| -> anyhow::Result<Watched> {
            let name = format!("{policy:?}").to_lowercase();
            let stack = stage.make_stack_with(&name, |object| {
                object["spec"]["policy"]["drift"] = json!(policy);
                object["spec"]["users"] = json!([{
                    "name": "bi",
                    "profile": "Custom",
                    "tables": [{ "name": "events", "rows": "event = 'kept'" }],
                    "quota": [{ "interval": "1h", "queries": 1_000_000 }],
                }]);
            })?;
            Ok(Watched { policy, stack, prefix: format!("weir_{TEAM}__{name}") })
        },
    );
    let [enforce, report, ignore] = watched;
    Ok([enforce?, report?, ignore?])
}

/// Changes the access of all of them in the same ways, and waits for what each does about it.
pub(super) async fn change(stage: &Stage, watched: &[Watched; 3]) -> anyhow::Result<String> {
    let before = try_join_all(watched.iter().map(|watched| watched.settle(stage))).await?;
    // One after the other for one stack, and those of all stacks at once.
    try_join_all(watched.iter().map(|watched| watched.change(stage))).await?;
    let started = Instant::now();
    let acts = watched.iter().zip(&before).map(|(watched, before)| watched.judge(stage, before, started));
    let told = try_join_all(acts).await?;
    try_join_all(watched.iter().map(|watched| watched.stack.delete(Duration::from_mins(1)))).await?;
    Ok(format!(
        "REVOKE, ALTER, DROP, an extra GRANT, other rows and a lost quota by hand, period {} s: {}",
        stage.drift_period().as_secs(),
        told.join("; ")
    ))
}

impl Watched {
    /// Waits until its access is in order, and says what it is.
    async fn settle(&self, stage: &Stage) -> anyhow::Result<String> {
        self.stack.wait_current(Duration::from_mins(2)).await?;
        let in_order = |stack: &AnalyticsStack| {
            stack.status.as_ref().is_some_and(|status| status.access_digest.is_some())
        };
        self.stack.wait("in order in ClickHouse", Duration::from_mins(1), in_order).await?;
        self.access(stage).await
    }

    async fn change(&self, stage: &Stage) -> anyhow::Result<()> {
        let prefix = &self.prefix;
        for statement in [
            format!("REVOKE INSERT ON {prefix}.dead_letters FROM {prefix}_ingest"),
            format!("ALTER USER {prefix}_ingest_g1 SETTINGS max_threads = 3"),
            format!("DROP USER {prefix}_reader_bi_g1"),
            format!("GRANT SELECT ON {prefix}.* TO {prefix}_ingest"),
            format!("ALTER ROW POLICY {prefix}_reader_bi ON {prefix}.events USING 1 TO {prefix}_reader_bi"),
            format!("DROP QUOTA {prefix}_reader_bi"),
        ] {
            stage.query(&statement).await.context(statement)?;
        }
        Ok(())
    }

    async fn judge(&self, stage: &Stage, before: &str, started: Instant) -> anyhow::Result<String> {
        let bound = stage.drift_period() + SLACK;
        if self.policy == DriftPolicy::Enforce {
            self.wait_access(stage, before, bound).await?;
            return Ok(format!("Enforce put all back after {:.1} s", started.elapsed().as_secs_f64()));
        }
        let changed = self.access(stage).await?;
        ensure!(changed != *before, "{}: nothing was changed by hand", self.prefix);
        let mut told = String::new();
        if self.policy == DriftPolicy::Report {
            self.stack.wait("reporting all changes", bound, reports_all).await?;
            told = format!("Report named all after {:.1} s", started.elapsed().as_secs_f64());
        }
        self.watch_left(stage, &changed).await?;
        let left = started.elapsed().as_secs();
        self.stack.patch(json!({ "spec": { "policy": { "drift": DriftPolicy::Enforce } } })).await?;
        self.wait_access(stage, before, bound).await?;
        Ok(match self.policy {
            DriftPolicy::Report => format!("{told} and left all for {left} s, until it was to Enforce"),
            DriftPolicy::Ignore | DriftPolicy::Enforce => {
                format!("Ignore left all for {left} s and said nothing, until it was to Enforce")
            }
        })
    }

    /// Watches for a whole period that the changes are left.
    async fn watch_left(&self, stage: &Stage, changed: &str) -> anyhow::Result<()> {
        let until = Instant::now() + stage.drift_period() * 5 / 4;
        while Instant::now() < until {
            let access = self.access(stage).await?;
            ensure!(access == changed, "{} does not leave what was changed:\n{access}", self.prefix);
            let stack = self.stack.get().await?;
            let is_told = find_condition(&stack, ConditionType::AccessReady)
                .is_some_and(|(_, reason)| reason == Reason::DriftFound.as_str());
            let is_to_tell = self.policy == DriftPolicy::Report;
            ensure!(is_told == is_to_tell, "{}: {}", self.prefix, summary(&stack));
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Ok(())
    }

    async fn wait_access(&self, stage: &Stage, wanted: &str, bound: Duration) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            let access = self.access(stage).await?;
            if access == wanted {
                return Ok(());
            }
            ensure!(
                started.elapsed() < bound,
                "{} is not as before after {bound:?}:\n{access}\nbefore:\n{wanted}",
                self.prefix
            );
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    /// Users, roles, rights, settings, row policies and quotas of the stack as the server shows them, a line each.
    async fn access(&self, stage: &Stage) -> anyhow::Result<String> {
        let named = |columns: &str| format!("startsWith(coalesce({columns}), '{}')", self.prefix);
        let holder = "user_name, role_name, ''";
        // The development server keeps the settings of a user in a profile that is named after it.
        let owner = "user_name, replaceRegexpOne(profile_name, '^user_', ''), ''";
        stage
            .query(&format!(
                "SELECT * FROM (\
                 SELECT concat('user ', name) AS line FROM system.users WHERE {} UNION ALL \
                 SELECT concat('role ', name) FROM system.roles WHERE {} UNION ALL \
                 SELECT concat(coalesce({holder}), ' may ', toString(access_type), ' ', coalesce(database, ''), '.', \
                 coalesce(table, '')) FROM system.grants WHERE {} UNION ALL \
                 SELECT concat(coalesce({holder}), ' is ', granted_role_name) FROM system.role_grants WHERE {} UNION ALL \
                 SELECT concat(coalesce({owner}), ' has ', coalesce(setting_name, ''), coalesce(value, '')) \
                 FROM system.settings_profile_elements WHERE setting_name IS NOT NULL AND {} UNION ALL \
                 SELECT concat('row policy ', name, ' ', ifNull(select_filter, '')) FROM system.row_policies WHERE {} UNION ALL \
                 SELECT concat('quota ', name, ' ', toString(durations)) FROM system.quotas WHERE {}) ORDER BY line",
                named("name"),
                named("name"),
                named(holder),
                named(holder),
                named(owner),
                named("name"),
                named("name")
            ))
            .await
    }
}

/// Whether a stack says of every change that it was made by hand.
fn reports_all(stack: &AnalyticsStack) -> bool {
    let waits = stack.status.iter().flat_map(|status| &status.blocked_by);
    let mut reports = waits.filter(|wait| wait.reason == Reason::DriftFound.as_str());
    reports.any(|report| ACTS.iter().all(|act| report.hint.contains(act)))
}
