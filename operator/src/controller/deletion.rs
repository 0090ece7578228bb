//! The pass of a stack that is being deleted.

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use kube::runtime::controller::Action;
use weir_crds::{AnalyticsStack, AnalyticsStackStatus, ConditionType, Reason};

use super::memory::Memory;
use super::observed::Observed;
use super::plan::Hold;
use super::plan::deletion::{Deletion, plan};
use super::stack::Stack;
use super::status::{Facts, Outcome};
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
    let deletion = Deletion {
        owner: &owner,
        policy: &stack.spec.policy.deletion,
        since,
        deployment: format!("{}-ingest", stack.name_any()),
    };
    let mut planned = plan(&deletion, &observation.observed);
    log(&planned.plan);
    if planned.leaves_behind {
        let sql = leftovers(ctx, stack, &observation.observed);
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
        let sql = leftovers(ctx, stack, &observation.observed);
        report::left_behind(ctx, stack, &sql).await;
        applied = apply::apply(&tools, release, memory).await;
    }
    if applied.released || !observation.observed.has_finalizer {
        ctx.memories.forget(&owner.uid);
        return Ok((metrics::Outcome::Applied, Action::await_change()));
    }
    let outcome = Outcome {
        holds: applied.holds.into_iter().map(|hold| deleting(hold, planned.until)).collect(),
        serves: false,
        facts: Facts::default(),
    };
    let generation = stack.metadata.generation.unwrap_or(0);
    let status = status::derive(previous, generation, &outcome, observe::now());
    report::patch_status(ctx, stack, previous, &status, memory).await?;
    memory.catalogue = None;
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

/// SQL that removes what is left: every user and role that the stack is known to have wanted.
fn leftovers(ctx: &Context, stack: &AnalyticsStack, observed: &Observed) -> String {
    // The rules may have changed since; names do not depend on them.
    let open = Rules { allow_inline_clickhouse: true, api_server_hosts: Vec::new() };
    let Ok(checked): Result<Stack, _> = validate(stack, &open, Found::default()) else {
        return String::new();
    };
    let desired = build_desired(&checked, &owner(ctx, stack), observed);
    access::leftovers_sql(&access::leftovers(&desired.access))
}
