//! How far a Deployment's rollout is.

use k8s_openapi::api::apps::v1::Deployment;
use weir_crds::{ConditionType, Reason};

use super::Hold;

/// What a rollout waits for; none when every pod runs the current template and is available.
pub(crate) fn waits(name: &str, deployment: Option<&Deployment>) -> Option<Hold> {
    let hold = |reason, hint: &str| Hold {
        stage: ConditionType::WorkloadReady,
        object: format!("Deployment/{name}"),
        reason,
        hint: hint.into(),
        blocks: true,
        until: None,
    };
    let progress = |hint| Some(hold(Reason::RolloutInProgress, hint));
    let Some(deployment) = deployment else { return progress("the pods are being created") };
    let Some(status) = &deployment.status else { return progress("the pods are being created") };
    if status.observed_generation.unwrap_or(0) < deployment.metadata.generation.unwrap_or(0) {
        return progress("the new pods are being created");
    }
    let is_late = status.conditions.iter().flatten().any(|condition| {
        condition.type_ == "Progressing" && condition.reason.as_deref() == Some("ProgressDeadlineExceeded")
    });
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let count = |pods: Option<i32>| pods.unwrap_or(0);
    let rolled = count(status.updated_replicas) >= wanted
        && count(status.available_replicas) >= wanted
        && count(status.replicas) <= wanted.max(count(status.updated_replicas));
    match (rolled, is_late) {
        (true, _) => None,
        (false, true) => Some(hold(
            Reason::RolloutFailed,
            "new pods do not become ready; older ones go on serving; see kubectl describe pods and their logs",
        )),
        (false, false) => progress("new pods are starting; older ones go on serving until they are ready"),
    }
}
