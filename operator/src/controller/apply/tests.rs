//! What `apply` makes of failures, and of a plan that is out of order.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube::runtime::events::{Recorder, Reporter};
use tokio::net::TcpListener;

use super::*;
use crate::clickhouse::{Comment, ConnectionSettings};
use crate::controller::{Rules, Scope, Settings, Shared, fixture, watch};
use crate::metrics::Metrics;

/// A server that answers nobody and knows whether somebody came.
struct Server(TcpListener);

impl Server {
    async fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn url(&self) -> String {
        format!("http://{}", self.0.local_addr().unwrap())
    }

    fn was_asked(self) -> bool {
        let came = self.0.into_std().unwrap().accept();
        !came.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }
}

/// A context whose API server is there.
fn context(url: &str) -> Context {
    let config = kube::Config::new(url.parse().unwrap());
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

/// An administrator's connection to that ClickHouse.
fn connection_to(url: String) -> Connection {
    let timeout = Duration::from_secs(5);
    let settings = ConnectionSettings { endpoints: vec![url], ca_pem: None, timeout, barred: Arc::default() };
    let comment = Comment {
        stack: "retail/store".into(),
        uid: fixture::owner().uid,
        generation: 3,
        reason: "access".into(),
    };
    Connection::new(&settings, "admin", "password".to_owned().into(), &comment).unwrap()
}

/// Hands a plan to `apply`, with an API server and a ClickHouse at these addresses.
async fn hand_over(plan: Plan, api_server: &str, clickhouse: String) -> Applied {
    let (ctx, stack, owner) = (context(api_server), fixture::stack(), fixture::owner());
    let (checked, connection) = (fixture::checked(), connection_to(clickhouse));
    let tools = Tools {
        ctx: &ctx,
        stack: &stack,
        namespace: "retail",
        name: "store",
        checked: Some(&checked),
        owner: &owner,
        connection: Some(&connection),
    };
    apply(&tools, plan, &mut Memory::default()).await
}

impl Applied {
    /// Sees to it that of a plan that is out of order nothing is done and nobody is asked for anything, and returns what is
    /// said of it.
    pub(crate) async fn refused(plan: Plan, why: &str) -> String {
        let (api_server, clickhouse) = (Server::new().await, Server::new().await);
        let applied = hand_over(plan, &api_server.url(), clickhouse.url()).await;
        let Self { done, holds, schema, released } = applied;
        assert!((done, schema.is_none(), released) == (0, true, false), "{why}");
        assert!(!api_server.was_asked() && !clickhouse.was_asked(), "{why}");
        let [hold] = <[Hold; 1]>::try_from(holds).expect(why);
        assert_eq!((hold.reason, hold.blocks), (Reason::ApplyFailed, true), "{why}: {}", hold.hint);
        assert!(hold.hint.contains("so nothing of it was done"), "{why}: {}", hold.hint);
        hold.hint
    }
}

fn step(action: Action) -> Step {
    Step::Do(ConditionType::AccessReady, action)
}

fn create() -> Step {
    step(Action::Access(access::Action::CreateRole("r".into())))
}

#[tokio::test]
async fn of_a_plan_with_two_steps_swapped_nothing_is_done() {
    let swapped = Plan { steps: vec![create(), step(Action::AddFinalizer)] };
    let hint = Applied::refused(swapped, "the finalizer guards the role").await;
    assert!(hint.contains("would create role r before it would add the finalizer"), "{hint}");
}

#[tokio::test]
async fn of_a_plan_in_order_the_first_step_is_tried() {
    // Nothing listens there.
    let nowhere = || "http://127.0.0.1:9".to_owned();
    let plan = Plan { steps: vec![step(Action::AddFinalizer), create()] };
    let tried = hand_over(plan, &nowhere(), nowhere()).await;
    assert!(tried.holds[0].hint.contains("the API server did not add the finalizer"), "{:?}", tried.holds);
    for (first, is_of_clickhouse) in [(create(), true), (step(Action::AddFinalizer), false)] {
        let server = Server::new().await;
        let (api_server, clickhouse) =
            if is_of_clickhouse { (nowhere(), server.url()) } else { (server.url(), nowhere()) };
        let tried = hand_over(Plan { steps: vec![first] }, &api_server, clickhouse);
        tokio::select! {
            applied = tried => panic!("nobody answers: {:?}", applied.holds),
            came = server.0.accept() => assert!(came.is_ok()),
        }
    }
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
