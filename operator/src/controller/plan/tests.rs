//! The plan of a stack from nothing to settled, by playing its steps against a small model of the world.

mod migration;
mod rollout;
mod spool;
mod swapped;
mod turning;

use std::sync::Arc;

use k8s_openapi::api::batch::v1::{Job, JobCondition, JobStatus};
use k8s_openapi::jiff::Timestamp;
use weir_crds::SchemaStatus;

use super::*;
use crate::access::{Class, Entity, Intent, Kind};
use crate::controller::child::{AppliedChild, ChildKey, ChildKind, Live, Version};
use crate::controller::consumers::{Consumer, Consumers, Report};
use crate::controller::credential::{self, Value};
use crate::controller::desired::{self, Inputs, metadata::PUBLISHED_AT, secret};
use crate::controller::fixture;
use crate::controller::observed::Generations;
use crate::controller::rotation::Cause;
use crate::controller::workload::Workload;

fn reachable() -> Observed {
    Observed { catalogue: Ok(Arc::default()), ..fixture::observed() }
}

/// ClickHouse with the stack's database, and nothing else.
fn with_database(observed: Observed) -> Observed {
    let mut catalogue = crate::access::Catalogue::default();
    catalogue.databases.insert("weir_retail__store".into());
    catalogue.intents = Some(vec![Intent {
        entity: Entity { kind: Kind::Database, name: "weir_retail__store".into() },
        class: Class::Data,
        owner: fixture::owner(),
        nonce: "nonce".into(),
        retained: false,
    }]);
    Observed { catalogue: Ok(Arc::new(catalogue)), ..observed }
}

fn plan_of(observed: &Observed) -> Plan {
    plan_for(&fixture::checked(), observed)
}

/// The fixture after its endpoints were edited.
fn moved() -> Stack {
    let mut stack = fixture::checked();
    stack.clickhouse.endpoints[0].port = 9;
    stack
}

fn plan_for(stack: &Stack, observed: &Observed) -> Plan {
    let desired = desired_of(stack, observed);
    let plan = plan(&View { stack, desired: &desired, observed });
    order::check(&plan).expect("the phases know their order");
    plan
}

fn desired_of(stack: &Stack, observed: &Observed) -> Desired {
    let generations = Generations { stack, observed };
    let credentials = credential::credentials(stack, &observed.secrets, &observed.supplied, &generations);
    desired::desired(Inputs {
        stack,
        owner: &fixture::owner(),
        secrets: &observed.secrets,
        retirements: rotation::assess(stack, observed, &credentials),
        credentials,
        migrated: observed.is_migrated(stack, &fixture::image()),
        forms: &observed.forms,
    })
}

fn position(plan: &Plan, text: &str) -> usize {
    let found = plan.steps.iter().position(|step| match step {
        Step::Do(_, action) => action.to_string().starts_with(text),
        Step::Hold(hold) => hold.reason.as_str().starts_with(text),
    });
    found.unwrap_or_else(|| panic!("no step {text} in {:#?}", plan.steps))
}

/// Adds every credential, written ahead and, where asked, published.
fn with_credentials(mut observed: Observed, published: bool) -> Observed {
    let stack = fixture::checked();
    for name in ["ingest", "user-grafana", "key-web"] {
        let pending = format!("store-{name}-g1");
        let value = Value::first(1, "a value of the model".to_owned().into());
        let mut backing = secret::ahead(&stack, name, &value);
        if published {
            backing
                .metadata
                .annotations
                .get_or_insert_default()
                .insert(PUBLISHED_AT.into(), "1970-01-01T00:00:00Z".into());
        }
        observed.secrets.insert(pending, backing);
    }
    observed
}

fn succeeded_job() -> Job {
    let complete =
        JobCondition { type_: "Complete".into(), status: "True".into(), ..JobCondition::default() };
    Job {
        status: Some(JobStatus { conditions: Some(vec![complete]), ..JobStatus::default() }),
        ..Job::default()
    }
}

fn run_name() -> String {
    let stack = fixture::checked();
    desired::migration::name(&stack, &stack.run(&fixture::image()))
}

/// What runs the pods of a stack, with as many that serve.
fn rolled_out(stack: &Stack) -> Workload {
    let mut workload = match desired::workload::workload(stack, &fixture::image()) {
        Child::Deployment(deployment) => Workload::from(&*deployment),
        Child::StatefulSet(set) => Workload::from(&*set),
        other => panic!("{other:?} runs no pods"),
    };
    workload.is_seen = true;
    workload.pods = workload.wanted;
    (workload.updated, workload.ready, workload.available) =
        (workload.wanted, workload.wanted, workload.wanted);
    workload
}

/// Lets a workload run the pods of the model.
fn put(observed: &mut Observed, workload: Workload) {
    observed.workloads.insert(workload.key.kind, workload);
}

fn deployment(observed: &mut Observed) -> &mut Workload {
    observed.workloads.get_mut(&ChildKind::Deployment).expect("a Deployment runs")
}

/// Applies every child of a plan to the model.
fn settle(observed: &mut Observed) {
    settle_for(&fixture::checked(), observed);
}

/// The same for a stack; Jobs stay away.
fn settle_for(stack: &Stack, observed: &mut Observed) {
    loop {
        let children: Vec<_> = plan_for(stack, observed)
            .steps
            .into_iter()
            .filter_map(|step| match step {
                Step::Do(_, Action::Apply(child)) if !matches!(child, Child::Job(_)) => Some(child),
                Step::Do(..) | Step::Hold(_) => None,
            })
            .collect();
        if children.is_empty() {
            return;
        }
        for child in children {
            let version = Version { mark: "g1".into(), resource_version: 7 };
            observed
                .applied
                .insert(child.key(), AppliedChild { hash: child.hash(), version: version.clone() });
            observed.live.insert(child.key(), Live { uid: "uid".into(), version });
        }
    }
}

fn settled() -> Observed {
    let mut observed = with_credentials(fixture::observed(), true);
    observed.jobs.insert(run_name(), succeeded_job());
    put(&mut observed, rolled_out(&fixture::checked()));
    let digest = Some(fixture::image().digest().to_owned());
    observed.status.schema = Some(SchemaStatus { version: Some(1), digest });
    settle(&mut observed);
    observed
}

#[test]
fn the_finalizer_comes_before_the_first_effect() {
    let plan = plan_of(&Observed { has_finalizer: false, ..reachable() });
    assert_eq!(position(&plan, "add the finalizer"), 0);
    assert!(position(&plan, "create the ownership ledger") > 0);
}

#[test]
fn credentials_are_written_ahead_before_anything_accepts_them() {
    let plan = plan_of(&reachable());
    assert!(plan.summary().iter().any(|step| step == "generate Secret/store-ingest-g1 generation 1"));
    assert!(!plan.summary().iter().any(|step| step.starts_with("create user weir_retail__store_ingest")));
    assert!(matches!(plan.steps.last(), Some(Step::Hold(hold)) if hold.reason == Reason::Progressing));
}

#[test]
fn users_are_proven_before_they_are_published_and_marked_after() {
    let plan = plan_of(&with_credentials(reachable(), false));
    for (user, secret, pending) in [
        ("weir_retail__store_ingest_g1", "store-ingest-clickhouse", "store-ingest-g1"),
        ("weir_retail__store_reader_grafana_g1", "store-user-grafana", "store-user-grafana-g1"),
    ] {
        let order = [
            position(&plan, &format!("create user {user}")),
            position(&plan, &format!("prove the login of user {user}")),
            position(&plan, &format!("apply Secret/{secret}")),
            position(&plan, &format!("mark Secret/{pending}")),
        ];
        assert!(order.is_sorted(), "{order:?}");
    }
}

#[test]
fn the_pods_learn_of_a_key_before_it_is_published() {
    let plan = plan_of(&with_credentials(reachable(), false));
    assert!(
        position(&plan, "apply Secret/store-ingest-keys") < position(&plan, "apply Secret/store-key-web")
    );
}

/// A settled stack whose second key has just been written ahead.
fn with_a_new_key(pods: Vec<Consumer>) -> Observed {
    let mut observed = with_database(settled());
    observed.secrets.get_mut("store-key-web-g1").unwrap().metadata.annotations = None;
    observed.consumers = Consumers::Known(pods);
    observed
}

fn pod(keys: Option<u64>) -> Consumer {
    let report = keys.map(Report::of);
    Consumer { pod: "store-ingest-0".into(), is_ready: true, told: None, report }
}

#[test]
fn a_key_is_published_when_every_ready_pod_has_read_it() {
    let stack = fixture::checked();
    let current = desired_of(&stack, &settled()).keys.generation;
    let publishes = |observed: &Observed| {
        plan_of(observed).summary().contains(&"mark Secret/store-key-web-g1 as published".to_owned())
    };
    assert!(publishes(&with_a_new_key(Vec::new())), "no pod can refuse it");
    assert!(publishes(&with_a_new_key(vec![pod(Some(current))])));
    for behind in [pod(Some(current - 1)), pod(None)] {
        let observed = with_a_new_key(vec![pod(Some(current)), behind]);
        assert!(!publishes(&observed));
        let plan = plan_of(&observed);
        assert!(plan.summary().iter().any(|step| step.starts_with("refresh the mounts of store-ingest-0")));
        let Some(Step::Hold(hold)) = plan.steps.last() else { panic!("no hold") };
        assert!(hold.blocks && hold.is_progress() && hold.object == "Pod/store-ingest-0", "{hold:?}");
    }
}

#[test]
fn a_pod_that_was_told_is_told_again_only_after_a_while() {
    let told = |seconds: i64| {
        let mut observed = with_a_new_key(vec![pod(None)]);
        let plan = plan_of(&observed);
        let what = plan.steps.iter().find_map(|step| match step {
            Step::Do(_, Action::Tell(_, what)) => Some(what.clone()),
            Step::Do(..) | Step::Hold(_) => None,
        });
        observed.consumers = Consumers::Known(vec![Consumer { told: what, ..pod(None) }]);
        observed.now = Timestamp::from_second(seconds).unwrap();
        plan_of(&observed).summary().iter().any(|step| step.starts_with("refresh"))
    };
    assert_eq!([0, 4, 5].map(told), [false, false, true]);
}

#[test]
fn the_policy_is_widened_before_the_pods_move_and_narrowed_behind_them() {
    let ports = |plan: &Plan| {
        let policy = plan.steps.iter().find_map(|step| match step {
            Step::Do(_, Action::Apply(Child::NetworkPolicy(policy))) => serde_json::to_value(policy).ok(),
            Step::Do(..) | Step::Hold(_) => None,
        });
        policy.map(|policy| policy["spec"]["egress"][1]["ports"].to_string())
    };
    let both = r#"[{"port":9,"protocol":"TCP"},{"port":8443,"protocol":"TCP"}]"#;
    let new = r#"[{"port":9,"protocol":"TCP"}]"#;
    let run = moved().run(&fixture::image());
    let mut observed = with_database(settled());
    observed.jobs.insert(desired::migration::name(&moved(), &run), succeeded_job());
    for login in ["ingest_g1", "reader_grafana_g1"] {
        observed.proven.insert(format!("weir_retail__store_{login}"));
    }
    assert_eq!(ports(&plan_for(&moved(), &observed)).as_deref(), Some(both));
    put(&mut observed, Workload { is_seen: false, ..rolled_out(&moved()) });
    assert_eq!(ports(&plan_for(&moved(), &observed)), None, "old pods still end");
    deployment(&mut observed).is_seen = true;
    assert_eq!(ports(&plan_for(&moved(), &observed)).as_deref(), Some(new));
}

#[test]
fn a_login_is_not_pointed_elsewhere_without_proof() {
    let mut observed = settled();
    observed.workloads.clear();
    let credentials = crate::controller::credential::credentials(
        &fixture::checked(),
        &observed.secrets,
        &observed.supplied,
        &Generations { stack: &fixture::checked(), observed: &observed },
    );
    let value = credentials[1].value().unwrap();
    let published = secret::published(&fixture::checked(), &credentials[1], value).unwrap();
    observed.secrets.insert("store-user-grafana".into(), published);
    let plan = plan_for(&moved(), &observed);
    assert!(!plan.summary().contains(&"apply Secret/store-user-grafana".to_owned()));
    assert!(position(&plan, "Waiting") > 0);
}

#[test]
fn endpoints_that_do_not_answer_change_nothing_and_leave_the_migration_remembered() {
    let observed = settled();
    let plan = plan_for(&moved(), &observed);
    assert!(plan.summary().is_empty(), "{:?}", plan.summary());
    assert!(plan_of(&observed).summary().is_empty());
}

#[test]
fn an_endpoint_that_lags_stops_no_repair_of_what_was_published() {
    let mut observed = settled();
    let mut catalogue = crate::access::Catalogue::default();
    catalogue.databases.insert("weir_retail__store".into());
    catalogue.others.push(("https://second:8443".into(), Ok(crate::access::Catalogue::default())));
    observed.live.remove(&ChildKey::new(ChildKind::Service, "store-ingest"));
    observed.catalogue = Ok(Arc::new(catalogue));
    let stack = fixture::checked();
    observed.jobs.insert(run_name(), succeeded_job());
    let desired = desired_of(&stack, &observed);
    let view = View { stack: &stack, desired: &desired, observed: &observed };
    let mut steps = Steps::default();
    access::credentials(&view, &mut steps);
    workload::surroundings(&view, &mut steps);
    access::surplus(&view, &mut steps);
    assert_eq!(Plan { steps: steps.steps }.summary(), ["apply Service/store-ingest"]);
}

#[test]
fn a_settled_stack_has_nothing_to_do() {
    assert!(plan_of(&settled()).summary().is_empty());
}

#[test]
fn a_deleted_or_edited_child_is_applied_and_no_other() {
    let observed = settled();
    for key in observed.live.keys() {
        let mut deleted = observed.clone();
        deleted.live.remove(key);
        assert_eq!(plan_of(&deleted).summary(), [format!("apply {key}")]);
        let mut edited = observed.clone();
        edited.live.get_mut(key).unwrap().version = Version { mark: "g2".into(), resource_version: 9 };
        assert_eq!(plan_of(&edited).summary(), [format!("apply {key}")]);
    }
}

#[test]
fn a_watch_that_lags_behind_an_apply_causes_none() {
    let mut observed = settled();
    for live in observed.live.values_mut() {
        live.version = Version { mark: "g0".into(), resource_version: 6 };
    }
    assert!(plan_of(&observed).summary().is_empty());
}

#[test]
fn children_are_kept_while_clickhouse_is_down_once_all_was_published() {
    let mut observed = settled();
    let key = ChildKey::new(ChildKind::Deployment, "store-ingest");
    observed.live.remove(&key);
    let plan = plan_of(&observed);
    assert_eq!(plan.summary(), ["apply Deployment/store-ingest"]);
    assert!(position(&plan, "ClickhouseUnreachable") == 0);
}

#[test]
fn nothing_is_made_while_clickhouse_is_down_and_nothing_was_published() {
    let plan = plan_of(&fixture::observed());
    assert!(plan.summary().is_empty());
    assert_eq!(plan.steps.len(), 1);
}

#[test]
fn an_orphan_goes_by_its_uid_after_the_rollout() {
    let mut observed = settled();
    let key = ChildKey::new(ChildKind::Secret, "store-key-old");
    let version = Version { mark: "r1".into(), resource_version: 1 };
    observed.live.insert(key, Live { uid: "old".into(), version });
    assert_eq!(plan_of(&observed).summary(), ["delete Secret/store-key-old"]);
    deployment(&mut observed).available = 1;
    assert!(plan_of(&observed).summary().is_empty());
}

#[test]
fn the_plan_of_a_new_stack_reads_in_order() {
    let mut observed = with_credentials(reachable(), false);
    observed.has_finalizer = false;
    insta::assert_yaml_snapshot!(plan_of(&observed).summary());
}
