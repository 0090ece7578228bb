//! Plans of rotations, revocations and migrations with two steps swapped, each pair with the reason why its order matters.

use super::super::swapped::{each_swap_is_refused, refused, step};
use super::*;
use crate::controller::apply::Applied;

const NOBODYS: &str = "after a crash in between it is nobody's";

impl World {
    /// The plan of the next pass.
    pub(super) fn planned(&self) -> Plan {
        let mut world = self.clone();
        world.look();
        plan_for(&world.stack, &world.observed)
    }

    /// Passes, with pods that read in between.
    pub(super) fn passes(&mut self, count: usize) {
        for _ in 0..count {
            self.pass(usize::MAX);
            (0..PODS).for_each(|pod| self.read(pod));
        }
    }
}

/// Every credential turns at once, and the new values are written ahead.
pub(super) fn rotating() -> World {
    let mut world = World::new();
    world.happen(&Event::Rotate(1));
    world.passes(1);
    world
}

#[tokio::test]
async fn no_swap_in_the_plan_of_a_rotation_is_carried_out() {
    let world = rotating();
    for (role, published, ahead) in [
        ("ingest", "store-ingest-clickhouse", "store-ingest"),
        ("reader_grafana", "store-user-grafana", "store-user-grafana"),
    ] {
        let user = |generation: u8| format!("user weir_retail__store_{role}_g{generation}");
        let (create, prove) = (format!("create {}", user(2)), format!("prove the login of {}", user(2)));
        let member = format!("grant role weir_retail__store_{role} to {}", user(2));
        let publish = format!("apply Secret/{published}");
        let end = format!("let {} end", user(1));
        let pairs = [
            ("claim user weir_retail__store_ingest_g2", create.as_str(), NOBODYS),
            (&create, &member, "there is no such user"),
            (&create, &prove, "its login is refused"),
            (&member, &prove, "what is proven lacks the rights"),
            (&prove, &publish, "consumers are given a login that may be refused"),
            (&publish, &format!("mark Secret/{ahead}-g2 as published"), "nobody has it"),
            (&prove, &end, "the one that works ends, and the other one may be refused"),
            (&publish, &end, "if it never comes to the switch, everybody is locked out"),
            (&end, &format!("mark Secret/{ahead}-g1 to end"), "marked, it is not ended any more"),
        ];
        each_swap_is_refused(|| world.planned(), &pairs).await;
    }
    let told = ("apply Secret/store-ingest-keys", "refresh the mounts", "pods read the old keys once more");
    each_swap_is_refused(|| world.planned(), &[told]).await;
}

#[tokio::test]
async fn where_two_logins_turn_no_mark_of_one_takes_the_place_of_the_end_of_the_other() {
    let mut swapped = rotating().planned();
    let mark = position(&swapped, "mark Secret/store-ingest-g1 to end");
    let end = position(&swapped, "let user weir_retail__store_reader_grafana_g1 end");
    swapped.steps.swap(mark, end);
    let hint = Applied::refused(swapped, "the reader's login ends before its switch").await;
    let first = "the plan would let user weir_retail__store_reader_grafana_g1 end at";
    assert!(hint.starts_with(first), "{hint}");
    assert!(hint.contains("before it would prove the login of user weir_retail__store_reader_grafana_g2"));
}

#[tokio::test]
async fn no_swap_in_the_plan_that_ends_a_rotation_is_carried_out() {
    let mut world = rotating();
    world.passes(3);
    world.happen(&Event::Wait(120));
    (0..PODS).for_each(|pod| world.read(pod));
    // A hand deleted what consumers have, and the operator was started again.
    world.observed.secrets.remove("store-ingest-clickhouse");
    world.observed.live.remove(&ChildKey::new(ChildKind::Secret, "store-ingest-clickhouse"));
    world.observed.proven.clear();
    let drop = "drop user weir_retail__store_ingest_g1";
    let publish = "apply Secret/store-ingest-clickhouse";
    let pairs = [
        ("prove the login of user weir_retail__store_ingest_g2", drop, "the other one may be refused"),
        (publish, drop, "whoever still has the old one finds no other"),
        (drop, "give up the claim on user weir_retail__store_ingest_g1", NOBODYS),
        (publish, "delete Secret/store-ingest-g1", "what takes its place is not there"),
    ];
    each_swap_is_refused(|| world.planned(), &pairs).await;
}

#[tokio::test]
async fn no_swap_in_the_plan_of_a_revocation_is_carried_out() {
    let mut world = World::new();
    world.request("weir.dev/revoke", "key/web,ingest,user/grafana=INC-7".into());
    world.passes(1);
    let (keys, publish) = ("apply Secret/store-ingest-keys", "apply Secret/store-ingest-clickhouse");
    let drop = "drop user weir_retail__store_ingest_g1";
    let create = "create user weir_retail__store_ingest_g2";
    let prove = "prove the login of user weir_retail__store_ingest_g2";
    let pairs = [
        (keys, drop, "a ClickHouse that fails keeps a key that leaked"),
        (keys, "refresh the mounts", "pods read the key that leaked once more"),
        (drop, "give up the claim on user weir_retail__store_ingest_g1", NOBODYS),
        ("claim user weir_retail__store_ingest_g2", create, NOBODYS),
        (create, prove, "its login is refused"),
        (prove, publish, "the pods stay locked out"),
        (publish, "mark Secret/store-ingest-g2 as published", "the pods stay locked out"),
    ];
    each_swap_is_refused(|| world.planned(), &pairs).await;
}

/// A migration for other endpoints, after one for others again that was not over: its user is left.
fn migrating() -> World {
    let mut world = World::new();
    for port in [9, 10] {
        world.stack.clickhouse.endpoints[0].port = port;
        world.pass(usize::MAX);
        if port == 9 {
            world.pass(usize::MAX);
        }
    }
    world
}

#[tokio::test]
async fn no_swap_in_the_plan_of_a_migration_is_carried_out() {
    let world = migrating();
    let (stale, create) =
        ("drop user weir_retail__store_migrate_", "create user weir_retail__store_migrate_");
    let (prove, job) = ("prove the login of user weir_retail__store_migrate_", "apply Job/store-migrate-");
    let pairs = [
        (stale, create, "two migrations run at once"),
        (stale, "give up the claim on user weir_retail__store_migrate_", NOBODYS),
        ("claim user weir_retail__store_migrate_", create, NOBODYS),
        (create, prove, "its login is refused"),
        (prove, job, "a Job whose login is refused has failed for good"),
    ];
    each_swap_is_refused(|| world.planned(), &pairs).await;
}

#[tokio::test]
async fn pods_in_one_plan_with_the_migration_for_their_image_come_behind_it() {
    let (job, pods) = ("apply Job/store-migrate-", "apply Deployment/store-ingest");
    let mut settled = World::new();
    settled.observed.live.remove(&ChildKey::new(ChildKind::Deployment, "store-ingest"));
    let steps = [step(settled.planned(), pods), step(migrating().planned(), job)];
    refused(steps, (job, pods, "the tables that they write are not there")).await;
}

#[tokio::test]
async fn no_swap_in_the_plan_of_a_stack_that_was_made_anew_is_carried_out() {
    let mut world = World::new();
    let mut catalogue = world.observed.catalogue.as_deref().cloned().expect("the model answers");
    catalogue.intents.iter_mut().flatten().for_each(|intent| intent.owner.uid = "former".into());
    (world.observed.catalogue, world.observed.proven) = (Ok(Arc::new(catalogue)), BTreeSet::new());
    let restore = "restore the login of user weir_retail__store_ingest_g1";
    let pairs = [
        ("claim database weir_retail__store", "give up the claim on database weir_retail__store", NOBODYS),
        (restore, "prove the login of user weir_retail__store_ingest_g1", "its login is refused"),
    ];
    each_swap_is_refused(|| world.planned(), &pairs).await;
}
