//! The spool: on, off, up, down, and no claim that may hold events is forgotten.

use weir_crds::{SpoolSpec, SpoolStatus};

use super::*;
use crate::controller::pod_report::{PodReport, Trouble};

/// The fixture with this many pods, each with a spool.
pub(super) fn spooled(replicas: i32) -> Stack {
    let mut stack = fixture::checked();
    stack.ingest.replicas = replicas;
    stack.ingest.spool = Some(SpoolSpec { size: "1Gi".into(), storage_class_name: None });
    stack
}

/// The world after the stack ran with that many pods and status noted as many claims.
pub(super) fn after(stack: &Stack, noted: i32) -> Observed {
    let mut observed = settled();
    let key = ChildKey::new(ChildKind::Deployment, "store-ingest");
    observed.workloads.clear();
    observed.live.remove(&key);
    put(&mut observed, rolled_out(stack));
    observed.status.spool = Some(SpoolStatus { claims: noted });
    settle_for(stack, &mut observed);
    observed
}

fn steps(stack: &Stack, observed: &Observed) -> Vec<String> {
    plan_for(stack, observed).summary()
}

fn reasons(stack: &Stack, observed: &Observed) -> Vec<(Reason, bool)> {
    let steps = plan_for(stack, observed).steps.into_iter();
    let holds = steps.filter_map(|step| match step {
        Step::Hold(hold) => Some((hold.reason, hold.blocks)),
        Step::Do(..) => None,
    });
    // ClickHouse is down in the model.
    holds.filter(|(reason, _)| *reason != Reason::ClickhouseUnreachable).collect()
}

fn running_job() -> Job {
    Job { status: Some(JobStatus { ready: Some(1), ..JobStatus::default() }), ..Job::default() }
}

#[test]
fn a_settled_stack_with_a_spool_has_nothing_to_do() {
    let observed = after(&spooled(2), 2);
    assert!(steps(&spooled(2), &observed).is_empty());
    assert_eq!(observed.spool_claims(&spooled(2)), 2);
}

#[test]
fn pods_with_a_spool_serve_before_those_without_one_go() {
    let stack = spooled(2);
    let mut observed = settled();
    assert_eq!(steps(&stack, &observed), ["apply StatefulSet/store-ingest"]);
    put(&mut observed, Workload { available: 1, ..rolled_out(&stack) });
    settle_for(&stack, &mut observed);
    assert!(steps(&stack, &observed).is_empty(), "the second pod is awaited");
    put(&mut observed, rolled_out(&stack));
    assert_eq!(steps(&stack, &observed), ["delete Deployment/store-ingest"]);
}

#[test]
fn pods_leave_only_after_their_claims_are_noted() {
    let mut observed = after(&spooled(4), 0);
    assert!(steps(&spooled(2), &observed).is_empty());
    assert_eq!(reasons(&spooled(2), &observed), [(Reason::Progressing, true)]);
    assert_eq!(observed.spool_claims(&spooled(2)), 4, "what status is told");
    observed.status.spool = Some(SpoolStatus { claims: 4 });
    assert_eq!(steps(&spooled(2), &observed), ["apply StatefulSet/store-ingest"]);
    let off = fixture::checked();
    observed.status.spool = None;
    assert_eq!(reasons(&off, &observed), [(Reason::Progressing, true)]);
}

#[test]
fn claims_of_pods_that_left_are_drained_one_after_the_other_from_the_top() {
    let stack = spooled(2);
    let mut observed = after(&stack, 4);
    assert_eq!(steps(&stack, &observed), ["apply Job/store-drain-3"]);
    assert_eq!(reasons(&stack, &observed), [(Reason::SpoolDraining, false)], "the stack stays ready");
    observed.jobs.insert("store-drain-3".into(), running_job());
    assert!(steps(&stack, &observed).is_empty());
    observed.jobs.insert("store-drain-3".into(), succeeded_job());
    assert_eq!(observed.spool_claims(&stack), 3);
    assert_eq!(steps(&stack, &observed), ["apply Job/store-drain-2"]);
    observed.jobs.insert("store-drain-2".into(), succeeded_job());
    assert_eq!(observed.spool_claims(&stack), 2);
    assert!(reasons(&stack, &observed).is_empty());
}

#[test]
fn a_pod_that_has_not_ended_keeps_its_claim_from_being_drained() {
    let stack = spooled(2);
    let mut observed = after(&stack, 4);
    put(&mut observed, Workload { pods: 3, ..rolled_out(&stack) });
    assert!(steps(&stack, &observed).is_empty());
    assert_eq!(reasons(&stack, &observed), [(Reason::RolloutInProgress, true)]);
}

#[test]
fn a_spool_that_is_removed_is_drained_after_its_last_pod() {
    let off = fixture::checked();
    let mut observed = after(&spooled(2), 2);
    put(&mut observed, rolled_out(&off));
    settle_for(&off, &mut observed);
    assert_eq!(steps(&off, &observed), ["delete StatefulSet/store-ingest"], "its pods end first");
    observed.workloads.remove(&ChildKind::StatefulSet);
    observed.live.remove(&ChildKey::new(ChildKind::StatefulSet, "store-ingest"));
    assert_eq!(steps(&off, &observed), ["apply Job/store-drain-1"]);
    observed.lost_claims.insert(1);
    assert_eq!(steps(&off, &observed), ["apply Job/store-drain-0"], "somebody deleted the claim");
}

#[test]
fn a_drain_ends_before_a_pod_takes_its_claim_back() {
    let mut observed = after(&spooled(2), 4);
    observed.jobs.insert("store-drain-3".into(), running_job());
    assert_eq!(steps(&spooled(4), &observed), ["delete Job/store-drain-3 and wait for its pods"]);
    observed.jobs.clear();
    assert_eq!(steps(&spooled(4), &observed), ["apply StatefulSet/store-ingest"]);
}

#[test]
fn a_drain_that_cannot_run_is_told_with_what_to_mend() {
    let stack = spooled(2);
    let mut observed = after(&stack, 3);
    observed
        .jobs
        .insert("store-drain-2".into(), Job { status: Some(JobStatus::default()), ..Job::default() });
    for (is_passing, expected) in [(false, Reason::SpoolDrainFailed), (true, Reason::SpoolDraining)] {
        let trouble = Some(Trouble { hint: "no node takes its pod".into(), is_passing });
        observed.job_reports.insert("store-drain-2".into(), PodReport { trouble, ..PodReport::default() });
        assert_eq!(reasons(&stack, &observed), [(expected, false)]);
    }
}
