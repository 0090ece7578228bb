//! How far a rollout is, and why it is not further.

use k8s_openapi::jiff::SignedDuration;
use weir_crds::{ConditionType, Reason};

use super::{Hold, View};
use crate::controller::child::ChildKey;
use crate::controller::status::short;
use crate::controller::workload::Workload;

/// Time that a rollout may take without a new pod getting ready. A Deployment's controller measures it; a StatefulSet's does
/// not.
pub(crate) const DEADLINE: SignedDuration = SignedDuration::from_mins(10);

/// What a rollout waits for; none when every pod runs the current template and is available.
pub(crate) fn waits(key: &ChildKey, workload: Option<&Workload>) -> Option<Hold> {
    let progress = |hint: &str| Some(hold(key, Reason::RolloutInProgress, hint.into()));
    let Some(workload) = workload else { return progress("the pods are being created") };
    if workload.is_rolled_out() {
        return None;
    }
    if !workload.is_seen {
        return progress("the new pods are being created");
    }
    progress("new pods are starting; older ones go on serving until they are ready")
}

fn hold(key: &ChildKey, reason: Reason, hint: String) -> Hold {
    Hold {
        stage: ConditionType::WorkloadReady,
        object: key.to_string(),
        reason,
        hint,
        blocks: true,
        until: None,
    }
}

/// The same, with what the pods say about it: that one cannot run is told at once, that none gets ready when its time is
/// over.
pub(super) fn explained(view: &View<'_>, key: &ChildKey) -> Option<Hold> {
    let workload = view.observed.workloads.get(&key.kind);
    let waiting = waits(key, workload)?;
    let is_seen = workload.is_some_and(|workload| workload.is_seen);
    let trouble = view.observed.pods.trouble.as_ref().filter(|_| is_seen);
    let is_late = is_seen && (workload.is_some_and(|workload| workload.is_late) || is_overdue(view, key));
    let serving = "older pods go on serving";
    match trouble {
        Some(trouble) if is_late || !trouble.is_passing => {
            let hint = format!("a pod does not run: {}; {serving}", trouble.hint);
            Some(hold(key, Reason::RolloutFailed, hint))
        }
        Some(trouble) => Some(Hold { hint: format!("a pod waits: {}; {serving}", trouble.hint), ..waiting }),
        None if is_late => Some(hold(key, Reason::RolloutFailed, unready(view, serving))),
        None => Some(waiting),
    }
}

/// A pod gets ready when it has reached ClickHouse, so what keeps a running one from it lies between the two.
fn unready(view: &View<'_>, serving: &str) -> String {
    format!(
        "new pods run and do not get ready; {serving}; check that pods of this namespace reach {} (network policies, names, \
         spec.clickhouse.ca), see kubectl logs, or take the last change of the spec back",
        view.stack.endpoint_list()
    )
}

/// Whether status has told of this rollout for longer than it may take, or has given it up before.
fn is_overdue(view: &View<'_>, key: &ChildKey) -> bool {
    let object = short(&key.to_string());
    view.observed.status.blocked_by.iter().filter(|wait| wait.object == object).any(|wait| {
        let lasts = view.observed.now.duration_since(wait.since.0);
        wait.reason == Reason::RolloutInProgress.as_str() && lasts >= DEADLINE
            || wait.reason == Reason::RolloutFailed.as_str() && view.observed.pods.trouble.is_none()
    })
}
