//! The plan of a stack that is being deleted: pods, then access, then the finalizer.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use weir_crds::{AccessDeletion, ConditionType, DeletionPolicy, Reason};

use super::{Action, Hold, Plan, Step};
use crate::access::{self, Owner};
use crate::controller::child::{ChildKey, ChildKind};
use crate::controller::observed::Observed;

/// Longest wait for pods to end, so that a broken node cannot keep a stack.
const PODS_TIMEOUT: SignedDuration = SignedDuration::from_secs(45);

/// What deleting is about.
#[derive(Debug)]
pub(crate) struct Deletion<'a> {
    /// Whose access goes.
    pub(crate) owner: &'a Owner,
    /// What the spec says about it.
    pub(crate) policy: &'a DeletionPolicy,
    /// When deletion began.
    pub(crate) since: Timestamp,
    /// Name of the Deployment of the pods.
    pub(crate) deployment: String,
}

/// What a deletion does, and whether it gives ClickHouse up.
#[derive(Debug)]
pub(crate) struct DeletionPlan {
    /// The steps.
    pub(crate) plan: Plan,
    /// Whether access is left behind because ClickHouse could not be asked in time.
    pub(crate) leaves_behind: bool,
}

/// Plans a pass of a deletion.
pub(crate) fn plan(deletion: &Deletion<'_>, observed: &Observed) -> DeletionPlan {
    let done = |steps, leaves_behind| DeletionPlan { plan: Plan { steps }, leaves_behind };
    if !observed.has_finalizer {
        return done(Vec::new(), false);
    }
    let act = |action| Step::Do(ConditionType::AccessReady, action);
    if deletion.policy.access == AccessDeletion::Retain {
        return done(vec![act(Action::RemoveFinalizer)], false);
    }
    let mut steps = stop_pods(deletion, observed);
    if steps.iter().any(|step| matches!(step, Step::Hold(_))) {
        return done(steps, false);
    }
    match &observed.catalogue {
        Ok(catalogue) => {
            steps.extend(
                access::deletion(deletion.owner, catalogue)
                    .into_iter()
                    .map(|action| act(Action::Access(action))),
            );
            steps.push(act(Action::RemoveFinalizer));
            done(steps, false)
        }
        Err(fault) => {
            let bound = SignedDuration::from_secs(deletion.policy.timeout_seconds);
            let until = deletion.since.checked_add(bound).unwrap_or(deletion.since);
            if observed.now >= until {
                steps.push(act(Action::RemoveFinalizer));
                return done(steps, true);
            }
            steps.push(Step::Hold(Hold {
                stage: ConditionType::AccessReady,
                object: fault.object.clone(),
                reason: Reason::Deleting,
                hint: format!(
                    "{} ({}); without it the stack goes after {} s and its users stay",
                    fault.hint,
                    fault.reason.as_str(),
                    deletion.policy.timeout_seconds
                ),
                blocks: true,
                until: Some(until),
            }));
            done(steps, false)
        }
    }
}

/// The pods end before their user does, so that nothing that they accepted is refused by ClickHouse.
fn stop_pods(deletion: &Deletion<'_>, observed: &Observed) -> Vec<Step> {
    let key = ChildKey::new(ChildKind::Deployment, deletion.deployment.clone());
    let Some(live) = observed.live.get(&key) else { return Vec::new() };
    let until = deletion.since.checked_add(PODS_TIMEOUT).unwrap_or(deletion.since);
    if observed.now >= until {
        return Vec::new();
    }
    let mut steps = Vec::new();
    let is_going = |deployment: &k8s_openapi::api::apps::v1::Deployment| {
        deployment.metadata.deletion_timestamp.is_some()
    };
    if !observed.deployment.as_ref().is_some_and(is_going) {
        let action = Action::DeletePods(key.clone(), live.uid.clone());
        steps.push(Step::Do(ConditionType::WorkloadReady, action));
    }
    steps.push(Step::Hold(Hold {
        stage: ConditionType::WorkloadReady,
        object: key.to_string(),
        reason: Reason::Deleting,
        hint: "the pods finish what they accepted; their ClickHouse user is dropped after them".into(),
        blocks: true,
        until: Some(until),
    }));
    steps
}
