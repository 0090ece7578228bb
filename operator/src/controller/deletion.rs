//! The pass of a stack that is being deleted.

use std::collections::BTreeSet;

use k8s_openapi::jiff::Timestamp;
use kube::runtime::controller::Action;
use weir_crds::{AnalyticsStack, AnalyticsStackStatus, ConditionType, Reason};

use super::memory::Memory;
use super::observed::Observed;
use super::plan::Hold;
use super::plan::deletion::{Deletion, plan};
use super::stack::Stack;
use super::status::Outcome;
use super::validate::{Found, Rules, validate};
use super::{Context, Error, apply, build_desired, log, observe, owner, report, requeue, status};
use crate::access;
use crate::metrics;

/// One pass of a deletion.
pub(super) async fn pass(
    ctx: &Context,
    stack: &AnalyticsStack,
    previous: &AnalyticsStackStatus,
    memory: &mut Memory,
) -> Result<(metrics::Outcome, Action), Error> {
    let observation = observe::observe(ctx, stack, previous, memory).await;
    let owner = owner(ctx, stack);
    let since = stack.metadata.deletion_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |at| at.0);
    let deletion = Deletion { owner: &owner, policy: &stack.spec.policy.deletion, since };
    let mut planned = plan(&deletion, &observation.observed);
    log(&planned.plan);
    if planned.leaves_behind {
        let sql = leftovers(ctx, stack, &observation.observed, memory);
        report::left_behind(ctx, stack, &sql).await;
    }
    let tools = apply::Tools {
        ctx,
        stack,
        namespace: &owner.namespace,
        name: &owner.name,
        checked: None,
        owner: &owner,
        connection: observation.connection.as_ref(),
    };
    let mut applied = apply::apply(&tools, std::mem::take(&mut planned.plan), memory).await;
    if let Some(release) = planned.give_up(applied.done, observe::now()) {
        let sql = leftovers(ctx, stack, &observation.observed, memory);
        report::left_behind(ctx, stack, &sql).await;
        applied = apply::apply(&tools, release, memory).await;
    }
    if applied.released || !observation.observed.has_finalizer {
        ctx.memories.forget(&owner.uid);
        return Ok((metrics::Outcome::Applied, Action::await_change()));
    }
    let outcome = Outcome {
        holds: applied.holds.into_iter().map(|hold| deleting(hold, planned.until)).collect(),
        ..Outcome::default()
    };
    let generation = stack.metadata.generation.unwrap_or(0);
    let status = status::derive(previous, generation, &outcome, observe::now());
    report::patch_status(ctx, stack, previous, &status, memory).await?;
    memory.distrust_catalogue();
    Ok(requeue::after(ctx, stack, &outcome, applied.done, memory))
}

/// Whatever a deletion meets, it is retried until its bound, so none of it is permanent.
fn deleting(hold: Hold, bound: Timestamp) -> Hold {
    let until = hold.until.or_else(|| (observe::now() < bound).then_some(bound));
    let hint = match hold.reason {
        Reason::Deleting => hold.hint,
        other => format!("{} ({})", hold.hint, other.as_str()),
    };
    Hold { stage: ConditionType::AccessReady, reason: Reason::Deleting, hint, until, ..hold }
}

/// SQL that removes what is left: every user and role that the stack is known to have had.
fn leftovers(ctx: &Context, stack: &AnalyticsStack, observed: &Observed, memory: &Memory) -> String {
    // The rules may have changed since; names do not depend on them.
    let open = Rules { allow_inline_clickhouse: true, ..Rules::default() };
    let Ok(checked): Result<Stack, _> = validate(stack, &open, Found::default()) else {
        return String::new();
    };
    let desired = build_desired(&checked, &owner(ctx, stack), observed);
    let mut known = known_users(&checked, &observed.status, observed.jobs.keys());
    known.extend(memory.proven.keys().cloned());
    access::leftovers_sql(&own_leftovers(&observed.status, access::leftovers(&desired.access, &known)))
}

/// Without what is known to be somebody else's, and without roles where some may have been given away. Where status has no
/// room for all of that, nothing is named.
fn own_leftovers(status: &AnalyticsStackStatus, mut leftovers: Vec<access::Action>) -> Vec<access::Action> {
    if status.last_handled_adopt.is_some() {
        leftovers.retain(|action| matches!(action, access::Action::DropUser(_)));
    }
    let Some(adoption) = &status.adoption else { return leftovers };
    let is_others = |action: &access::Action| {
        let target = action.target().map(|entity| entity.to_string());
        adoption.entities.iter().any(|listed| Some(&listed.entity) == target.as_ref())
    };
    leftovers.retain(|action| adoption.omitted.is_none() && !is_others(action));
    leftovers
}

/// Users that there are without their Secrets, which a foreground deletion takes first: those that status and the Jobs
/// name, and the first generation of each.
fn known_users<'a>(
    stack: &Stack,
    status: &AnalyticsStackStatus,
    jobs: impl Iterator<Item = &'a String>,
) -> BTreeSet<String> {
    let names = &stack.clickhouse.names;
    let migrations = stack.child_name("migrate-");
    let mut users: BTreeSet<_> =
        status.users.iter().filter_map(|credential| credential.user.clone()).collect();
    users.insert(names.ingest_user(1));
    users.extend(stack.readers.iter().map(|reader| names.reader_user(&reader.name, 1)));
    let runs = jobs.filter_map(|job| job.strip_prefix(&migrations));
    users.extend(runs.map(|run| names.migrate_user(run)));
    users
}

#[cfg(test)]
mod tests {
    use weir_crds::CredentialStatus;

    use super::*;
    use crate::controller::fixture;

    #[test]
    fn what_is_left_behind_never_names_what_belongs_to_another_stack() {
        let action = |role: &str| access::Action::DropRole(role.into());
        let leftovers = vec![action("own"), action("theirs")];
        let listed = weir_crds::AdoptedEntity { entity: "role theirs".into(), ..Default::default() };
        let adoption = weir_crds::AdoptionStatus { entities: vec![listed], ..Default::default() };
        let mut status = AnalyticsStackStatus { adoption: Some(adoption), ..Default::default() };
        assert_eq!(own_leftovers(&status, leftovers.clone()), [action("own")]);
        status.adoption.as_mut().unwrap().omitted = Some(1);
        assert_eq!(own_leftovers(&status, leftovers.clone()), []);
        assert_eq!(own_leftovers(&AnalyticsStackStatus::default(), leftovers.clone()), leftovers);
        let gave = AnalyticsStackStatus { last_handled_adopt: Some("hash".into()), ..Default::default() };
        let user = access::Action::DropUser("user".into());
        assert_eq!(own_leftovers(&gave, vec![user.clone(), action("given")]), [user]);
    }

    #[test]
    fn users_are_known_without_their_secrets() {
        let credential = CredentialStatus {
            name: "grafana".into(),
            generation: 3,
            secret_name: "store-user-grafana".into(),
            user: Some("weir_retail__store_reader_grafana_g3".into()),
            proven_at: None,
            step: None,
            next_rotation_at: None,
        };
        let status = AnalyticsStackStatus { users: vec![credential], ..AnalyticsStackStatus::default() };
        let jobs = ["store-migrate-0a1b2c3d".to_owned()];
        let expected = ["ingest_g1", "migrate_0a1b2c3d", "reader_grafana_g1", "reader_grafana_g3"];
        let expected = expected.map(|user| format!("weir_retail__store_{user}"));
        assert_eq!(known_users(&fixture::checked(), &status, jobs.iter()), expected.into());
    }
}
