//! Values that the owners of Secrets keep: they change them, spoil them and lose them at any moment.

use weir_crds::{CredentialStep, ValueSource};

use super::super::swapped::each_swap_is_refused;
use super::*;
use crate::controller::observed::Fault;
use crate::controller::status::credential_status;

/// Key and reader whose values come from Secrets.
const OWN: [&str; 2] = ["key-own", "user-bi"];

/// What happens besides everything else.
#[derive(Debug, Clone)]
enum Move {
    Other(Event),
    /// The owners write one of a few values.
    Write(u8),
    /// The owners write nothing that can be used.
    Spoil,
    /// Somebody revokes both.
    Revoke(u8),
    /// A consumer of both reads its Secrets.
    Read,
}

fn any_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        12 => any_event().prop_map(Move::Other),
        4 => (0..4_u8).prop_map(Move::Write),
        1 => Just(Move::Spoil),
        1 => (0..3_u8).prop_map(Move::Revoke),
        4 => Just(Move::Read),
    ]
}

/// What a consumer of both read, and when.
#[derive(Clone)]
pub(super) struct Held {
    key: String,
    pub(super) user: String,
    pub(super) password: String,
    at: i64,
}

pub(super) struct Owned {
    pub(super) world: World,
    held: Held,
    /// What was published before a revocation that is not over.
    refused: Vec<Held>,
}

impl Owned {
    pub(super) fn new() -> Self {
        let mut stack = fixture::checked();
        let from = |secret: &str| -> ValueSource {
            let from = serde_json::json!({ "secretKeyRef": { "name": secret, "key": "value" } });
            serde_json::from_value(from).unwrap()
        };
        let (mut key, mut reader) = (stack.keys[0].clone(), stack.readers[0].clone());
        (key.spec.name, key.secret_name) = ("own".into(), "store-key-own".into());
        key.spec.value_from = Some(from("owners-key"));
        (reader.name, reader.secret_name) = ("bi".into(), "store-user-bi".into());
        (reader.access.name, reader.value_from) = ("bi".into(), Some(from("owners-password")));
        stack.keys.push(key);
        stack.readers.push(reader);
        let mut world = World::of(stack);
        write(&mut world, "first");
        while world.pass(usize::MAX) > 0 {
            (0..PODS).for_each(|pod| world.read(pod));
        }
        let mut owned = Self { held: read(&world), world, refused: Vec::new() };
        owned.check();
        owned
    }

    fn happen(&mut self, step: &Move) {
        match step {
            Move::Other(event) => self.world.happen(event),
            Move::Write(number) => write(&mut self.world, &format!("value-{number}")),
            Move::Spoil => spoil(&mut self.world),
            Move::Revoke(number) => {
                self.world.request("weir.dev/revoke", format!("key/own,user/bi=o{number}"));
            }
            Move::Read => self.held = read(&self.world),
        }
        self.check();
    }

    /// Whoever has what is published is let in, and whoever read it a moment ago as well, unless it was revoked.
    fn check(&mut self) {
        let is_revoked = self.world.is_revoking() || has_barrier(&self.world);
        if is_revoked {
            self.refused.push(self.held.clone());
            return;
        }
        let world = &self.world;
        let published = read(world);
        let was_revoked = |held: &Held| self.refused.iter().any(|refused| refused.at == held.at);
        let is_within = world.now() - self.held.at < 60 && !was_revoked(&self.held);
        let pods = world.pods.iter().filter(|pod| world.now() - pod.read_at < 60);
        for held in [&published].into_iter().chain(is_within.then_some(&self.held)) {
            let login = (held.user.as_str(), held.password.as_str());
            assert!(opens(world, login), "{} is refused at {}", held.password, world.now());
        }
        for pod in pods.filter(|pod| pod.read_at >= self.held.at) {
            assert!(accepts(pod, &published.key, world.now()), "{} is refused", published.key);
        }
    }
}

/// Writes a value for each; two credentials must not share one.
pub(super) fn write(world: &mut World, value: &str) {
    let value = |name: &str| (name.to_owned(), Ok(format!("{value} of {name}").into()));
    world.observed.supplied = OWN.into_iter().map(value).collect();
}

fn spoil(world: &mut World) {
    let fault = Fault::dependency("Secret/owners", Reason::SecretInvalid, "it cannot be used");
    world.observed.supplied = OWN.into_iter().map(|name| (name.to_owned(), Err(fault.clone()))).collect();
}

pub(super) fn read(world: &World) -> Held {
    Held {
        key: world.secret("store-key-own", "key"),
        user: world.secret("store-user-bi", "username"),
        password: world.secret("store-user-bi", "password"),
        at: world.now(),
    }
}

fn has_barrier(world: &World) -> bool {
    world.observed.secrets.values().any(|secret| text(secret, "refused").is_some())
}

fn opens(world: &World, (user, password): (&str, &str)) -> bool {
    let hash = access::PasswordHash::of(password);
    let is_open = |known: &Password| known.until.is_none_or(|until| world.observed.now < until);
    let passwords = world.passwords.get(user).into_iter().flatten();
    world.lets_in(user) && passwords.into_iter().any(|known| known.hash == hash && is_open(known))
}

fn holds(world: &mut World) -> Vec<(String, Reason, bool)> {
    world.look();
    let plan = plan_for(&world.stack, &world.observed);
    let hold = |step: Step| match step {
        Step::Hold(hold) => Some((hold.object, hold.reason, hold.blocks)),
        Step::Do(..) => None,
    };
    plan.steps.into_iter().filter_map(hold).collect()
}

fn steps(world: &World) -> Vec<Option<CredentialStep>> {
    let desired = desired_of(&world.stack, &world.observed);
    let (keys, users) = credential_status(&world.stack, &desired.credentials);
    let own = keys.into_iter().chain(users).filter(|entry| ["own", "bi"].contains(&entry.name.as_str()));
    own.map(|entry| entry.step).collect()
}

#[test]
fn a_new_value_of_its_owner_overlaps_with_the_old_one_under_the_same_user() {
    let mut world = Owned::new().world;
    let old = read(&world);
    assert_eq!(old.user, "weir_retail__store_login_bi");
    assert_eq!((old.key.as_str(), old.password.as_str()), ("first of key-own", "first of user-bi"));
    write(&mut world, "second");
    for _ in 0..4 {
        world.pass(usize::MAX);
        (0..PODS).for_each(|pod| world.read(pod));
    }
    let new = read(&world);
    assert_eq!((new.user.as_str(), new.password.as_str()), (old.user.as_str(), "second of user-bi"));
    let [first, second] = [&old, &new].map(|held| (held.user.as_str(), held.password.as_str()));
    assert!(opens(&world, first) && opens(&world, second) && accepts(&world.pods[0], &old.key, world.now()));
    let ends: Vec<_> = world.passwords[&new.user].iter().map(|known| known.until.is_some()).collect();
    assert_eq!(ends, [false, true], "ClickHouse refuses the old one at its cap, whatever the operator does");
    // Nobody can tell whether it is used, so its end does not wait for that.
    world.happen(&Event::Wait(60));
    world.pass(usize::MAX);
    assert!(!opens(&world, first) && opens(&world, second));
    world.rest();
    assert_eq!(OWN.map(|name| world.generations(name)), [1, 1]);
    assert_eq!(world.pass(usize::MAX), 0, "a settled stack does nothing");
}

#[tokio::test]
async fn no_swap_in_the_plans_of_a_new_password_is_carried_out() {
    let mut world = Owned::new().world;
    write(&mut world, "second");
    world.pass(usize::MAX);
    let add = "add a password of user weir_retail__store_login_bi";
    let prove = "prove the login of user weir_retail__store_login_bi";
    let (publish, limit) =
        ("apply Secret/store-user-bi", "let older passwords of user weir_retail__store_login_bi end");
    let pairs = [
        (add, prove, "its login is refused"),
        (prove, publish, "consumers are given a password that may be refused"),
        (prove, limit, "the one that works ends, and the other one may be refused"),
        (publish, limit, "if it never comes to the switch, everybody is locked out"),
        (publish, "mark Secret/store-user-bi-g2 as published", "nobody has it"),
    ];
    each_swap_is_refused(|| world.planned(), &pairs).await;
    world.passes(2);
    world.happen(&Event::Wait(60));
    let forgotten = (limit, "delete Secret/store-user-bi-g1", "nobody knows of the old one any more");
    each_swap_is_refused(|| world.planned(), &[forgotten]).await;
}

#[tokio::test]
async fn no_swap_in_the_plans_of_a_reader_that_changes_its_kind_of_login_is_carried_out() {
    let mut world = Owned::new().world;
    let from = world.stack.readers[1].value_from.take();
    world.pass(usize::MAX);
    let (kept, generated) = ("user weir_retail__store_login_bi", "user weir_retail__store_reader_bi_g2");
    each_switch_is_kept(&world, generated, &format!("let older passwords of {kept} end")).await;
    world.rest();
    world.stack.readers[1].value_from = from;
    world.pass(usize::MAX);
    each_switch_is_kept(&world, kept, &format!("let {generated} end")).await;
}

/// Sees to it that the old login ends behind the proof and the switch, whatever the new one is.
async fn each_switch_is_kept(world: &World, new: &str, end: &str) {
    let prove = format!("prove the login of {new}");
    let pairs = [
        (prove.as_str(), end, "the one that works ends, and the other one may be refused"),
        ("apply Secret/store-user-bi", end, "if it never comes to the switch, everybody is locked out"),
    ];
    each_swap_is_refused(|| world.planned(), &pairs).await;
}

#[test]
fn a_value_that_cannot_be_used_is_said_and_holds_up_nothing() {
    let mut world = Owned::new().world;
    let old = read(&world);
    spoil(&mut world);
    let said = (String::from("Secret/owners"), Reason::SecretInvalid, false);
    assert!(holds(&mut world).contains(&said));
    world.happen(&Event::Rotate(1));
    world.rest();
    assert!(world.secret("store-user-grafana", "username").ends_with("_g2"), "the others turn");
    assert!(opens(&world, (&old.user, &old.password)) && read(&world).password == old.password);
}

#[test]
fn only_the_owner_of_a_value_can_rotate_it_and_a_change_answers_the_request() {
    let mut world = Owned::new().world;
    world.request("weir.dev/rotate", "user/bi=r1".into());
    let asked = (String::from("Secret/owners-password"), Reason::SuppliedByOwner, false);
    assert!(holds(&mut world).contains(&asked));
    assert_eq!(world.pass(usize::MAX), 0, "nothing is generated in its place");
    assert_eq!(world.observed.status.last_handled_rotate, None);
    write(&mut world, "second");
    world.rest();
    assert_eq!(world.observed.status.last_handled_rotate.as_deref(), Some("user/bi=r1"));
    assert!(!holds(&mut world).contains(&asked));
    world.request("weir.dev/rotate", "now".into());
    world.rest();
    assert!(read(&world).password == "second of user-bi" && !holds(&mut world).contains(&asked));
}

#[test]
fn a_revoked_value_is_refused_until_its_owner_writes_another_one() {
    let mut world = Owned::new().world;
    let old = read(&world);
    world.request("weir.dev/revoke", "key/own,user/bi=INC-7".into());
    for _ in 0..4 {
        world.pass(usize::MAX);
        (0..PODS).for_each(|pod| world.read(pod));
    }
    let is_let_in = |world: &World, held: &Held| {
        (opens(world, (&held.user, &held.password)), accepts(&world.pods[0], &held.key, world.now()))
    };
    assert_eq!(is_let_in(&world, &old), (false, false));
    assert_eq!(world.observed.status.last_handled_revoke.as_deref(), Some("key/own,user/bi=INC-7"));
    assert_eq!(steps(&world), [Some(CredentialStep::Revoked); 2]);
    for secret in ["Secret/owners-key", "Secret/owners-password"] {
        assert!(holds(&mut world).contains(&(secret.to_owned(), Reason::SecretInvalid, false)), "{secret}");
    }
    world.rest();
    assert_eq!(is_let_in(&world, &old), (false, false), "the same value again");
    assert_eq!(world.pass(usize::MAX), 0);
    write(&mut world, "second");
    world.rest();
    let new = read(&world);
    assert!(new.key == "second of key-own" && new.password == "second of user-bi");
    assert_eq!((is_let_in(&world, &new), is_let_in(&world, &old)), ((true, true), (false, false)));
    assert_eq!(steps(&world), [Some(CredentialStep::Current); 2]);
    assert_eq!((OWN.map(|name| world.generations(name)), world.pass(usize::MAX)), ([1, 1], 0));
}

#[test]
fn a_revoked_value_stays_out_when_the_secret_of_its_revocation_is_lost() {
    let mut world = Owned::new().world;
    let old = read(&world);
    world.request("weir.dev/revoke", "key/own,user/bi=INC-7".into());
    world.rest();
    let desired = desired_of(&world.stack, &world.observed);
    let (keys, users) = credential_status(&world.stack, &desired.credentials);
    (world.observed.status.keys, world.observed.status.users) = (keys, users);
    world.observed.secrets.retain(|_, secret| text(secret, "refused").is_none());
    assert!(!has_barrier(&world));
    for _ in 0..4 {
        world.pass(usize::MAX);
        (0..PODS).for_each(|pod| world.read(pod));
        assert!(!opens(&world, (&old.user, &old.password)));
        assert!(!accepts(&world.pods[0], &old.key, world.now()));
    }
    assert!(has_barrier(&world), "it is written again");
    write(&mut world, "second");
    world.rest();
    assert_eq!(read(&world).key, "second of key-own");
}

#[test]
fn a_reader_changes_over_to_a_password_of_its_owner_and_back_without_a_gap() {
    let mut owned = Owned::new();
    let from = owned.world.stack.readers[1].value_from.take();
    owned.world.rest();
    let generated = read(&owned.world);
    assert!(generated.user.ends_with("_reader_bi_g2"), "{}", generated.user);
    let Ok(catalogue) = &owned.world.observed.catalogue else { unreachable!("the model answers") };
    assert!(!catalogue.users.contains_key("weir_retail__store_login_bi"));
    owned.world.stack.readers[1].value_from = from;
    owned.happen(&Move::Read);
    for _ in 0..3 {
        owned.happen(&Move::Other(Event::Pass(usize::MAX)));
    }
    assert_eq!(read(&owned.world).user, "weir_retail__store_login_bi");
    assert!(owned.world.lets_in(&generated.user), "the generated login overlaps");
    owned.world.rest();
    assert!(!owned.world.lets_in(&generated.user));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    #[test]
    fn no_interleaving_of_crashes_and_owners_refuses_what_is_published(
        steps in prop::collection::vec(any_move(), 1..60)
    ) {
        let mut owned = Owned::new();
        for step in &steps {
            owned.happen(step);
        }
        let world = &mut owned.world;
        world.logs = true;
        write(world, "last");
        world.rest();
        prop_assert_eq!(world.pass(usize::MAX), 0, "it does not come to rest");
        let held = read(world);
        prop_assert!(held.key == "last of key-own" && held.password == "last of user-bi");
        prop_assert!(opens(world, (&held.user, &held.password)));
        prop_assert_eq!(world.passwords[&held.user].len(), 1, "old passwords are left");
        prop_assert_eq!(OWN.map(|name| world.generations(name)), [1, 1]);
    }
}
