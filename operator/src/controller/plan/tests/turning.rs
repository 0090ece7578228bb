//! Rotations as passes over a model of the world, cut off after any action, with consumers that read late.

mod adopted;
mod edited;
mod ends;
mod harmless;
mod owned;
mod swapped;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;
use weir_crds::DriftPolicy;

use super::*;
use crate::access::tests::model;
use crate::access::{self, Password};
use crate::controller::consumers::KeyUse;
use crate::controller::credential::{Value, text};
use crate::controller::desired::metadata::{CAUSE, EXPIRES_AT};
use crate::controller::rotation::{Evidence, Requests};
use crate::controller::status::AccessOrder;

const PODS: usize = 2;

/// The stack, ClickHouse, the pods and what the consumers have.
#[derive(Clone)]
struct World {
    stack: Stack,
    observed: Observed,
    /// When a user ends by itself.
    ends: BTreeMap<String, Timestamp>,
    /// Passwords of each user.
    passwords: BTreeMap<String, Vec<Password>>,
    /// What each pod has read: accepted keys, and its user.
    pods: Vec<Pod>,
    /// Users that somebody revoked; whoever has them is out until it reads again.
    revoked: BTreeSet<String>,
    logs: bool,
}

#[derive(Clone, Default)]
struct Pod {
    file: serde_json::Value,
    user: String,
    /// When it last looked at what is mounted.
    read_at: i64,
    key_use: Vec<KeyUse>,
}

#[derive(Debug, Clone)]
enum Event {
    /// A pass that ends after so many actions.
    Pass(usize),
    /// A pod reads what is mounted.
    Read(usize),
    /// Seconds go by.
    Wait(i64),
    /// Somebody asks for new generations.
    Rotate(u8),
    /// Somebody revokes.
    Revoke(u8),
    /// The logs can be read or not.
    Logs(bool),
    /// The operator's memory is lost.
    Restart,
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0..12_usize).prop_map(Event::Pass),
        6 => Just(Event::Pass(usize::MAX)),
        6 => (0..PODS).prop_map(Event::Read),
        4 => (1..400_i64).prop_map(Event::Wait),
        2 => (0..9_u8).prop_map(Event::Rotate),
        1 => (0..3_u8).prop_map(Event::Revoke),
        1 => any::<bool>().prop_map(Event::Logs),
        1 => Just(Event::Restart),
    ]
}

impl World {
    fn new() -> Self {
        Self::of(fixture::checked())
    }

    fn of(mut stack: Stack) -> Self {
        let policy = stack.rotation.clone();
        let seconds = k8s_openapi::jiff::SignedDuration::from_secs;
        let short =
            rotation::Policy { overlap: seconds(60), quiet: seconds(30), cap: seconds(900), ..policy };
        stack.rotation = short.clone();
        stack.keys.iter_mut().for_each(|key| key.rotation = short.clone());
        stack.readers.iter_mut().for_each(|reader| reader.rotation = short.clone());
        let mut observed = settled();
        observed.secrets.clear();
        observed.live.retain(|key, _| key.kind != ChildKind::Secret);
        observed.catalogue = Ok(Arc::new(model::empty_server()));
        observed.jobs.clear();
        let mut world = Self {
            stack,
            observed,
            ends: BTreeMap::new(),
            passwords: BTreeMap::new(),
            pods: Vec::new(),
            revoked: BTreeSet::new(),
            logs: true,
        };
        world.observed.status.schema = None;
        while world.pass(usize::MAX) > 0 {
            world.observed.jobs.insert(run_name(), succeeded_job());
            let digest = Some(fixture::image().digest().to_owned());
            world.observed.status.schema = Some(SchemaStatus { version: Some(1), digest });
        }
        world.pods = vec![Pod::default(); PODS];
        (0..PODS).for_each(|pod| world.read(pod));
        world
    }

    fn now(&self) -> i64 {
        self.observed.now.as_second()
    }

    fn secret(&self, name: &str, field: &str) -> String {
        self.observed.secrets.get(name).and_then(|secret| text(secret, field)).unwrap_or_default()
    }

    fn read(&mut self, pod: usize) {
        let file = serde_json::from_str(&self.secret("store-ingest-keys", "keys.json")).unwrap();
        let (user, now) = (self.secret("store-ingest-clickhouse", "username"), self.now());
        self.pods[pod] = Pod { file, user, read_at: now, key_use: Vec::new() };
    }

    /// What a pass would see of the pods and the logs.
    fn look(&mut self) {
        let pod = |(index, pod): (usize, &Pod)| Consumer {
            pod: format!("store-ingest-{index}"),
            is_ready: true,
            told: None,
            report: Some(Report {
                keys: pod.file["generation"].as_u64().unwrap(),
                clickhouse_user: pod.user.clone(),
                started_at: Some(0),
                key_use: pod.key_use.clone(),
            }),
        };
        self.observed.consumers = Consumers::Known(self.pods.iter().enumerate().map(pod).collect());
        let Ok(catalogue) = &self.observed.catalogue else { return };
        // Pods use their login all the time.
        let evidence = |user: &String| {
            let in_use = self.pods.iter().any(|pod| pod.user == *user).then_some(self.observed.now);
            if self.logs { Evidence::LastUse(in_use) } else { Evidence::Unknown("no logs".into()) }
        };
        self.observed.evidence = catalogue.users.keys().map(|user| (user.clone(), evidence(user))).collect();
    }

    /// Runs a pass up to an action; returns how many were done.
    fn pass(&mut self, limit: usize) -> usize {
        self.look();
        let desired = desired_of(&self.stack, &self.observed);
        let view = View { stack: &self.stack, desired: &desired, observed: &self.observed };
        let (rotate, revoke) = (handled_rotate(&view), handled_revoke(&view));
        let access = access_order(&view);
        let plan = plan(&view);
        order::check(&plan).expect("the phases know their order");
        let mut done = 0;
        for step in plan.steps {
            match step {
                Step::Hold(hold) if hold.blocks => break,
                Step::Hold(_) => {}
                Step::Do(..) if done == limit => return done,
                Step::Do(_, action) => {
                    self.act(&desired, action);
                    self.check();
                    done += 1;
                }
            }
        }
        let status = &mut self.observed.status;
        status.access_digest = match access {
            AccessOrder::Of(digest) => Some(digest),
            AccessOrder::NotYet | AccessOrder::Unknown => None,
        };
        status.last_handled_rotate = rotate.or(status.last_handled_rotate.take());
        status.last_handled_revoke = revoke.or(status.last_handled_revoke.take());
        done
    }

    fn act(&mut self, desired: &Desired, action: Action) {
        match action {
            Action::Generate(generate) => {
                if matches!(generate.cause, Cause::Revoke(_)) && generate.credential == "ingest" {
                    let names = &self.stack.clickhouse.names;
                    self.revoked.extend((1..generate.generation).map(|number| names.ingest_user(number)));
                }
                let value = format!("value of {}", generate.secret);
                let secret = if let Some(user) = generate.migration_user {
                    secret::migration(&self.stack, generate.secret, user, &value)
                } else {
                    let (cause, origin) = (generate.cause, generate.origin);
                    let first = Value::first(generate.generation, value.into());
                    secret::ahead(&self.stack, &generate.credential, &Value { cause, origin, ..first })
                };
                self.put(secret);
            }
            Action::Create(Child::Secret(secret)) => self.put(*secret),
            Action::Apply(child) => {
                let version = Version { mark: "g1".into(), resource_version: 7 };
                let applied = AppliedChild { hash: child.hash(), version: version.clone() };
                self.observed.applied.insert(child.key(), applied);
                self.observed.live.insert(child.key(), Live { uid: "uid".into(), version });
                if let Child::Secret(secret) = child {
                    self.put(*secret);
                }
            }
            Action::Access(action) => {
                let Ok(catalogue) = &self.observed.catalogue else { unreachable!("the model answers") };
                let mut catalogue = (**catalogue).clone();
                model::apply(&mut catalogue, &desired.access.owner, &action);
                self.observed.catalogue = Ok(Arc::new(catalogue));
                self.note(action);
            }
            Action::Prove(proof) => {
                self.observed.proven.insert(proof.user);
            }
            Action::MarkPublished { secret, .. } => self.mark(&secret, PUBLISHED_AT, self.observed.now),
            Action::MarkExpiry(name, until) => self.mark(&name, EXPIRES_AT, until),
            Action::Delete(key, _) => {
                self.observed.live.remove(&key);
                self.observed.secrets.remove(&key.name);
            }
            Action::AddFinalizer
            | Action::RemoveFinalizer
            | Action::Create(_)
            | Action::Tell(..)
            | Action::RecordMigration(_)
            | Action::DeletePods(..) => {}
        }
    }

    /// What the model of a catalogue does not hold.
    fn note(&mut self, action: access::Action) {
        match action {
            access::Action::ExpireUser(user, until) => {
                self.ends.insert(user, until);
            }
            access::Action::CreateUser(user)
            | access::Action::AlterUser(user)
            | access::Action::AddPassword(user)
            | access::Action::CloseLogin(user)
            | access::Action::LimitPasswords(user)
                if !user.passwords.is_empty() =>
            {
                self.passwords.insert(user.name, user.passwords);
            }
            access::Action::DropUser(user) => {
                self.passwords.remove(&user);
            }
            _ => {}
        }
    }

    fn put(&mut self, secret: Secret) {
        let name = secret.metadata.name.clone().unwrap();
        let version = Version { mark: "g1".into(), resource_version: 7 };
        self.observed
            .live
            .insert(ChildKey::new(ChildKind::Secret, &name), Live { uid: "uid".into(), version });
        self.observed.secrets.insert(name, secret);
    }

    fn mark(&mut self, name: &str, key: &str, at: Timestamp) {
        if let Some(secret) = self.observed.secrets.get_mut(name) {
            secret.metadata.annotations.get_or_insert_default().insert(key.into(), at.to_string());
        }
    }

    /// Whoever has what is published is let in, and so is a pod that reads within the cap.
    fn check(&self) {
        if self.pods.is_empty() || self.is_revoking() {
            return;
        }
        for login in ["store-ingest-clickhouse", "store-user-grafana"] {
            let user = self.secret(login, "username");
            assert!(self.lets_in(&user), "the published {user} is refused at {}", self.now());
            assert!(!self.ends.contains_key(&user), "the published {user} ends");
        }
        let key = self.secret("store-key-web", "key");
        for pod in &self.pods {
            assert!(accepts(pod, &key, self.now()), "the published key is refused at {}", self.now());
            let is_out = self.now() - pod.read_at >= 900 || self.revoked.contains(&pod.user);
            assert!(is_out || self.lets_in(&pod.user), "a pod's {} is refused at {}", pod.user, self.now());
        }
    }

    fn is_revoking(&self) -> bool {
        let revoke = self.stack.requests.revoke.as_ref().map(|request| &request.value);
        let is_asked = revoke.is_some() && revoke != self.observed.status.last_handled_revoke.as_ref();
        // Also when the annotation was changed again in the middle.
        let is_replacement = |secret: &Secret| {
            let annotations = secret.metadata.annotations.clone().unwrap_or_default();
            let is_revocation = annotations.get(CAUSE).is_some_and(|cause| cause.starts_with("revoke"));
            is_revocation && !annotations.contains_key(PUBLISHED_AT)
        };
        is_asked || self.observed.secrets.values().any(is_replacement)
    }

    fn lets_in(&self, user: &str) -> bool {
        let Ok(catalogue) = &self.observed.catalogue else { return false };
        let ended = self.ends.get(user).is_some_and(|end| *end <= self.observed.now);
        catalogue.users.contains_key(user) && !ended
    }

    fn request(&mut self, annotation: &str, value: String) {
        let mut annotations = BTreeMap::from([(annotation.to_owned(), value)]);
        let kept = std::mem::take(&mut self.stack.requests);
        let other = match annotation {
            "weir.dev/rotate" => kept.revoke.map(|revoke| ("weir.dev/revoke", revoke.value)),
            _ => kept.rotate.map(|rotate| ("weir.dev/rotate", rotate.value)),
        };
        annotations.extend(other.map(|(key, value)| (key.to_owned(), value)));
        self.stack.requests = Requests::new(&annotations);
    }

    fn happen(&mut self, event: &Event) {
        match event {
            Event::Pass(limit) => {
                self.pass(*limit);
            }
            Event::Read(pod) => self.read(*pod),
            Event::Wait(seconds) => {
                self.observed.now = Timestamp::from_second(self.now() + seconds).unwrap();
            }
            Event::Rotate(value) => {
                self.request("weir.dev/rotate", format!("ingest,user/grafana,key/web=r{value}"));
            }
            Event::Revoke(value) => {
                self.request("weir.dev/revoke", format!("key/web,ingest=v{value}"));
            }
            Event::Logs(readable) => self.logs = *readable,
            Event::Restart => {
                self.observed.applied.clear();
                self.observed.proven.clear();
            }
        }
        self.check();
    }

    /// Lets everything come to rest: pods read, old generations run out.
    fn rest(&mut self) {
        for _ in 0..40 {
            (0..PODS).for_each(|pod| self.read(pod));
            self.pass(usize::MAX);
            self.happen(&Event::Wait(30));
        }
    }

    fn generations(&self, credential: &str) -> usize {
        let is_own = |secret: &&Secret| text(secret, "credential").as_deref() == Some(credential);
        self.observed.secrets.values().filter(is_own).count()
    }
}

fn accepts(pod: &Pod, key: &str, now: i64) -> bool {
    use sha2::Digest as _;
    let hash = hex::encode(sha2::Sha256::digest(key.as_bytes()));
    let keys = pod.file["keys"].as_array().cloned().unwrap_or_default();
    keys.iter().any(|entry| {
        let end = entry["validUntil"].as_str().map(|end| end.parse::<Timestamp>().unwrap().as_second());
        entry["sha256"] == hash && end.is_none_or(|end| now < end)
    })
}

#[test]
fn a_rotation_turns_every_credential_without_a_gap_and_leaves_nothing_behind() {
    let mut world = World::new();
    let before: Vec<_> = ["store-ingest-clickhouse", "store-user-grafana"]
        .map(|name| world.secret(name, "username"))
        .into_iter()
        .collect();
    world.happen(&Event::Rotate(1));
    world.rest();
    assert_eq!(world.observed.status.last_handled_rotate.as_deref(), Some("ingest,user/grafana,key/web=r1"));
    for (name, user) in ["store-ingest-clickhouse", "store-user-grafana"].into_iter().zip(before) {
        assert_eq!(world.secret(name, "username"), user.replace("_g1", "_g2"));
        assert!(!world.lets_in(&user), "{user} is still there");
    }
    assert_eq!(["ingest", "user-grafana", "key-web"].map(|name| world.generations(name)), [1, 1, 1]);
    world.rest();
    assert_eq!(world.pass(usize::MAX), 0, "a second rotation for the same value");
}

#[test]
fn a_pod_that_does_not_read_is_named_and_holds_the_old_user_until_its_cap() {
    let mut world = World::new();
    world.happen(&Event::Rotate(1));
    for _ in 0..6 {
        world.read(0);
        world.pass(usize::MAX);
        world.happen(&Event::Wait(100));
    }
    let old = world.pods[1].user.clone();
    assert!(old.ends_with("_g1") && world.lets_in(&old));
    world.look();
    let plan = plan_for(&world.stack, &world.observed);
    assert!(
        plan.steps.iter().any(|step| matches!(step, Step::Hold(hold) if hold.object == "Pod/store-ingest-1"))
    );
    // Nobody runs a pass any more.
    world.observed.now = Timestamp::from_second(world.now() + 900).unwrap();
    assert!(!world.lets_in(&old), "ClickHouse lets it in after its cap");
}

#[test]
fn a_revoked_key_is_refused_by_every_pod_that_reads_and_a_revoked_user_is_dropped_first() {
    let mut world = World::new();
    let (key, user) =
        (world.secret("store-key-web", "key"), world.secret("store-ingest-clickhouse", "username"));
    world.request("weir.dev/revoke", "key/web,ingest=INC-7".into());
    world.pass(usize::MAX);
    world.pass(usize::MAX);
    assert!(!world.lets_in(&user));
    (0..PODS).for_each(|pod| world.read(pod));
    assert!(world.pods.iter().all(|pod| !accepts(pod, &key, world.now())));
    world.rest();
    assert_eq!(world.observed.status.last_handled_revoke.as_deref(), Some("key/web,ingest=INC-7"));
    assert!(world.secret("store-key-web", "key") != key && world.pass(usize::MAX) == 0);
}

#[test]
fn a_rotation_starts_neither_in_a_rollout_nor_in_a_migration() {
    let generates = |change: &dyn Fn(&mut World)| {
        let mut world = World::new();
        world.happen(&Event::Wait(40 * 24 * 3600));
        (0..PODS).for_each(|pod| world.read(pod));
        change(&mut world);
        world.look();
        plan_for(&world.stack, &world.observed).summary().iter().any(|step| step.starts_with("generate"))
    };
    let migrating = |world: &mut World| {
        world.observed.status.schema = None;
        world.observed.jobs.insert(run_name(), Job::default());
    };
    let asked = |world: &mut World| world.request("weir.dev/rotate", "ingest=r1".into());
    let rolling = |world: &mut World| deployment(&mut world.observed).available = 1;
    assert!(generates(&|_| {}) && generates(&asked));
    assert!(!generates(&rolling) && !generates(&migrating));
    assert!(!generates(&|world| [rolling, asked].iter().for_each(|change| change(world))));
    assert!(!generates(&|world| [migrating, asked].iter().for_each(|change| change(world))));
}

#[test]
fn a_change_by_hand_is_put_back_reported_or_ignored_and_a_new_spec_is_always_carried_out() {
    let mut world = World::new();
    world.pass(usize::MAX);
    let Ok(catalogue) = &world.observed.catalogue else { unreachable!("the model answers") };
    let mut changed = (**catalogue).clone();
    changed.users.remove("weir_retail__store_reader_grafana_g1");
    world.observed.catalogue = Ok(Arc::new(changed));
    world.look();
    let planned = |world: &World, drift: DriftPolicy, readers: usize| {
        let mut stack = world.stack.clone();
        stack.drift = drift;
        stack.readers.truncate(readers);
        let plan = plan_for(&stack, &world.observed);
        let reported = plan
            .steps
            .iter()
            .any(|step| matches!(step, Step::Hold(hold) if hold.reason == Reason::DriftFound));
        let acts = plan.summary().iter().any(|step| step.contains("weir_retail__store_reader"));
        (acts, reported)
    };
    assert_eq!(planned(&world, DriftPolicy::Enforce, 1), (true, false));
    assert_eq!(planned(&world, DriftPolicy::Report, 1), (false, true));
    assert_eq!(planned(&world, DriftPolicy::Ignore, 1), (false, false));
    // Without the reader its role goes, whatever the policy.
    assert_eq!(planned(&world, DriftPolicy::Ignore, 0), (true, false));
    let order = |readers: usize| {
        let mut stack = world.stack.clone();
        stack.readers.truncate(readers);
        let desired = desired_of(&stack, &world.observed);
        access_order(&View { stack: &stack, desired: &desired, observed: &world.observed })
    };
    // What the changed spec asks for was never in order, so nobody can have changed it.
    assert!(matches!((order(1), order(0)), (AccessOrder::Of(_), AccessOrder::NotYet)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    #[test]
    fn no_interleaving_of_crashes_requests_and_evidence_leaves_a_consumer_without_access(
        events in prop::collection::vec(any_event(), 1..60)
    ) {
        let mut world = World::new();
        for event in &events {
            world.happen(event);
        }
        world.logs = true;
        world.rest();
        prop_assert_eq!(world.pass(usize::MAX), 0, "it does not come to rest");
        prop_assert!(!world.is_revoking());
        prop_assert_eq!(["ingest", "user-grafana", "key-web"].map(|name| world.generations(name)), [1, 1, 1]);
    }
}
