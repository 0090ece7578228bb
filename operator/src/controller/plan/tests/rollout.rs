//! A rollout that hangs says why, and a change that cannot be reached moves nobody.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use weir_crds::{BlockedBy, SpoolSpec};

use super::*;
use crate::controller::desired::metadata::ca_hash;
use crate::controller::pod_report::Trouble;

fn rolling(is_late: bool, trouble: Option<Trouble>) -> Hold {
    let mut observed = settled();
    let workload = deployment(&mut observed);
    (workload.updated, workload.is_late) = (1, is_late);
    observed.pods.trouble = trouble;
    last_hold(&plan_of(&observed))
}

fn last_hold(plan: &Plan) -> Hold {
    let Some(Step::Hold(hold)) = plan.steps.last() else { panic!("no hold in {plan:?}") };
    hold.clone()
}

fn trouble(is_passing: bool) -> Trouble {
    Trouble { hint: "its image cannot be pulled".into(), is_passing }
}

#[test]
fn a_pod_that_cannot_run_fails_its_rollout_at_once_and_one_that_waits_for_a_node_when_it_is_late() {
    assert_eq!(rolling(false, None).reason, Reason::RolloutInProgress);
    let failed = rolling(false, Some(trouble(false)));
    assert_eq!(failed.reason, Reason::RolloutFailed);
    assert!(failed.hint.contains("its image cannot be pulled") && failed.hint.contains("go on serving"));
    assert_eq!(rolling(false, Some(trouble(true))).reason, Reason::RolloutInProgress);
    assert_eq!(rolling(true, Some(trouble(true))).reason, Reason::RolloutFailed);
}

#[test]
fn pods_that_run_and_never_get_ready_name_what_they_have_to_reach() {
    let late = rolling(true, None);
    assert_eq!(late.reason, Reason::RolloutFailed);
    for word in
        ["https://db.example.com:8443", "network policies", "spec.clickhouse.ca", "take the last change"]
    {
        assert!(late.hint.contains(word), "{word}: {}", late.hint);
    }
}

#[test]
fn a_rollout_of_a_stateful_set_is_late_after_as_long_as_one_of_a_deployment() {
    let mut stack = fixture::checked();
    stack.ingest.spool = Some(SpoolSpec { size: "1Gi".into(), storage_class_name: None });
    let mut observed = settled();
    observed.workloads.clear();
    put(&mut observed, Workload { updated: 1, ..rolled_out(&stack) });
    observed.status.blocked_by = vec![BlockedBy {
        object: "StatefulSet/store-ingest".into(),
        reason: "RolloutInProgress".into(),
        since: Time(Timestamp::UNIX_EPOCH),
        hint: String::new(),
    }];
    for (second, expected) in [(599, Reason::RolloutInProgress), (600, Reason::RolloutFailed)] {
        observed.now = Timestamp::from_second(second).unwrap();
        assert_eq!(last_hold(&plan_for(&stack, &observed)).reason, expected, "{second}");
    }
}

#[test]
fn a_new_ca_bundle_reaches_the_pods_only_after_clickhouse_was_reached_with_it() {
    const OLD: &str = "-----BEGIN CERTIFICATE-----\n";
    let (new, edited) = (|| Some("new".to_owned()), || Some("edited".to_owned()));
    let copy = || Some(OLD.to_owned());
    let mut observed = settled();
    assert_eq!(deployment(&mut observed).ca_hash(), Some(ca_hash(OLD).as_str()));
    assert_eq!(observed.ca_of_pods(new(), copy()), copy(), "it cannot be tried");
    assert_eq!(observed.ca_of_pods(None, copy()), copy(), "nor can going without one");
    assert_eq!(observed.ca_of_pods(copy(), edited()), copy(), "an edited copy is nobody's");
    assert_eq!(observed.ca_of_pods(copy(), None), copy());
    observed.catalogue = Ok(Arc::default());
    assert_eq!(observed.ca_of_pods(new(), copy()), new());
    assert_eq!(observed.ca_of_pods(None, copy()), None);
    assert_eq!(fixture::observed().ca_of_pods(new(), None), new(), "there are no pods yet");
}
