//! The plan of a stack from nothing to settled, by playing its steps against a small model of the world.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus};
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobStatus};
use k8s_openapi::jiff::Timestamp;
use weir_crds::{AnalyticsStackStatus, SchemaStatus};

use super::*;
use crate::access::{Class, Entity, Intent, Kind};
use crate::controller::child::{AppliedChild, ChildKey, ChildKind, Live, Version};
use crate::controller::desired::{self, Inputs, metadata::PUBLISHED_AT, secret};
use crate::controller::fixture;
use crate::controller::observed::Generations;

/// What the steps of a plan would leave behind, without ClickHouse: its catalogue is missing, as after an outage.
fn nothing() -> Observed {
    let down =
        Fault::dependency("ClickHouse/https://db", Reason::ClickhouseUnreachable, "it does not answer");
    Observed {
        now: Timestamp::UNIX_EPOCH,
        has_finalizer: true,
        dependencies: Vec::new(),
        image: Ok(fixture::image()),
        catalogue: Err(down),
        secrets: BTreeMap::new(),
        live: BTreeMap::new(),
        applied: BTreeMap::new(),
        deployment: None,
        jobs: BTreeMap::new(),
        job_messages: BTreeMap::new(),
        proven: std::collections::BTreeSet::new(),
        refused: std::collections::BTreeSet::new(),
        status: AnalyticsStackStatus::default(),
    }
}

fn reachable() -> Observed {
    Observed { catalogue: Ok(Arc::default()), ..nothing() }
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
    let migrated = observed.is_migrated(stack, &fixture::image());
    let owner = fixture::owner();
    let generations = Generations { stack, observed };
    let inputs = Inputs {
        stack,
        owner: &owner,
        secrets: &observed.secrets,
        highest: &generations,
        migrated,
        retiring: &[],
    };
    let desired = desired::desired(&inputs);
    plan(&View { stack, desired: &desired, observed })
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
        let pending = format!("store-{name}-pending");
        let mut backing = secret::pending(&stack, pending.clone(), 1, "a value of the model");
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

fn rolled_out() -> Deployment {
    let stack = fixture::checked();
    let mut deployment = desired::ingest::deployment(&stack, &fixture::image());
    deployment.metadata.generation = Some(1);
    deployment.status = Some(DeploymentStatus {
        observed_generation: Some(1),
        replicas: Some(2),
        updated_replicas: Some(2),
        available_replicas: Some(2),
        ready_replicas: Some(2),
        ..DeploymentStatus::default()
    });
    deployment
}

/// Applies every child of a plan to the model.
fn settle(observed: &mut Observed) {
    loop {
        let children: Vec<_> = plan_of(observed)
            .steps
            .into_iter()
            .filter_map(|step| match step {
                Step::Do(_, Action::Apply(child)) => Some(child),
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
    let mut observed = with_credentials(nothing(), true);
    observed.jobs.insert(run_name(), succeeded_job());
    observed.deployment = Some(rolled_out());
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
    assert!(plan.summary().iter().any(|step| step == "generate Secret/store-ingest-pending generation 1"));
    assert!(!plan.summary().iter().any(|step| step.starts_with("create user weir_retail__store_ingest")));
    assert!(matches!(plan.steps.last(), Some(Step::Hold(hold)) if hold.reason == Reason::Progressing));
}

#[test]
fn users_are_proven_before_they_are_published_and_marked_after() {
    let plan = plan_of(&with_credentials(reachable(), false));
    for (user, secret, pending) in [
        ("weir_retail__store_ingest_g1", "store-ingest-clickhouse", "store-ingest-pending"),
        ("weir_retail__store_reader_grafana_g1", "store-user-grafana", "store-user-grafana-pending"),
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

#[test]
fn no_pod_runs_an_image_before_its_migration_is_done() {
    let mut observed = with_credentials(reachable(), false);
    let generated = plan_of(&observed);
    assert!(generated.summary().contains(&format!("generate Secret/{} generation 1", run_name())));
    let stack = fixture::checked();
    let secret = secret::migration(&stack, run_name(), "user".into(), "password");
    observed.secrets.insert(run_name(), secret);
    let started = plan_of(&observed);
    assert!(
        position(&started, "prove the login of user weir_retail__store_migrate")
            < position(&started, &format!("apply Job/{}", run_name()))
    );
    assert!(!started.summary().iter().any(|step| step.contains("Deployment")));
    assert!(
        matches!(started.steps.last(), Some(Step::Hold(hold)) if hold.reason == Reason::MigrationRunning)
    );
    observed = with_database(observed);
    observed.jobs.insert(run_name(), succeeded_job());
    let done = plan_of(&observed);
    assert!(position(&done, "record the migration") < position(&done, "apply Deployment/store-ingest"));
}

#[test]
fn a_failed_migration_names_its_last_words_and_leaves_the_pods() {
    let mut observed = with_credentials(with_database(nothing()), true);
    let mut job = succeeded_job();
    job.status.as_mut().unwrap().conditions.as_mut().unwrap()[0].type_ = "Failed".into();
    observed.jobs.insert(run_name(), job);
    observed.job_messages.insert(run_name(), "statement 3 was refused".into());
    let plan = plan_of(&observed);
    let Some(Step::Hold(hold)) = plan.steps.last() else { panic!("no hold") };
    assert_eq!(hold.reason, Reason::MigrationFailed);
    assert!(hold.hint.contains("statement 3 was refused") && hold.hint.contains("delete the Job"));
    assert!(!plan.summary().iter().any(|step| step.contains("Deployment")));
}

#[test]
fn a_migration_is_replaced_when_its_retries_ran_out_or_its_spec_was_mended_before_it_ran() {
    let stack = fixture::checked();
    let planned = |change: &dyn Fn(&mut Job)| {
        let mut job = desired::migration::job(&stack, &fixture::image());
        job.status = Some(JobStatus::default());
        change(&mut job);
        let mut observed = with_credentials(with_database(nothing()), true);
        observed.jobs.insert(run_name(), job);
        let deletion = format!("delete Job/{}", run_name());
        plan_of(&observed).summary().contains(&deletion)
    };
    let fail = |job: &mut Job, reason: &str| {
        let mut failed = succeeded_job().status.unwrap();
        let condition = &mut failed.conditions.as_mut().unwrap()[0];
        (condition.type_, condition.reason) = ("Failed".into(), Some(reason.into()));
        job.status = Some(failed);
    };
    assert!(planned(&|job| fail(job, "BackoffLimitExceeded")));
    assert!(!planned(&|job| fail(job, "PodFailurePolicy")));
    assert!(!planned(&|_| {}), "it waits for its pod");
    assert!(planned(&|job| job.metadata.annotations = None), "it was made from another spec");
    assert!(!planned(&|job| {
        job.metadata.annotations = None;
        job.status.as_mut().unwrap().ready = Some(1);
    }));
}

#[test]
fn a_lost_database_is_made_only_after_its_migrations_are_forgotten() {
    let mut observed = Observed { catalogue: Ok(Arc::default()), ..settled() };
    let forgets = plan_of(&observed);
    assert_eq!(forgets.summary(), [format!("delete Job/{}", run_name())]);
    assert!(matches!(forgets.steps.last(), Some(Step::Hold(hold)) if hold.blocks));
    observed.jobs.clear();
    assert!(plan_of(&observed).summary().is_empty());
    observed.status.schema = Some(SchemaStatus::default());
    let made = plan_of(&observed);
    assert!(position(&made, "create database") < position(&made, "generate Secret/store-migrate"));
}

#[test]
fn another_clickhouse_is_migrated_before_the_pods_use_it() {
    let observed = with_database(settled());
    let plan = plan_for(&moved(), &observed);
    assert!(plan.summary().iter().any(|step| step.starts_with("generate Secret/store-migrate")));
    assert!(!plan.summary().iter().any(|step| step.contains("Deployment")));
    assert!(observed.is_migrated(&fixture::checked(), &fixture::image()));
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
    let mut template = desired::ingest::deployment(&moved(), &fixture::image());
    template.metadata.generation = Some(2);
    let replaced = observed.deployment.take().unwrap();
    observed.deployment = Some(Deployment { status: replaced.status, ..template });
    assert_eq!(ports(&plan_for(&moved(), &observed)), None, "old pods still end");
    observed.deployment.as_mut().unwrap().status.as_mut().unwrap().observed_generation = Some(2);
    assert_eq!(ports(&plan_for(&moved(), &observed)).as_deref(), Some(new));
}

#[test]
fn a_login_is_not_pointed_elsewhere_without_proof() {
    let mut observed = settled();
    observed.deployment = None;
    let credentials = crate::controller::credential::credentials(
        &fixture::checked(),
        &observed.secrets,
        &Generations { stack: &fixture::checked(), observed: &observed },
    );
    let published = secret::published(&fixture::checked(), &credentials[1]).unwrap();
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
    let generations = Generations { stack: &stack, observed: &observed };
    let desired = desired::desired(&Inputs {
        stack: &stack,
        owner: &fixture::owner(),
        secrets: &observed.secrets,
        highest: &generations,
        migrated: true,
        retiring: &[],
    });
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
    let plan = plan_of(&nothing());
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
    observed.deployment.as_mut().unwrap().status.as_mut().unwrap().available_replicas = Some(1);
    assert!(plan_of(&observed).summary().is_empty());
}

#[test]
fn the_plan_of_a_new_stack_reads_in_order() {
    let mut observed = with_credentials(reachable(), false);
    observed.has_finalizer = false;
    insta::assert_yaml_snapshot!(plan_of(&observed).summary());
}
