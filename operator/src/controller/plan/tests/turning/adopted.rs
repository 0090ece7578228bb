//! Adoption as passes over the model: a stack whose claims were lost, with its pods serving all the while.

use weir_crds::AnalyticsStackStatus;

use super::super::super::adoption;
use super::super::swapped::each_swap_is_refused;
use super::*;
use crate::controller::status::adoption::adoption_status;

/// A settled stack, after everything that the ledger said was lost.
fn unmarked() -> World {
    let mut world = World::new();
    change(&mut world, |catalogue| catalogue.intents = None);
    world
}

fn change(world: &mut World, change: impl FnOnce(&mut access::Catalogue)) {
    let Ok(catalogue) = &world.observed.catalogue else { unreachable!("the model answers") };
    let mut catalogue = (**catalogue).clone();
    change(&mut catalogue);
    world.observed.catalogue = Ok(Arc::new(catalogue));
}

fn seen<T>(world: &World, look: impl FnOnce(&View<'_>) -> T) -> T {
    let desired = desired_of(&world.stack, &world.observed);
    look(&View { stack: &world.stack, desired: &desired, observed: &world.observed })
}

fn holds(world: &World) -> Vec<Hold> {
    let hold = |step| match step {
        Step::Hold(hold) => Some(hold),
        Step::Do(..) => None,
    };
    seen(world, plan).steps.into_iter().filter_map(hold).collect()
}

fn hash(world: &World) -> String {
    seen(world, adoption::preview).expect("something to take over").hash
}

fn approve(world: &mut World, value: &str) {
    world.stack.requests.adopt = Some(value.into());
}

/// Passes, with pods that read what is mounted.
fn settle_down(world: &mut World) {
    for _ in 0..20 {
        world.pass(usize::MAX);
        (0..PODS).for_each(|pod| world.read(pod));
    }
}

fn approve_shown(world: &mut World) {
    let hash = hash(world);
    approve(world, &hash);
}

fn show(world: &mut World) {
    let status = seen(world, |view| {
        let status: &AnalyticsStackStatus = &view.observed.status;
        let value = view.stack.requests.adopt.as_deref();
        adoption::preview(view).map(|preview| adoption_status(&preview, status.adoption.as_ref(), value))
    });
    world.observed.status.adoption = status;
}

fn hint(world: &World) -> String {
    let conflict = holds(world).into_iter().find(|hold| hold.reason == Reason::OwnershipConflict);
    conflict.expect("a conflict").hint
}

#[test]
fn nothing_is_taken_over_without_the_hash_or_with_another_and_everything_with_it() {
    let mut world = unmarked();
    assert_eq!(world.pass(usize::MAX), 0);
    let first = hash(&world);
    assert!(hint(&world).contains(&format!("weir.dev/adopt={first}")), "{}", hint(&world));
    show(&mut world);
    approve(&mut world, "0000000000000000");
    assert_eq!(world.pass(usize::MAX), 0);
    assert!(
        hint(&world).contains("weir.dev/adopt=0000000000000000 approves another preview"),
        "{}",
        hint(&world)
    );

    approve(&mut world, &first);
    let role = access::Entity::role(&world.stack.clickhouse.names.ingest_role());
    change(&mut world, |catalogue| model::grant_role(catalogue, &role, "more"));
    assert_eq!(world.pass(usize::MAX), 0);
    assert!(
        hint(&world).contains(&format!("what weir.dev/adopt={first} approved has changed since")),
        "{}",
        hint(&world)
    );
    show(&mut world);
    assert_eq!(world.observed.status.adoption.as_ref().unwrap().outdated.as_ref(), Some(&first));

    let second = hash(&world);
    approve(&mut world, &second);
    let taken = seen(&world, plan).summary();
    assert_eq!(taken.len(), 2, "{taken:?}");
    assert!(taken[1].starts_with("take over database weir_retail__store, role"), "{taken:?}");
    assert_eq!(seen(&world, adoption::handled), None, "it is not done yet");
    while world.pass(usize::MAX) > 0 {}
    assert_eq!((seen(&world, adoption::handled), seen(&world, adoption::preview)), (Some(second), None));
    assert_eq!(holds(&world), []);
    assert!(world.observed.status.access_digest.is_some());
}

#[tokio::test]
async fn no_swap_in_the_plans_of_an_adoption_is_carried_out() {
    let mut world = unmarked();
    approve_shown(&mut world);
    let (ledger, take) = ("create the ownership ledger", "take over database weir_retail__store");
    each_swap_is_refused(|| world.planned(), &[(ledger, take, "there is nothing to claim it in")]).await;
    world.pass(usize::MAX);
    world.observed.proven.clear();
    let prove = "prove the login of user weir_retail__store_ingest_g1";
    let close = "let nobody but the stack log in as user weir_retail__store_ingest_g1";
    let pairs = [
        (prove, close, "the pods may be refused, and whoever used it before is as well"),
        (close, "note that database weir_retail__store", "who used it before can log in for ever"),
    ];
    each_swap_is_refused(|| world.planned(), &pairs).await;
}

#[test]
fn what_comes_after_an_approval_that_was_carried_out_waits_for_one_of_its_own() {
    let mut world = unmarked();
    let first = hash(&world);
    approve(&mut world, &first);
    while world.pass(usize::MAX) > 0 {}
    world.observed.status.last_handled_adopt = Some(first.clone());
    let definer = access::Entity::user(&world.stack.clickhouse.names.definer());
    change(&mut world, |catalogue| {
        catalogue.intents.as_mut().unwrap().retain(|intent| intent.entity != definer);
    });
    assert_eq!(world.pass(usize::MAX), 0);
    assert_ne!(hash(&world), first);
    assert!(!hint(&world).contains(&first) && hint(&world).contains(&hash(&world)), "{}", hint(&world));
}

#[test]
fn a_login_is_not_revoked_while_no_other_can_be_made_and_a_key_is() {
    let mut world = World::new();
    let definer = access::Entity::user(&world.stack.clickhouse.names.definer());
    change(&mut world, |catalogue| {
        catalogue.intents.as_mut().unwrap().retain(|intent| intent.entity != definer);
    });
    world.request("weir.dev/revoke", "ingest,user/grafana,key/web=INC".into());
    let users = |world: &World| {
        let catalogue = world.observed.catalogue.as_ref().unwrap();
        catalogue.users.keys().cloned().collect::<Vec<_>>()
    };
    let before = users(&world);
    settle_down(&mut world);
    assert_eq!(users(&world), before, "nobody is locked out");
    assert!(world.observed.secrets.contains_key("store-key-web-g2"), "a key needs no ClickHouse");
    assert!(!world.observed.secrets.contains_key("store-ingest-g2"));
    let waits: Vec<_> =
        holds(&world).into_iter().filter(|hold| hold.hint.contains("weir.dev/revoke waits")).collect();
    assert_eq!(waits.len(), 2, "{waits:?}");

    approve_shown(&mut world);
    settle_down(&mut world);
    assert!(world.observed.secrets.contains_key("store-ingest-g2"), "once it can be, it is");
    assert!(!users(&world).iter().any(|user| user.ends_with("_ingest_g1")));
    assert_eq!(world.observed.status.last_handled_revoke.as_deref(), Some("ingest,user/grafana,key/web=INC"));
}

#[test]
fn what_is_half_adopted_is_no_change_by_hand() {
    let mut world = unmarked();
    world.stack.drift = DriftPolicy::Report;
    let role = access::Entity::role(&world.stack.clickhouse.names.ingest_role());
    change(&mut world, |catalogue| model::forget_grants(catalogue, &role));
    let changes = |world: &World| seen(world, |view| drift(view).len());
    let in_order = |world: &World| seen(world, |view| matches!(access_order(view), AccessOrder::Of(_)));
    world.observed.status.access_digest = Some(seen(&world, |view| view.desired.access.digest()));
    assert_eq!((changes(&world), in_order(&world)), (0, false), "what is another's was changed by nobody");
    approve_shown(&mut world);
    assert_eq!(world.pass(usize::MAX), 2, "the ledger, and the claims in it");
    world.observed.status.access_digest = Some(seen(&world, |view| view.desired.access.digest()));
    assert_eq!((changes(&world), in_order(&world)), (0, false));
    assert!(holds(&world).iter().any(|hold| hold.reason == Reason::Adopting && !hold.blocks));
    while world.pass(usize::MAX) > 0 {}
    assert_eq!((changes(&world), in_order(&world)), (0, true));
    change(&mut world, |catalogue| model::forget_grants(catalogue, &role));
    assert!(changes(&world) > 0, "and from then on a hand is a hand");
}

#[test]
fn the_waits_of_a_preview_that_holds_what_is_never_taken_over_say_so() {
    let mut world = unmarked();
    let role = access::Entity::role(&world.stack.clickhouse.names.ingest_role());
    world.observed.adoption.fixed.insert(role.clone());
    approve_shown(&mut world);
    assert_eq!(world.pass(usize::MAX), 0);
    let hints: Vec<_> = holds(&world).into_iter().map(|hold| hold.hint).collect();
    assert!(
        hints.iter().all(|hint| hint.contains("never taken over") && hint.contains("file of the server")),
        "{hints:?}"
    );
    show(&mut world);
    assert_eq!(world.observed.status.adoption.as_ref().unwrap().hash, None);
}

#[test]
fn who_gave_its_names_says_to_whom_repairs_nothing_and_locks_nobody_out() {
    let mut world = World::new();
    let taker = access::Owner {
        cluster_id: "cluster-b".into(),
        namespace: "lab".into(),
        name: "copy".into(),
        uid: "uid-of-copy".into(),
    };
    let asked = access::Handover {
        taker: taker.clone(),
        owner: fixture::owner(),
        question: access::Question::Asked,
        hash: "0123456789abcdef".into(),
        age: 0,
        answer: None,
        is_answered: false,
    };
    change(&mut world, |catalogue| catalogue.handovers = vec![asked]);
    assert_eq!(world.pass(usize::MAX), 1, "it answers");
    approve(&mut world, "0123456789abcdef");
    assert_eq!(world.pass(usize::MAX), 1, "it gives");
    assert_eq!(seen(&world, adoption::handled).as_deref(), Some("0123456789abcdef"));
    let names = world.stack.clickhouse.names.clone();
    change(&mut world, |catalogue| {
        for intent in catalogue.intents.as_mut().unwrap() {
            let name = &intent.entity.name;
            if *name == names.database || *name == names.definer() {
                (intent.owner, intent.nonce) = (taker.clone(), format!("taken {name}"));
            }
        }
    });
    // Whatever the taker changes of it then is no change by hand here.
    change(&mut world, |catalogue| model::forget_grants(catalogue, &access::Entity::user(&names.definer())));
    world.request("weir.dev/revoke", "ingest=INC".into());
    approve(&mut world, "0123456789abcdef");
    world.observed.status.access_digest = Some(seen(&world, |view| view.desired.access.digest()));
    assert_eq!((seen(&world, |view| drift(view).len()), world.pass(usize::MAX)), (0, 0));
    let waits = holds(&world);
    let given: Vec<_> = waits.iter().filter(|hold| hold.reason == Reason::HandedOver).collect();
    let text = format!("database {} belongs to {taker}; this stack gave it", names.database);
    assert!(given[0].hint.starts_with(&text) && given[0].blocks, "{given:?}");
    assert!(text.contains("AnalyticsStack lab/copy of cluster cluster-b"));
    assert!(waits.iter().any(|hold| hold.hint.contains("weir.dev/revoke waits")), "{waits:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn nobody_is_locked_out_while_a_stack_is_taken_over_whatever_happens(events in prop::collection::vec(any_event(), 0..24)) {
        let mut world = unmarked();
        approve_shown(&mut world);
        for event in &events {
            world.happen(event);
        }
        for _ in 0..40 {
            // What was drawn since is not part of what was approved.
            if let Some(preview) = seen(&world, adoption::preview) {
                approve(&mut world, &preview.hash);
            }
            world.pass(usize::MAX);
            (0..PODS).for_each(|pod| world.read(pod));
        }
        prop_assert_eq!(seen(&world, adoption::preview), None);
        let catalogue = world.observed.catalogue.as_ref().unwrap();
        prop_assert_eq!(access::pending(&fixture::owner(), catalogue), vec![]);
    }
}
