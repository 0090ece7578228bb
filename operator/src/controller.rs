//! The reconcile of an `AnalyticsStack`: six steps, and what follows from how they ended.

mod apply;
mod child;
mod consumers;
mod context;
mod credential;
mod deletion;
mod desired;
#[cfg(test)]
mod fixture;
mod memory;
mod observe;
mod observed;
mod plan;
mod pod_report;
mod report;
mod requeue;
mod rotation;
mod stack;
mod status;
mod supply;
mod validate;
mod watch;
mod workload;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) use context::{Context, Settings, Shared};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use kube::ResourceExt as _;
use kube::runtime::controller::Action;
use memory::Memory;
use plan::{Hold, View};
use status::{AccessOrder, Adoptable, Facts, Handled, Outcome};
pub(crate) use validate::Rules;
use validate::{Found, Invalid, validate};
pub(crate) use watch::{Guarded, Scope, watch};
use weir_crds::{
    AnalyticsStack, AnalyticsStackStatus, ConditionType, DriftPolicy, SchemaStatus, SpoolStatus,
};

use crate::access::{self, Owner};
use crate::kubernetes;
use crate::metrics;

/// A pass that could not say how it ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Status could not be written.
    #[error("failed to report")]
    Report(#[from] kubernetes::Error),
    /// The pass took too long and was given up.
    #[error("the pass did not end within {}s", .0.as_secs())]
    Deadline(Duration),
    /// The process is ending.
    #[error("the watches ended")]
    Watches(#[from] kube::runtime::reflector::store::WriterDropped),
}

impl Error {
    const fn step(&self) -> &'static str {
        match self {
            Self::Report(_) => "report",
            Self::Deadline(_) => "deadline",
            Self::Watches(_) => "watch",
        }
    }
}

/// One pass over one stack.
pub(crate) async fn reconcile(guarded: Arc<Guarded>, ctx: Arc<Context>) -> Result<Action, Error> {
    ctx.stores.ready().await?;
    let stack = match &guarded.0 {
        Ok(stack) => stack,
        Err(invalid) => {
            ctx.metrics.error("deserialize");
            tracing::warn!(error = %invalid, "a stack cannot be read; it waits for an edit");
            return Ok(Action::await_change());
        }
    };
    let started = Instant::now();
    let memory = ctx.memories.of(&stack.uid().unwrap_or_default());
    let mut memory = memory.lock().await;
    let pass = Box::pin(pass(&ctx, stack, &mut memory));
    let Ok(ended) = tokio::time::timeout(ctx.settings.pass, pass).await else {
        ctx.metrics.pass(metrics::Outcome::Abandoned, started.elapsed());
        memory.distrust_catalogue();
        return Err(Error::Deadline(ctx.settings.pass));
    };
    let (outcome, action) = ended?;
    ctx.metrics.pass(outcome, started.elapsed());
    ctx.metrics.set_stacks(ctx.memories.count());
    Ok(action)
}

/// When a pass that failed as a whole is tried again.
#[expect(clippy::needless_pass_by_value, reason = "the runner hands the values over")]
pub(crate) fn error_policy(guarded: Arc<Guarded>, error: &Error, ctx: Arc<Context>) -> Action {
    ctx.metrics.error(error.step());
    tracing::warn!(error = error as &dyn std::error::Error, "a pass failed");
    let memory = ctx.memories.of(&guarded.uid().unwrap_or_default());
    let count = memory.try_lock().map_or(1, |mut memory| memory.fail(error.step().into()));
    Action::requeue(requeue::backoff(count))
}

async fn pass(
    ctx: &Context,
    stack: &AnalyticsStack,
    memory: &mut Memory,
) -> Result<(metrics::Outcome, Action), Error> {
    let previous = freshest_status(stack, memory);
    if stack.metadata.deletion_timestamp.is_some() {
        return deletion::pass(ctx, stack, &previous, memory).await;
    }
    let previous = begin(ctx, stack, previous, memory).await?;
    let (outcome, done) = match validate(stack, &ctx.settings.rules, Found::default()) {
        Err(problems) => (invalid(&problems), 0),
        Ok(_) => steps(ctx, stack, &previous, memory).await,
    };
    let generation = stack.metadata.generation.unwrap_or(0);
    let status = status::derive(&previous, generation, &outcome, observe::now());
    report::patch_status(ctx, stack, &previous, &status, memory).await?;
    for hold in &outcome.holds {
        ctx.metrics.hold(hold.reason.as_str());
    }
    Ok(requeue::after(ctx, stack, &outcome, done, memory))
}

/// The status to start from: the watch may lag behind what this process wrote last.
fn freshest_status(stack: &AnalyticsStack, memory: &Memory) -> AnalyticsStackStatus {
    let seen = stack.resource_version().and_then(|version| version.parse().ok()).unwrap_or(0_u64);
    match &memory.status {
        Some((version, status)) if *version > seen => status.clone(),
        Some(_) | None => stack.status.clone().unwrap_or_default(),
    }
}

/// Says at once that a new generation is being worked on, before anything takes time.
async fn begin(
    ctx: &Context,
    stack: &AnalyticsStack,
    previous: AnalyticsStackStatus,
    memory: &mut Memory,
) -> Result<AnalyticsStackStatus, Error> {
    let generation = stack.metadata.generation.unwrap_or(0);
    if previous.observed_generation == Some(generation) && !previous.conditions.is_empty() {
        return Ok(previous);
    }
    let serves = previous.replicas.unwrap_or(0) > 0;
    let status = status::begin(&previous, generation, serves, observe::now());
    report::patch_status(ctx, stack, &previous, &status, memory).await?;
    Ok(status)
}

fn invalid(problems: &[Invalid]) -> Outcome {
    let hold = |problem: &Invalid| Hold {
        stage: ConditionType::SpecValid,
        object: problem.field.into(),
        reason: Invalid::REASON,
        hint: problem.hint.clone(),
        blocks: true,
        until: None,
    };
    Outcome { holds: problems.iter().map(hold).collect(), ..Outcome::default() }
}

/// Observe, validate, desired, plan and apply; returns what to tell and how many steps were done.
async fn steps(
    ctx: &Context,
    stack: &AnalyticsStack,
    previous: &AnalyticsStackStatus,
    memory: &mut Memory,
) -> (Outcome, usize) {
    let observation = observe::observe(ctx, stack, previous, memory).await;
    let observed = &observation.observed;
    let found = Found { ca_pem: observation.ca_pem.clone(), image: observation.image.clone() };
    let checked = match validate(stack, &ctx.settings.rules, found) {
        Ok(checked) => checked,
        Err(problems) => return (invalid(&problems), 0),
    };
    let owner = owner(ctx, stack);
    let desired = build_desired(&checked, &owner, observed);
    let view = View { stack: &checked, desired: &desired, observed };
    let handled = Handled {
        rotate: plan::handled_rotate(&view),
        revoke: plan::handled_revoke(&view),
        adopt: plan::handled_adopt(&view),
    };
    let access = plan::access_order(&view);
    let contest = observed.catalogue.as_ref().ok().and_then(|found| contest(&desired, &owner, found));
    let repaired = plan::drift(&view);
    let repaired = (!repaired.is_empty() && checked.drift == DriftPolicy::Enforce)
        .then(|| plan::cause(&view, &repaired));
    let plan = plan::plan(&view);
    let adoption = adoptable(&view, &plan);
    log(&plan);
    let tools = apply::Tools {
        ctx,
        stack,
        namespace: &checked.namespace,
        name: &checked.name,
        checked: Some(&checked),
        owner: &owner,
        connection: observation.connection.as_ref(),
    };
    let applied = apply::apply(&tools, plan, memory).await;
    forget_stale_answers(&applied.holds, memory);
    if let Some(cause) = repaired.filter(|_| applied.done > 0) {
        report::repaired(ctx, stack, &cause).await;
    }
    report::adopted(ctx, stack, previous, handled.adopt.as_deref()).await;
    let facts = Facts { access, handled, adoption, ..facts(&checked, &desired, observed, &applied) };
    let serves = observed.available_pods() > 0;
    (Outcome { holds: applied.holds, serves, contest, facts }, applied.done)
}

/// Who else asks for what the stack has, and how.
fn contest(desired: &desired::Desired, owner: &Owner, catalogue: &access::Catalogue) -> Option<String> {
    let told = [access::told(owner, catalogue), access::contest(&desired.access, catalogue)];
    let told: Vec<_> = told.into_iter().flatten().collect();
    (!told.is_empty()).then(|| told.join("; "))
}

/// What status shows of what bears the stack's names and is not its own.
fn adoptable(view: &View<'_>, plan: &plan::Plan) -> Adoptable {
    let previous = view.observed.status.adoption.as_ref();
    // Looking through all claims is not for the passes of stacks that nothing is in the way of.
    if view.observed.catalogue.is_err() || previous.is_none() && !plan.is_in_conflict() {
        return Adoptable::Unknown;
    }
    let value = view.stack.requests.adopt.as_deref();
    plan::preview(view).map_or(Adoptable::Nothing, |preview| {
        Adoptable::Of(status::adoption::adoption_status(&preview, previous, value))
    })
}

fn build_desired(stack: &stack::Stack, owner: &Owner, observed: &observed::Observed) -> desired::Desired {
    let generations = observed::Generations { stack, observed };
    let credentials = credential::credentials(stack, &observed.secrets, &observed.supplied, &generations);
    let migrated = stack.image.as_ref().is_some_and(|image| observed.is_migrated(stack, image));
    let retirements = rotation::assess(stack, observed, &credentials);
    let secrets = &observed.secrets;
    let forms = &observed.forms;
    desired::desired(desired::Inputs { stack, owner, secrets, credentials, migrated, retirements, forms })
}

/// What ClickHouse said is asked again after a wait for access: it may have changed meanwhile.
fn forget_stale_answers(holds: &[Hold], memory: &mut Memory) {
    let concerns_access = |hold: &Hold| {
        // An endpoint that lags behind need not block.
        let asks = hold.blocks && !hold.object.starts_with("Pod/");
        (asks || hold.object.starts_with("ClickHouse/"))
            && matches!(hold.stage, ConditionType::AccessReady | ConditionType::CredentialsReady)
    };
    if holds.iter().any(concerns_access) {
        memory.distrust_catalogue();
    }
}

fn owner(ctx: &Context, stack: &AnalyticsStack) -> Owner {
    Owner {
        cluster_id: ctx.settings.cluster_id.clone(),
        namespace: stack.namespace().unwrap_or_default(),
        name: stack.name_any(),
        uid: stack.uid().unwrap_or_default(),
    }
}

fn log(plan: &plan::Plan) {
    let steps = plan.summary();
    if !steps.is_empty() {
        tracing::info!(steps = steps.join("; "), "plan");
    }
}

fn facts(
    stack: &stack::Stack,
    desired: &desired::Desired,
    observed: &observed::Observed,
    applied: &apply::Applied,
) -> Facts {
    let (keys, users) = status::credential_status(stack, &desired.credentials);
    let selector = desired::metadata::selector_labels(stack, desired::metadata::Component::Ingest);
    // A database that is gone takes what is remembered of its migrations along.
    let is_forgotten = observed.status.schema.is_some() && observed.has_lost_database(stack);
    let schema = if is_forgotten { Some(SchemaStatus::default()) } else { applied.schema.clone() };
    Facts {
        image: observed.image.clone().ok(),
        database: Some(stack.clickhouse.names.database.clone()),
        url: Some(stack.url()),
        keys: Some(keys),
        users: Some(users),
        access: AccessOrder::Unknown,
        handled: Handled::default(),
        adoption: Adoptable::Unknown,
        schema,
        spool: spool_status(stack, observed),
        replicas: Some(observed.ready_pods()),
        selector: Some(
            selector.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(","),
        ),
    }
}

/// Claims are noted as soon as pods have them, and told as long as there ever were some.
fn spool_status(stack: &stack::Stack, observed: &observed::Observed) -> Option<SpoolStatus> {
    let claims = observed.spool_claims(stack);
    (claims > 0 || observed.status.spool.is_some()).then_some(SpoolStatus { claims })
}

/// Renders the pods of a stack, for `render`: those of ingest, of the migration and of a drain.
pub(crate) fn render_pods(
    stack: &AnalyticsStack,
    pinned: &str,
    ca_pem: Option<&str>,
) -> Result<[PodTemplateSpec; 3], Vec<String>> {
    let rules = Rules { allow_inline_clickhouse: true, ..Rules::default() };
    let requested = stack.spec.ingest.image.reference.clone();
    let image = stack::Image { requested, pinned: pinned.into(), resolved_at: None };
    let found = Found { ca_pem: ca_pem.map(str::to_owned), image: Some(image.clone()) };
    let checked = validate(stack, &rules, found).map_err(|problems| {
        problems.into_iter().map(|problem| format!("{}: {}", problem.field, problem.hint)).collect::<Vec<_>>()
    })?;
    let template = |job: Job| job.spec.unwrap_or_default().template;
    Ok([
        desired::workload::pod_template(&checked, &image),
        template(desired::migration::job(&checked, &image)),
        template(desired::spool::drain(&checked, &image, 0)),
    ])
}
