//! Phases of access: what is missing in ClickHouse, credentials, and at the end what is too much.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use weir_crds::{ConditionType, DriftPolicy, Reason};

use super::adoption;
use super::drift;
use super::lag::{self, is_lagging};
use super::narrowing;
use super::{Action, Generate, Hold, Proof, Steps, View, is_established, supplied, written_ahead};
use crate::access;
use crate::controller::child::{Child, ChildKey, ChildKind, is_settled};
use crate::controller::consumers::{Consumer, Consumers, Report};
use crate::controller::credential::{Credential, Origin, State, Use, Value, text};
use crate::controller::desired::secret;
use crate::controller::rotation::{self, Cause};

/// Time after which pods are asked again what they read.
const READ_INTERVAL: SignedDuration = SignedDuration::from_secs(1);
/// Time after which a pod that has not read what it was told to is told again.
const TELL_INTERVAL: SignedDuration = SignedDuration::from_secs(5);

/// Adds what is missing in ClickHouse.
pub(super) fn additions(view: &View<'_>, steps: &mut Steps) {
    let Ok(catalogue) = &view.observed.catalogue else { return };
    if drift::is_left(view, steps) {
        return;
    }
    let access = &view.desired.access;
    let planned = access::plan(access, catalogue);
    let settled = planned.actions.is_empty() && planned.conflicts.is_empty();
    for action in planned.actions {
        steps.act(ConditionType::AccessReady, Action::Access(action));
    }
    // One preview for all conflicts: it is planned from everything that the stack wants.
    let preview = if planned.conflicts.is_empty() { None } else { adoption::preview(view) };
    for conflict in planned.conflicts {
        steps.hold(adoption::conflict(view, &conflict, preview.as_ref()));
    }
    narrowing::waits(view, steps);
    if settled {
        lag::waits(view, steps);
    }
}

/// Writes credentials ahead, keeps what is published, writes what the pods mount, and publishes what nobody has yet.
pub(super) fn credentials(view: &View<'_>, steps: &mut Steps) {
    let mut missing = None;
    for credential in &view.desired.credentials {
        match &credential.state {
            State::Missing { generation } if supplied::is_supplied(credential) => {
                if let Some(action) = supplied::take_up(view, credential, *generation, Cause::First) {
                    missing = missing.or(Some(&credential.pending));
                    steps.act(ConditionType::CredentialsReady, action);
                }
            }
            State::Missing { generation } => {
                missing = missing.or(Some(&credential.pending));
                steps.act(
                    ConditionType::CredentialsReady,
                    generate(credential, *generation, (Cause::First, Origin::Generated), None),
                );
            }
            State::Unbacked(value) => {
                let backing = secret::ahead(view.stack, &credential.name, value);
                steps.act(ConditionType::CredentialsReady, Action::Create(Child::Secret(Box::new(backing))));
            }
            State::Pending(_) => {}
        }
    }
    if let Some(pending) = missing {
        return steps.hold(written_ahead(pending));
    }
    supplied::faults(view, steps);
    let (logins, keys): (Vec<_>, Vec<_>) =
        view.desired.credentials.iter().partition(|credential| credential.is_login());
    for login in logins {
        publish_first(view, login, steps);
    }
    // The pods learn of a key before anybody can use it.
    for child in &view.desired.config {
        steps.apply(ConditionType::WorkloadReady, child, view.observed);
    }
    let unread = unread_keys(view);
    if unread.is_some() {
        tell(view, steps);
    }
    for key in keys {
        if rotation::current(key).is_some() || unread.is_none() {
            publish_first(view, key, steps);
        }
    }
}

/// Keeps the published generation, or publishes the first one. A newer one waits for its turn, behind the rollout.
fn publish_first(view: &View<'_>, credential: &Credential, steps: &mut Steps) {
    let is_first = |value: &&Value| rotation::current(credential).is_none() && !value.is_barrier();
    let first = || credential.value().filter(is_first);
    if let Some(value) = rotation::current(credential).or_else(first) {
        publish(view, credential, value, steps);
    }
}

/// Waits for pods that would refuse a new key. Behind the rollout, so that pods that read nothing any more can be replaced.
pub(super) fn unread(view: &View<'_>, steps: &mut Steps) {
    let is_new = |credential: &Credential| {
        let is_value = credential.value().is_some_and(|value| !value.is_barrier());
        !credential.is_login() && is_value && rotation::current(credential).is_none()
    };
    if view.desired.credentials.iter().any(is_new)
        && let Some(hold) = unread_keys(view)
    {
        steps.hold(hold);
    }
}

/// The first pod that has not read the keys as they should be, as a wait.
pub(super) fn unread_keys(view: &View<'_>) -> Option<Hold> {
    match &view.observed.consumers {
        Consumers::Unasked => None,
        Consumers::Unknown(fault) => Some(Hold { until: soon(view), ..Hold::from_fault(fault, true) }),
        Consumers::Known(pods) => {
            let pod = pods.iter().find(|pod| pod.is_behind(&|report| has_read_keys(view, report)))?;
            let hint = if pod.report.is_some() {
                "it has not read the new ingestion keys yet; they are published when every pod accepts them"
            } else {
                "it does not say which ingestion keys it reads; the operator must reach its port 9090"
            };
            Some(Hold {
                stage: ConditionType::CredentialsReady,
                object: format!("Pod/{}", pod.pod),
                reason: Reason::Waiting,
                hint: hint.into(),
                blocks: true,
                until: soon(view),
            })
        }
    }
}

/// The first pod that may let an old key in although that is over: it has not read so yet, and the cap, which pods know,
/// is to come. Until then the old key counts: without its Secret nobody would tell such a pod again.
pub(super) fn let_in(view: &View<'_>, credential: &Credential, generation: i64) -> Option<Hold> {
    let policy = rotation::policy(view.stack, credential).filter(|_| !credential.is_login())?;
    let end = rotation::cap_of(credential, generation, policy);
    unread_keys(view).filter(|_| end.is_none_or(|end| view.observed.now < end))
}

fn has_read_keys(view: &View<'_>, report: &Report) -> bool {
    report.keys == view.desired.keys.generation
}

/// The user that the ingest pods should log in as.
pub(super) fn ingest_user(view: &View<'_>) -> Option<String> {
    let ingest = view.desired.credentials.iter().find(|credential| credential.purpose == Use::Ingest)?;
    ingest.user_of(view.stack, rotation::current(ingest)?.generation)
}

pub(super) fn soon(view: &View<'_>) -> Option<Timestamp> {
    view.observed.now.checked_add(READ_INTERVAL).ok()
}

/// Tells the pods that have not read what is mounted to do so, and again when the kubelet was faster than its own view of
/// the Secret.
pub(super) fn tell(view: &View<'_>, steps: &mut Steps) {
    let Consumers::Known(pods) = &view.observed.consumers else { return };
    let now = view.observed.now;
    let user = ingest_user(view);
    let wanted = format!("{:x}.{}", view.desired.keys.generation, user.as_deref().unwrap_or_default());
    let was_told = |pod: &Consumer| {
        let Some((what, at)) = pod.told.as_deref().and_then(|told| told.split_once('@')) else {
            return false;
        };
        let at = at.parse().ok().and_then(|at| Timestamp::from_second(at).ok());
        what == wanted && at.is_some_and(|at| now.duration_since(at) < TELL_INTERVAL)
    };
    let has_read = |report: &Report| {
        has_read_keys(view, report) && user.as_ref().is_none_or(|user| report.clickhouse_user == *user)
    };
    let is_up_to_date = |pod: &Consumer| pod.report.as_ref().is_some_and(has_read);
    let behind: Vec<_> =
        pods.iter().filter(|pod| !is_up_to_date(pod) && !was_told(pod)).map(|pod| pod.pod.clone()).collect();
    if !behind.is_empty() {
        let what = format!("{wanted}@{}", now.as_second());
        steps.act(ConditionType::CredentialsReady, Action::Tell(behind, what));
    }
}

/// The action that generates a credential.
pub(super) fn generate(
    credential: &Credential,
    generation: i64,
    (cause, origin): (Cause, Origin),
    migration_user: Option<String>,
) -> Action {
    let key = match &credential.purpose {
        Use::Key(_, key_type) => Some(*key_type),
        Use::Ingest | Use::Migrate(_) | Use::Reader(_) => None,
    };
    let secret = match &credential.purpose {
        Use::Migrate(_) => credential.pending.clone(),
        Use::Ingest | Use::Reader(_) | Use::Key(..) => credential.secret_of(generation),
    };
    let credential = credential.name.clone();
    Action::Generate(Generate { secret, credential, generation, cause, origin, migration_user, key })
}

/// Proves, applies and marks one generation.
pub(super) fn publish(view: &View<'_>, credential: &Credential, value: &Value, steps: &mut Steps) {
    let stage = ConditionType::CredentialsReady;
    let Some(secret) = secret::published(view.stack, credential, value) else { return };
    let child = Child::Secret(Box::new(secret));
    let key = child.key();
    let observed = view.observed;
    let settled = is_settled(&child.hash(), observed.live.get(&key), observed.applied.get(&key));
    if credential.is_login() && observed.catalogue.is_ok() {
        // A proof asks every endpoint, so it waits while one is away.
        if !is_lagging(view) || !is_established(view) {
            supplied::install(view, credential, value, steps);
            prove(view, credential, value, settled, steps);
        }
    } else if credential.is_login() && leads_elsewhere(view, &child) {
        return steps.hold(unproven(credential));
    }
    steps.apply(stage, &child, observed);
    if value.published_at.is_none() {
        let (secret, published) = (credential.secret_of(value.generation), credential.published.clone());
        steps.act(stage, Action::MarkPublished { secret, published });
    }
}

/// Whether the live Secret names another server than the one that would be published.
fn leads_elsewhere(view: &View<'_>, child: &Child) -> bool {
    let Child::Secret(wanted) = child else { return false };
    let Some(live) = view.observed.secrets.get(&child.key().name) else { return false };
    ["url", "database", "ca.crt"].iter().any(|field| text(live, field) != text(wanted, field))
}

fn unproven(credential: &Credential) -> Hold {
    Hold {
        stage: ConditionType::CredentialsReady,
        object: format!("Secret/{}", credential.published),
        reason: Reason::Waiting,
        hint: "the login changes when it was proven, which needs a ClickHouse that answers".into(),
        blocks: false,
        until: None,
    }
}

/// Proves a login that is about to be published, changed, or has not been proven lately.
pub(super) fn prove(
    view: &View<'_>,
    credential: &Credential,
    value: &Value,
    settled: bool,
    steps: &mut Steps,
) {
    let stage = ConditionType::CredentialsReady;
    let Some(user) = credential.user_of(view.stack, value.generation) else { return };
    let is_new = value.published_at.is_none() && !settled;
    let is_touched = steps.steps.iter().any(|step| step.makes_user(&user));
    if view.observed.proven.contains(&user) && !is_new && !is_touched {
        return;
    }
    // Somebody may have changed the password of a user that is ours; the next attempt gives it back first.
    if view.observed.refused.contains(&user)
        && !is_touched
        && let Ok(catalogue) = &view.observed.catalogue
        && let Some(action) = access::restore_login(&view.desired.access, catalogue, &user)
    {
        steps.act(stage, Action::Access(action));
    }
    let required = view.desired.access.required(&user);
    steps.act(stage, Action::Prove(Proof { user, password: value.secret.clone(), required }));
}

/// Takes what nothing needs any more, once the pods are proven.
pub(super) fn surplus(view: &View<'_>, steps: &mut Steps) {
    let Ok(catalogue) = &view.observed.catalogue else { return };
    // Where a newer login may be missing, an older one may be in use.
    let is_left = view.stack.drift != DriftPolicy::Enforce && !drift::drift(view).is_empty();
    if is_lagging(view) || is_left {
        return;
    }
    let mut actions = access::surplus(&view.desired.access, catalogue);
    actions.extend(access::settlement(&view.desired.access, catalogue));
    actions.extend(access::settled(&view.observed.owner, catalogue));
    for action in actions {
        if let Some(action) = not_done_yet(action, steps) {
            steps.act(ConditionType::AccessReady, Action::Access(action));
        }
    }
}

/// What is left of an action behind a revocation, which drops the same users in the same pass. To drop one again after its
/// claim was given up could hit whoever claimed the name since.
fn not_done_yet(action: access::Action, steps: &Steps) -> Option<access::Action> {
    let planned = |wanted: &dyn Fn(&access::Action) -> bool| {
        steps
            .steps
            .iter()
            .any(|step| matches!(step, super::Step::Do(_, Action::Access(done)) if wanted(done)))
    };
    match action {
        access::Action::CloseIntents(mut intents) => {
            intents.retain(|intent| {
                !planned(
                    &|done| matches!(done, access::Action::CloseIntents(closed) if closed.contains(intent)),
                )
            });
            (!intents.is_empty()).then_some(access::Action::CloseIntents(intents))
        }
        action => (!planned(&|done| *done == action)).then_some(action),
    }
}

/// Secrets that credentials are kept in.
pub(super) fn secret_keys(view: &View<'_>) -> Vec<ChildKey> {
    let mut keys = Vec::new();
    for credential in &view.desired.credentials {
        keys.push(ChildKey::new(ChildKind::Secret, &credential.published));
        keys.push(ChildKey::new(ChildKind::Secret, &credential.pending));
        let is_kept = |value: &&Value| {
            let is_due = !view.desired.retirements.keeps(credential, value.generation);
            !is_due
                || supplied::is_left(view, credential, value)
                || let_in(view, credential, value.generation).is_some()
        };
        let kept = credential.older.iter().filter(is_kept).map(|value| value.generation);
        keys.extend(
            kept.map(|generation| ChildKey::new(ChildKind::Secret, credential.secret_of(generation))),
        );
    }
    keys
}
