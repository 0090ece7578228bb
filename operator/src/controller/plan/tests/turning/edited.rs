//! Plans of edits of the readers and of deletions with two steps swapped, each pair with the reason why its order matters.

use weir_crds::AnalyticsStack;

use super::super::swapped::{each_swap_is_refused, refused, step};
use super::*;
use crate::controller::plan::deletion::{self, Deletion};
use crate::controller::validate::{Found, Rules, validate};

const NOBODYS: &str = "after a crash in between it is nobody's";
const CONDITION: &str = "event = 'purchase'";

/// What the reader is given and what is taken from it.
const LINKS: &str = "grant SELECT ON `weir_retail__store`.`links` to role weir_retail__store_reader_grafana";
const REDUCE: &str = "reduce the rights of role weir_retail__store_reader_grafana";

/// A stack with that reader, after it was edited to have this one.
fn edited(before: serde_json::Value, after: serde_json::Value) -> World {
    let mut world = World::new();
    let form = access::Form::Known(format!("({CONDITION})"));
    world.observed.forms = access::Forms::known([(("events".into(), CONDITION.into()), form)]);
    world.stack.readers = readers(before);
    while world.pass(usize::MAX) > 0 {}
    world.stack.readers = readers(after);
    world
}

fn readers(users: serde_json::Value) -> Vec<crate::controller::stack::Reader> {
    let mut stack = serde_json::to_value(fixture::stack()).unwrap();
    stack["spec"]["users"] = users;
    let stack: AnalyticsStack = serde_json::from_value(stack).unwrap();
    let rules = Rules { allow_inline_clickhouse: true, ..Rules::default() };
    validate(&stack, &rules, Found { image: Some(fixture::image()), ca_pem: None }).unwrap().readers
}

/// The reader of the fixture, with these tables and a quota.
fn reading(tables: &serde_json::Value) -> serde_json::Value {
    let quota = serde_json::json!([{ "interval": "1h", "queries": 7 }]);
    serde_json::json!([{ "name": "grafana", "profile": "Custom", "tables": tables, "quota": quota }])
}

fn filtered() -> serde_json::Value {
    reading(&serde_json::json!([{ "name": "events", "rows": CONDITION }]))
}

fn only(table: &str) -> serde_json::Value {
    reading(&serde_json::json!([{ "name": table }]))
}

#[tokio::test]
async fn no_swap_in_the_plan_that_changes_grants_is_carried_out() {
    let mut world = edited(only("events"), only("links"));
    world.observed.live.remove(&ChildKey::new(ChildKind::Deployment, "store-ingest"));
    let pairs = [
        (LINKS, REDUCE, "the reader has neither meanwhile"),
        ("apply Deployment/store-ingest", REDUCE, "pods that still need a right lose it"),
    ];
    each_swap_is_refused(|| world.planned(), &pairs).await;
}

#[tokio::test]
async fn no_swap_in_the_plan_that_adds_a_narrowed_reader_is_carried_out() {
    let mut both = only("links");
    both.as_array_mut().unwrap().push(filtered()[0].clone());
    both[1]["name"] = "bi".into();
    let world = edited(only("links"), both);
    let claim = "claim role weir_retail__store_reader_bi";
    let role = "create role weir_retail__store_reader_bi";
    let open = "create row policy weir_retail__store_rows ON weir_retail__store.events";
    let rows = "create row policy weir_retail__store_reader_bi ON weir_retail__store.events";
    let quota = "create quota weir_retail__store_reader_bi";
    let rights = "grant SELECT ON `weir_retail__store`.`events` to role weir_retail__store_reader_bi";
    let pairs = [
        (claim, role, NOBODYS),
        (claim, open, NOBODYS),
        (claim, rows, NOBODYS),
        (claim, quota, NOBODYS),
        (open, rows, "others see no row of the table"),
        (role, rows, "there is no such role"),
        (role, quota, "there is no such role"),
        (role, rights, "there is no such role"),
        (rows, rights, "the reader sees every row"),
        (quota, rights, "the reader has no limits"),
    ];
    each_swap_is_refused(|| world.planned(), &pairs).await;
}

#[tokio::test]
async fn no_swap_in_the_plan_that_gives_a_reader_other_tables_is_carried_out() {
    let world = edited(filtered(), only("links"));
    let rows = "drop row policy weir_retail__store_reader_grafana ON weir_retail__store.events";
    let pairs = [
        (LINKS, REDUCE, "the reader has neither meanwhile"),
        (REDUCE, rows, "the reader sees every row"),
        (rows, "give up the claim on row policy weir_retail__store_rows", NOBODYS),
    ];
    each_swap_is_refused(|| world.planned(), &pairs).await;
}

#[tokio::test]
async fn no_swap_in_the_plan_that_removes_a_reader_is_carried_out() {
    let mut world = edited(filtered(), serde_json::json!([]));
    world.observed.live.remove(&ChildKey::new(ChildKind::Deployment, "store-ingest"));
    let user = "drop user weir_retail__store_reader_grafana_g1";
    let role = "drop role weir_retail__store_reader_grafana";
    let rows = "drop row policy weir_retail__store_reader_grafana ON weir_retail__store.events";
    let (quota, claim) = ("drop quota weir_retail__store_reader_grafana", "give up the claim on role");
    let pods = "apply Deployment/store-ingest";
    let pairs = [
        (pods, role, "pods that still need a right lose it"),
        (user, role, "a user is left whose role is gone"),
        (user, rows, "the reader sees every row"),
        (role, rows, "the reader sees every row"),
        (user, quota, "the reader has no limits"),
        (user, "give up the claim on user", NOBODYS),
        (role, claim, NOBODYS),
        (rows, claim, NOBODYS),
        (quota, claim, NOBODYS),
        (pods, "delete Secret/store-user-grafana", "what takes its place is not there"),
    ];
    each_swap_is_refused(|| world.planned(), &pairs).await;
}

#[tokio::test]
async fn a_login_moves_to_another_secret_before_the_one_that_it_had_goes() {
    let mut elsewhere = only("events");
    elsewhere[0]["secretName"] = "elsewhere".into();
    let world = edited(only("events"), elsewhere);
    let pair = ("apply Secret/elsewhere", "delete Secret/store-user-grafana", "its consumers have no login");
    each_swap_is_refused(|| world.planned(), &[pair]).await;
}

/// The plan of the end of a stack.
fn deleted(world: &World) -> Plan {
    let (owner, policy) = (fixture::owner(), fixture::stack().spec.policy.deletion);
    let deletion = Deletion { owner: &owner, policy: &policy, since: world.observed.now };
    deletion::plan(&deletion, &world.observed).plan
}

#[tokio::test]
async fn no_swap_in_the_plan_of_a_deletion_is_carried_out() {
    let mut world = edited(filtered(), filtered());
    let with_pods = world.clone();
    world.observed.workloads.clear();
    let user = "drop user weir_retail__store_reader_grafana_g1";
    let role = "drop role weir_retail__store_reader_grafana";
    let rows = "drop row policy weir_retail__store_reader_grafana ON weir_retail__store.events";
    let (claim, kept) = ("give up the claim on role", "keep the claim on database weir_retail__store");
    let release = "remove the finalizer";
    let pairs = [
        (user, role, "a user is left whose role is gone"),
        (user, rows, "the reader sees every row"),
        (role, rows, "the reader sees every row"),
        (user, claim, NOBODYS),
        (role, claim, NOBODYS),
        (rows, claim, NOBODYS),
        (user, release, "the user is left behind"),
        (claim, release, "the claim is left behind"),
        (kept, release, "whoever takes the data over has to ask a stack that is gone"),
    ];
    each_swap_is_refused(|| deleted(&world), &pairs).await;
    let pods = "delete Deployment/store-ingest and wait for its pods";
    for taken in ["drop user weir_retail__store_ingest_g1", "drop role weir_retail__store_ingest"] {
        let steps = [step(deleted(&world), taken), step(deleted(&with_pods), pods)];
        refused(steps, (pods, taken, "what the pods accepted is refused")).await;
    }
}
