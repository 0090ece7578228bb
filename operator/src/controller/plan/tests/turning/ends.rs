//! Ends of old logins when the operator dies right behind a switch, and of old keys while a pod is behind.

use super::owned::{Owned, read, write};
use super::*;

/// Runs passes, and cuts the last one off right behind the action that makes `is_reached` true.
fn cut_behind(world: &mut World, is_reached: impl Fn(&World) -> bool) {
    for _ in 0..10 {
        for limit in 1..20 {
            let mut tried = world.clone();
            tried.pass(limit);
            if is_reached(&tried) {
                *world = tried;
                return world.happen(&Event::Restart);
            }
        }
        world.pass(usize::MAX);
        (0..PODS).for_each(|pod| world.read(pod));
    }
    panic!("it never comes to that");
}

/// Which of the passwords of the reader end, the newest first.
fn ends(world: &World) -> Vec<bool> {
    world.passwords[&read(world).user].iter().map(|known| known.until.is_some()).collect()
}

#[test]
fn an_end_that_a_kill_right_after_the_switch_left_unset_is_counted_from_the_operators_return() {
    let mut world = World::new();
    let old = world.secret("store-ingest-clickhouse", "username");
    world.happen(&Event::Rotate(1));
    cut_behind(&mut world, |world| world.secret("store-ingest-clickhouse", "username") != old);
    assert_eq!(world.ends.get(&old), None);
    let switched = world.now();
    world.happen(&Event::Wait(100));
    world.happen(&Event::Pass(usize::MAX));
    world.happen(&Event::Pass(usize::MAX));
    let end = world.ends.get(&old).map(|end| end.as_second());
    // The moment of the switch was lost with the operator, so the cap counts from its return.
    assert_eq!(end, Some(switched + 100 + 900));
}

#[test]
fn a_password_ends_before_the_next_one_is_written_ahead_and_keeps_its_end_when_that_is_published() {
    let mut world = Owned::new().world;
    write(&mut world, "second");
    cut_behind(&mut world, |world| read(world).password == "second of user-bi");
    assert_eq!(ends(&world), [false, false], "it died before it could set the end of the first");
    write(&mut world, "third");
    cut_behind(&mut world, |world| world.observed.secrets.contains_key("store-user-bi-g3"));
    assert_eq!(ends(&world), [false, true], "two at once without an end could lose one of them");
    while read(&world).password != "third of user-bi" {
        world.pass(usize::MAX);
        (0..PODS).for_each(|pod| world.read(pod));
    }
    assert_eq!(ends(&world), [false, true, true]);
}

/// A world whose old key is over, which only the first pod has read, and that key.
fn behind() -> (World, String) {
    let mut world = World::new();
    let old = world.secret("store-key-web", "key");
    world.happen(&Event::Rotate(1));
    while world.secret("store-key-web", "key") == old {
        world.pass(usize::MAX);
        (0..PODS).for_each(|pod| world.read(pod));
    }
    world.pass(usize::MAX);
    (0..PODS).for_each(|pod| world.read(pod));
    world.happen(&Event::Wait(100));
    world.pass(usize::MAX);
    world.read(0);
    world.pass(usize::MAX);
    (world, old)
}

#[test]
fn an_old_key_counts_until_every_pod_has_read_that_it_is_over() {
    let (mut world, old) = behind();
    assert_eq!([0, 1].map(|pod| accepts(&world.pods[pod], &old, world.now())), [false, true]);
    assert_eq!(world.generations("key-web"), 2);
    world.look();
    let plan = plan_for(&world.stack, &world.observed);
    let is_named = |step: &Step| {
        let Step::Hold(hold) = step else { return false };
        hold.object == "Secret/store-key-web"
            && hold.hint.ends_with("Pod/store-ingest-1 may let it in still")
            && hold.until.is_some()
    };
    assert!(plan.steps.iter().any(is_named), "{:?}", plan.steps);
    world.read(1);
    world.pass(usize::MAX);
    assert_eq!(world.generations("key-web"), 1);
}

#[test]
fn an_old_key_goes_at_its_cap_which_pods_know_whatever_they_have_read() {
    let (mut world, old) = behind();
    world.happen(&Event::Wait(900));
    assert!(!accepts(&world.pods[1], &old, world.now()));
    world.pass(usize::MAX);
    assert_eq!(world.generations("key-web"), 1);
}
