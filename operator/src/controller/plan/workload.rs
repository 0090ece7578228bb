//! Phases of the pods: what surrounds them, and they themselves.

use weir_crds::ConditionType;

use super::{Hold, Steps, View, image_hold, rollout, spool};
use crate::controller::child::{Child, ChildKey, ChildKind};
use crate::controller::desired::{migration, network};

/// Applies what surrounds the pods.
pub(super) fn surroundings(view: &View<'_>, steps: &mut Steps) {
    for child in &view.desired.surroundings {
        if matches!(child, Child::NetworkPolicy(_)) {
            widen(view, child, steps);
        } else {
            steps.apply(ConditionType::WorkloadReady, child, view.observed);
        }
    }
    if let Err(fault) = &view.observed.image {
        let hold = image_hold(fault);
        steps.hold(Hold { blocks: view.stack.image.is_none(), ..hold });
    }
}

/// Applies the policy with the ports that serving pods use besides the new ones. It is narrowed behind the pods.
fn widen(view: &View<'_>, policy: &Child, steps: &mut Steps) {
    let (stage, observed) = (ConditionType::WorkloadReady, view.observed);
    if observed.has_moved(view.stack) {
        let port = |endpoint: &str| endpoint.rsplit_once(':')?.1.parse().ok();
        let still_used: Vec<u16> = observed.pod_endpoints().filter_map(port).collect();
        let policy = network::network_policy(view.stack, &still_used);
        steps.apply(stage, &Child::NetworkPolicy(Box::new(policy)), observed);
    } else if observed.workloads.is_empty() || !observed.live.contains_key(&policy.key()) {
        steps.apply(stage, policy, observed);
    }
}

/// Applies the policy as it should be, once no pod needs more.
fn narrow(view: &View<'_>, steps: &mut Steps) {
    if view.observed.has_moved(view.stack) {
        return;
    }
    let is_policy = |child: &&Child| matches!(child, Child::NetworkPolicy(_));
    for policy in view.desired.surroundings.iter().filter(is_policy) {
        if view.observed.live.contains_key(&policy.key()) {
            steps.apply(ConditionType::WorkloadReady, policy, view.observed);
        }
    }
}

/// Applies the pods and waits until they run and are ready.
pub(super) fn pods(view: &View<'_>, steps: &mut Steps) {
    let Some(workload) = &view.desired.workload else { return };
    spool::make_room(view, steps);
    if steps.blocked {
        return;
    }
    steps.apply(ConditionType::WorkloadReady, workload, view.observed);
    if let Some(hold) = rollout::explained(view, &workload.key()) {
        return steps.hold(hold);
    }
    narrow(view, steps);
}

/// Children that belong to the pods and the migration, for the orphans to be told from.
pub(super) fn keys(view: &View<'_>) -> Vec<ChildKey> {
    let desired = view.desired;
    let children = desired.config.iter().chain(&desired.surroundings).chain(&desired.workload);
    let mut keys: Vec<_> = children.map(Child::key).collect();
    if let Some(image) = &view.stack.image {
        let run = migration::name(view.stack, &view.stack.run(image));
        // The Job of the image that runs is kept as the record of its migration.
        keys.push(ChildKey::new(ChildKind::Job, run.clone()));
        if desired.migration.is_some() {
            keys.push(ChildKey::new(ChildKind::Secret, run));
        }
    }
    keys.extend(spool::drain_key(view));
    keys
}
