//! The plan of a stack that is being deleted: pods, then access, then the finalizer.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use weir_crds::{AccessDeletion, ConditionType, DeletionPolicy, Reason};

use super::{Action, Hold, Plan, Step};
use crate::access::{self, Owner};
use crate::controller::observed::Observed;

/// Longest wait for pods to end, so that a broken node cannot keep a stack.
const PODS_TIMEOUT: SignedDuration = SignedDuration::from_secs(45);

/// What a pass may begin late, in whole seconds, and the release takes: the stack is to be gone at its bound.
const RELEASE_SECONDS: i64 = 3;

/// What deleting is about.
#[derive(Debug)]
pub(crate) struct Deletion<'a> {
    /// Whose access goes.
    pub(crate) owner: &'a Owner,
    /// What the spec says about it.
    pub(crate) policy: &'a DeletionPolicy,
    /// When deletion began.
    pub(crate) since: Timestamp,
}

/// What a deletion does, and whether it gives ClickHouse up.
#[derive(Debug)]
pub(crate) struct DeletionPlan {
    /// The steps.
    pub(crate) plan: Plan,
    /// Whether access is left behind because ClickHouse could not be asked in time.
    pub(crate) leaves_behind: bool,
    /// How many steps ask ClickHouse; nothing but the release follows them.
    access_steps: usize,
    /// When waiting for ClickHouse ends, so that the stack is gone at its bound.
    pub(crate) until: Timestamp,
}

impl DeletionPlan {
    /// The release without ClickHouse, when its bound is over and it refused one of the `done + 1` steps that were tried.
    pub(crate) fn give_up(&self, done: usize, now: Timestamp) -> Option<Plan> {
        (done < self.access_steps && now >= self.until)
            .then(|| Plan { steps: vec![act(Action::RemoveFinalizer)] })
    }
}

const fn act(action: Action) -> Step {
    Step::Do(ConditionType::AccessReady, action)
}

/// Plans a pass of a deletion.
pub(crate) fn plan(deletion: &Deletion<'_>, observed: &Observed) -> DeletionPlan {
    let bound = SignedDuration::from_secs((deletion.policy.timeout_seconds - RELEASE_SECONDS).max(0));
    let until = deletion.since.checked_add(bound).unwrap_or(deletion.since);
    let planned = |steps| DeletionPlan { plan: Plan { steps }, leaves_behind: false, access_steps: 0, until };
    if !observed.has_finalizer {
        return planned(Vec::new());
    }
    if deletion.policy.access == AccessDeletion::Retain {
        // Whoever takes it over need not ask. Without ClickHouse it is as if its cluster were lost.
        let catalogue = observed.catalogue.as_ref().ok();
        let actions =
            catalogue.map(|catalogue| access::retention(deletion.owner, catalogue)).unwrap_or_default();
        let access_steps = actions.len();
        let noted = actions.into_iter().map(|action| act(Action::Access(action)));
        let steps = noted.chain([act(Action::RemoveFinalizer)]).collect();
        return DeletionPlan { access_steps, ..planned(steps) };
    }
    let mut steps = stop_pods(deletion, observed);
    if steps.iter().any(|step| matches!(step, Step::Hold(_))) {
        return planned(steps);
    }
    match &observed.catalogue {
        Ok(catalogue) => {
            let actions = access::deletion(deletion.owner, catalogue);
            let access_steps = actions.len();
            steps.extend(actions.into_iter().map(|action| act(Action::Access(action))));
            steps.push(act(Action::RemoveFinalizer));
            DeletionPlan { access_steps, ..planned(steps) }
        }
        Err(_) if observed.now >= until => {
            steps.push(act(Action::RemoveFinalizer));
            DeletionPlan { leaves_behind: true, ..planned(steps) }
        }
        Err(fault) => {
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
            planned(steps)
        }
    }
}

/// The pods end before their user does, so that nothing that they accepted is refused by ClickHouse.
fn stop_pods(deletion: &Deletion<'_>, observed: &Observed) -> Vec<Step> {
    let until = deletion.since.checked_add(PODS_TIMEOUT).unwrap_or(deletion.since);
    if observed.now >= until {
        return Vec::new();
    }
    let mut steps = Vec::new();
    let mut holds = Vec::new();
    for workload in observed.workloads.values() {
        let Some(live) = observed.live.get(&workload.key) else { continue };
        if !workload.is_going {
            let action = Action::DeletePods(workload.key.clone(), live.uid.clone());
            steps.push(Step::Do(ConditionType::WorkloadReady, action));
        }
        holds.push(Step::Hold(Hold {
            stage: ConditionType::WorkloadReady,
            object: workload.key.to_string(),
            reason: Reason::Deleting,
            hint: "the pods finish what they accepted; their ClickHouse user is dropped after them".into(),
            blocks: true,
            until: Some(until),
        }));
    }
    steps.extend(holds);
    steps
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::access::{Catalogue, Entity, Intent};
    use crate::controller::fixture;
    use crate::controller::observed::Fault;

    const TIMEOUT_SECONDS: i64 = 300;

    fn observed(catalogue: Result<Arc<Catalogue>, Fault>, after_seconds: i64) -> Observed {
        Observed { now: Timestamp::from_second(after_seconds).unwrap(), catalogue, ..fixture::observed() }
    }

    fn plan_after(
        seconds: i64,
        timeout_seconds: i64,
        catalogue: Result<Arc<Catalogue>, Fault>,
    ) -> DeletionPlan {
        let policy = DeletionPolicy { timeout_seconds, ..fixture::stack().spec.policy.deletion };
        let owner = fixture::owner();
        let deletion = Deletion { owner: &owner, policy: &policy, since: Timestamp::UNIX_EPOCH };
        let planned = plan(&deletion, &observed(catalogue, seconds));
        crate::controller::plan::order::check(&planned.plan).expect("the plan knows its order");
        planned
    }

    fn with_a_role() -> Arc<Catalogue> {
        let intent = Intent {
            entity: Entity::role("weir_retail__store_ingest"),
            class: access::Class::Ingest,
            owner: fixture::owner(),
            nonce: "nonce".into(),
            retained: false,
        };
        let mut catalogue = Catalogue::default();
        catalogue.roles.insert(intent.entity.name.clone());
        catalogue.intents = Some(vec![intent]);
        Arc::new(catalogue)
    }

    fn unreachable() -> Fault {
        Fault::dependency("ClickHouse", Reason::ClickhouseUnreachable, "it does not answer")
    }

    #[test]
    fn a_clickhouse_that_refuses_a_step_is_given_up_in_time_for_the_bound() {
        for (after, timeout, expected) in [
            (0, TIMEOUT_SECONDS, false),
            (296, TIMEOUT_SECONDS, false),
            (297, TIMEOUT_SECONDS, true),
            (0, RELEASE_SECONDS, true),
            (0, 0, true),
        ] {
            let planned = plan_after(after, timeout, Ok(with_a_role()));
            let steps = [
                "drop role weir_retail__store_ingest",
                "give up the claim on role weir_retail__store_ingest",
            ];
            assert_eq!(planned.plan.summary(), [&steps[..], &["remove the finalizer"]].concat());
            let now = Timestamp::from_second(after).unwrap();
            for done in 0..2 {
                let release = planned.give_up(done, now).map(|plan| plan.summary());
                assert_eq!(
                    release,
                    expected.then(|| vec!["remove the finalizer".to_owned()]),
                    "{after} {done}"
                );
            }
            assert!(planned.give_up(2, now).is_none(), "it is the API server that refused the release");
        }
    }

    #[test]
    fn a_clickhouse_that_does_not_answer_is_given_up_in_time_for_the_bound() {
        assert!(plan_after(296, TIMEOUT_SECONDS, Err(unreachable())).plan.summary().is_empty());
        let late = plan_after(297, TIMEOUT_SECONDS, Err(unreachable()));
        assert!(late.leaves_behind);
        assert_eq!(late.plan.summary(), ["remove the finalizer"]);
    }
}
