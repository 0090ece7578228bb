//! What `apply` makes of failures, and of a plan that is out of order.

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube::runtime::events::{Recorder, Reporter};

use super::*;
use crate::controller::{Rules, Scope, Settings, Shared, fixture, watch};
use crate::metrics::Metrics;

/// A context whose API server nobody answers for.
fn context() -> Context {
    let config = kube::Config::new("http://127.0.0.1:9".parse().unwrap());
    let client = Client::try_from(config).unwrap();
    let reporter = Reporter { controller: "weir.dev/operator".into(), instance: None };
    let settings = Settings {
        rules: Rules::default(),
        cluster_id: "cluster".into(),
        drift: Duration::from_mins(5),
        image_cache: Duration::from_mins(1),
        pass: Duration::from_mins(1),
        registry_ca: None,
    };
    let stores = watch(&client, &Scope::All).stores;
    let shared = Shared {
        recorder: Recorder::new(client.clone(), reporter),
        metrics: Arc::new(Metrics::new()),
        catalogues: Arc::default(),
        settings,
        client,
    };
    Context::new(shared, stores)
}

async fn hand_over(plan: Plan) -> Applied {
    let (ctx, stack, owner) = (context(), fixture::stack(), fixture::owner());
    let tools = Tools {
        ctx: &ctx,
        stack: &stack,
        namespace: "retail",
        name: "store",
        checked: None,
        owner: &owner,
        connection: None,
    };
    apply(&tools, plan, &mut Memory::default()).await
}

#[tokio::test]
async fn of_a_plan_with_two_steps_swapped_nothing_is_done() {
    let step = |action| Step::Do(ConditionType::AccessReady, action);
    let create = || step(Action::Access(access::Action::CreateRole("r".into())));
    let tried = hand_over(Plan { steps: vec![step(Action::AddFinalizer), create()] }).await;
    assert!(tried.holds[0].hint.contains("the API server did not add the finalizer"), "{:?}", tried.holds);
    let refused = hand_over(Plan { steps: vec![create(), step(Action::AddFinalizer)] }).await;
    let [hold] = refused.holds.as_slice() else { panic!("{:?}", refused.holds) };
    assert_eq!((refused.done, hold.reason, hold.blocks), (0, Reason::ApplyFailed, true));
    assert!(hold.hint.contains("would create role r before it would add the finalizer"), "{}", hold.hint);
}

#[test]
fn a_failed_step_names_its_entity_as_object_and_what_it_was_in_the_hint() {
    let grant = access::Action::GrantRole { role: "r".into(), user: "u".into() };
    let failed = access::Error::FixedByServer { action: grant.to_string() };
    let advice = failed.hint();
    let action = Action::Access(grant);
    let hold = hold(ConditionType::AccessReady, &action, Failure::Access(Box::new(failed)));
    assert_eq!(hold.object, "ClickHouse/user u");
    assert_eq!(hold.hint, format!("{advice}; the step was: {action}"));
}

#[test]
fn invalid_fields_stall_the_stack_and_are_named_unless_it_is_a_secret() {
    let refused = |child| {
        let error = kubernetes::tests::invalid(&["spec.template.spec.priorityClassName"]);
        hold(ConditionType::WorkloadReady, &Action::Apply(child), error.into())
    };
    let invalid = refused(Child::Deployment(Box::default()));
    assert!(invalid.reason.is_permanent());
    assert!(invalid.hint.contains("(422: Invalid: spec.template.spec.priorityClassName)"));
    assert_eq!(refused(Child::Secret(Box::default())).reason, Reason::ApplyFailed);
}
