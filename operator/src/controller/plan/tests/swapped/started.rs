//! The start of a stack and its pods.

use super::super::spool::{after, spooled};
use super::*;

/// A new stack whose credentials are written ahead: claims, users, proofs, Secrets and children in one plan.
fn new_stack() -> Plan {
    let mut observed = with_credentials(reachable(), false);
    observed.has_finalizer = false;
    plan_of(&observed)
}

#[tokio::test]
async fn no_swap_in_the_plan_of_a_new_stack_is_carried_out() {
    let (finalizer, ledger) = ("add the finalizer", "create the ownership ledger");
    let (user, claim) = ("create user weir_retail__store_ingest_g1", "claim database weir_retail__store");
    let role = "create role weir_retail__store_ingest";
    let rights = "grant INSERT ON `weir_retail__store`";
    let member = "grant role weir_retail__store_ingest to user weir_retail__store_ingest_g1";
    let proof = "prove the login of user weir_retail__store_ingest_g1";
    let login = "apply Secret/store-ingest-clickhouse";
    let pairs = [
        (finalizer, ledger, "a stack that is deleted in between leaves its access behind"),
        (ledger, claim, "there is nothing to claim it in"),
        (claim, "create database weir_retail__store", "after a crash in between it is nobody's"),
        (claim, role, "after a crash in between it is nobody's"),
        (claim, user, "after a crash in between it is nobody's"),
        (role, rights, "there is nobody to grant it to"),
        (role, member, "there is no such role"),
        (user, member, "there is no such user"),
        (user, proof, "its login is refused"),
        (rights, proof, "what is proven lacks them"),
        (member, proof, "what is proven lacks them"),
        (proof, login, "the pods are given a login that may be refused"),
        (login, "mark Secret/store-ingest-g1", "it counts as published and nobody has it"),
        ("apply Secret/store-user-grafana", "mark Secret/store-user-grafana-g1", "nobody has it"),
        ("apply Secret/store-ingest-keys", "apply Secret/store-key-web", "no pod accepts the key"),
    ];
    each_swap_is_refused(new_stack, &pairs).await;
}

#[tokio::test]
async fn no_pods_are_made_before_what_they_mount() {
    let lost = || {
        let mut observed = with_database(settled());
        observed.live.clear();
        plan_of(&observed)
    };
    let pods = "apply Deployment/store-ingest";
    let why = "its pods cannot start";
    let mounted = ["Secret/store-ingest-keys", "Secret/store-ingest-ca", "ServiceAccount/store-ingest"];
    for mounted in mounted.map(|child| format!("apply {child}")) {
        each_swap_is_refused(lost, &[(&mounted, pods, why)]).await;
    }
}

#[tokio::test]
async fn no_claim_is_drained_before_the_pods_that_leave_it_and_no_pods_go_before_others_serve() {
    let stack = spooled(2);
    let set = "apply StatefulSet/store-ingest";
    let drained = || {
        let mut observed = after(&stack, 3);
        observed.live.remove(&ChildKey::new(ChildKind::StatefulSet, "store-ingest"));
        plan_for(&stack, &observed)
    };
    let pair = (set, "apply Job/store-drain-2", "two pods use one claim");
    each_swap_is_refused(drained, &[pair]).await;
    let changed = || {
        let mut observed = settled();
        put(&mut observed, rolled_out(&stack));
        plan_for(&stack, &observed)
    };
    each_swap_is_refused(changed, &[(set, "delete Deployment/store-ingest", "no pod serves")]).await;
}
