//! A settled stack costs nothing.

use std::time::Duration;

use anyhow::ensure;

use super::Plan;
use crate::{audit, stage::Stage};

pub(super) async fn run(stage: &Stage, plan: Plan) -> anyhow::Result<String> {
    let period = Duration::from_secs(plan.pick(40, 180));
    stage.shop().wait_current(Duration::from_secs(30)).await?;
    // The last status write of the way there may still be on its way into the log.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (log, user) = (stage.cluster.audit_log(), stage.operator_user());
    let mark = audit::mark(&log)?;
    tokio::time::sleep(period).await;
    let writes = audit::writes_since(&log, mark, &user)?;
    ensure!(writes.is_empty(), "{user} wrote while nothing had changed: {writes:?}");
    // A check that cannot fail proves nothing: the same log does show the operator's earlier writes.
    let all = audit::writes_since(&log, audit::Mark::START, &user)?;
    ensure!(!all.is_empty(), "the audit log shows no write of {user} at all: is it the operator's identity?");
    let earlier: u64 = all.values().sum();
    Ok(format!("0 writes in {} s, leases excepted ({earlier} before)", period.as_secs()))
}
