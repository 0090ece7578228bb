//! Phases of rotation: what was revoked goes first, a new generation is published behind the rollout, old ones end last.

use std::collections::BTreeSet;

use k8s_openapi::jiff::Timestamp;
use weir_crds::{ConditionType, Reason};

use super::access::{generate, ingest_user, let_in, publish, soon, tell, unread_keys};
use super::lag::is_lagging;
use super::{Action, Hold, Steps, View, supplied, written_ahead};
use crate::access;
use crate::controller::consumers::Consumers;
use crate::controller::credential::{Credential, Origin, Value};
use crate::controller::rotation::{self, Cause, Retirement};
use crate::controller::supply::Source;

/// When ClickHouse refuses a generation.
pub(super) struct End {
    pub(super) generation: i64,
    pub(super) at: Timestamp,
}

/// Starts what is to be revoked, and refuses what was, before anything else is looked at: neither ClickHouse nor the
/// registry nor a rollout can hold it up.
pub(super) fn revocations(view: &View<'_>, steps: &mut Steps) {
    let mut started = None;
    for credential in &view.desired.credentials {
        if let Some(value) = to_be_revoked(view, credential) {
            if let Some(hold) = without_successor(view, credential, credential.next) {
                steps.hold(hold);
                continue;
            }
            let cause = (Cause::Revoke(value), supplied::origin_of_revocation(credential));
            let action = generate(credential, credential.next, cause, None);
            steps.act(ConditionType::CredentialsReady, action);
            started = Some(credential.secret_of(credential.next));
        }
    }
    if let Some(secret) = started {
        return steps.hold(written_ahead(&secret));
    }
    if !is_revoking(view) {
        return;
    }
    for child in &view.desired.config {
        steps.apply(ConditionType::CredentialsReady, child, view.observed);
    }
    if unread_keys(view).is_some() {
        tell(view, steps);
    }
    // Behind the keys: ending a user's queries can take seconds.
    if let Ok(catalogue) = &view.observed.catalogue {
        let actions = access::revocations(&view.desired.access, catalogue, &revoked_users(view));
        for action in actions {
            steps.act(ConditionType::CredentialsReady, Action::Access(action));
        }
    }
}

fn is_revoking(view: &View<'_>) -> bool {
    let request = view.stack.requests.revoke.as_ref().map(|request| &request.value);
    request.is_some() && request != view.observed.status.last_handled_revoke.as_ref()
}

fn to_be_revoked(view: &View<'_>, credential: &Credential) -> Option<String> {
    let request = view.stack.requests.revoke.as_ref().filter(|request| request.concerns(credential))?;
    let is_started =
        |value: &str| credential.generations().any(|known| known.cause == Cause::Revoke(value.to_owned()));
    let has_value = credential.value().is_some();
    (is_revoking(view) && has_value && !is_started(&request.value)).then(|| request.value.clone())
}

fn revoked_users(view: &View<'_>) -> BTreeSet<String> {
    let replaced = |credential: &&Credential| {
        let newest = credential.value();
        newest.is_some_and(|newest| {
            newest.is_barrier() || without_successor(view, credential, newest.generation).is_none()
        })
    };
    let users = view.desired.credentials.iter().filter(replaced).flat_map(|credential| {
        let below = rotation::revoked_below(credential);
        (1..below).filter_map(|generation| credential.user_of(view.stack, generation))
    });
    users.collect()
}

/// What keeps a login from being revoked: while names in ClickHouse are not the stack's own, no user can be made in its place,
/// and its pods would be locked out. An ingestion key needs no ClickHouse.
fn without_successor(view: &View<'_>, credential: &Credential, generation: i64) -> Option<Hold> {
    let catalogue = view.observed.catalogue.as_ref().ok().filter(|_| credential.is_login())?;
    let exists = |user: String| catalogue.users.contains_key(&user);
    if credential.user_of(view.stack, generation).is_some_and(exists) {
        return None;
    }
    let conflict = access::plan(&view.desired.access, catalogue).conflicts.into_iter().next()?;
    Some(Hold {
        stage: ConditionType::CredentialsReady,
        object: format!("Secret/{}", credential.published),
        reason: Reason::Waiting,
        hint: format!(
            "weir.dev/revoke waits for this login: no user can take its place while {conflict}; to end it at once, drop the user in ClickHouse"
        ),
        blocks: false,
        until: None,
    })
}

/// Value of the request to revoke, once every pod and ClickHouse refuse what it names.
pub(crate) fn handled_revoke(view: &View<'_>) -> Option<String> {
    let request = view.stack.requests.revoke.as_ref()?;
    let Ok(catalogue) = &view.observed.catalogue else { return None };
    let is_done = |credential: &Credential| {
        let is_started =
            credential.generations().any(|value| value.cause == Cause::Revoke(request.value.clone()));
        let is_refused = if credential.is_login() {
            let below = 1..rotation::revoked_below(credential);
            let mut users = below.filter_map(|generation| credential.user_of(view.stack, generation));
            users.all(|user| {
                let is_others = catalogue.is_of_another(&view.observed.owner, &access::Entity::user(&user));
                is_others || !catalogue.users.contains_key(&user)
            })
        } else {
            unread_keys(view).is_none()
        };
        is_started && is_refused
    };
    let mut concerned =
        view.desired.credentials.iter().filter(|credential| request.concerns(credential)).peekable();
    (concerned.peek().is_some() && concerned.all(is_done)).then(|| request.value.clone())
}

/// Value of the request to rotate, once every credential that it names has a generation made for it.
pub(crate) fn handled_rotate(view: &View<'_>) -> Option<String> {
    let request = view.stack.requests.rotate.as_ref()?;
    let is_made = |credential: &Credential| {
        credential.generations().any(|value| value.cause == Cause::Rotate(request.value.clone()))
    };
    let mut concerned =
        view.desired.credentials.iter().filter(|credential| request.concerns(credential)).peekable();
    (concerned.peek().is_some() && concerned.all(is_made)).then(|| request.value.clone())
}

/// Publishes new generations, starts those that are due, and lets old ones end. Only reached when nothing else is going
/// on: no rollout, no migration, nothing that somebody has to mend.
pub(super) fn turn(view: &View<'_>, steps: &mut Steps) {
    for credential in &view.desired.credentials {
        let replaced = advance(view, credential, steps);
        expire(view, credential, replaced, steps);
    }
    for credential in &view.desired.credentials {
        start(view, credential, steps);
    }
    for credential in &view.desired.credentials {
        supplied::withdraw(view, credential, steps);
        wait(view, credential, steps);
    }
    stuck(view, steps);
}

/// Publishes the newest generation in place of the one that consumers have, and says when that one is to end.
fn advance(view: &View<'_>, credential: &Credential, steps: &mut Steps) -> Option<End> {
    let (newest, current) = (credential.value()?, rotation::current(credential)?);
    if newest.generation == current.generation {
        return None;
    }
    if !credential.is_login() {
        if let Some(hold) = unread_keys(view) {
            steps.hold(Hold { blocks: false, ..hold });
            return None;
        }
    } else if view.observed.catalogue.is_err() || is_lagging(view) {
        // The login changes when it was proven on every endpoint.
        return None;
    }
    publish(view, credential, newest, steps);
    let policy = rotation::policy(view.stack, credential).filter(|_| current.expires_at.is_none())?;
    Some(End { generation: current.generation, at: rotation::cap(view.observed.now, policy) })
}

fn start(view: &View<'_>, credential: &Credential, steps: &mut Steps) {
    if credential.is_login() && (view.observed.catalogue.is_err() || is_lagging(view)) {
        return;
    }
    let Some(policy) = rotation::policy(view.stack, credential) else { return };
    let handled = view.observed.status.last_handled_rotate.as_ref();
    let request = view.stack.requests.rotate.as_ref();
    let request = request.filter(|request| request.concerns(credential) && handled != Some(&request.value));
    let now = view.observed.now;
    let due = rotation::due(credential, policy, request, &view.stack.uid, now);
    // A revocation is over before anything takes the place of what it stands for: the same request would revoke that too.
    if due.is_some() && credential.value().is_some_and(Value::is_barrier) && is_revoking(view) {
        return steps.hold(supplied::after_revocation(credential, soon(view)));
    }
    let generate = |cause| match &credential.source {
        Source::Generated => Some(generate(credential, credential.next, (cause, Origin::Generated), None)),
        Source::Supplied(_) => supplied::take_up(view, credential, credential.next, cause),
    };
    match due.and_then(generate) {
        Some(action) => steps.act(ConditionType::CredentialsReady, action),
        None => supplied::answer(credential, request, steps),
    }
}

/// Lets ClickHouse refuse every old login at its cap, and the one that was replaced in this pass: it ends also when no
/// other pass follows. Behind the switch, since an end that was set before it would lock out everybody if it never came to
/// the switch. Cut off in between, the next pass sets it.
fn expire(view: &View<'_>, credential: &Credential, replaced: Option<End>, steps: &mut Steps) {
    let Some(policy) = rotation::policy(view.stack, credential) else { return };
    let Ok(catalogue) = &view.observed.catalogue else { return };
    let is_unmarked = |value: &&Value| value.expires_at.is_none() && !value.is_barrier();
    let is_kept = |value: &&Value| view.desired.retirements.keeps(credential, value.generation);
    let end_of = |value: &Value| {
        let at = rotation::cap_of(credential, value.generation, policy)?;
        Some(End { generation: value.generation, at })
    };
    let has_user = |end: &End| {
        let user = credential.user_of(view.stack, end.generation);
        user.is_some_and(|user| catalogue.users.contains_key(&user))
    };
    let older = credential.older.iter().filter(is_unmarked).filter(is_kept).filter_map(end_of);
    let ends: Vec<_> = older.chain(replaced).filter(has_user).collect();
    for action in supplied::ends(view, credential, &ends) {
        steps.act(ConditionType::AccessReady, Action::Access(action));
    }
    for End { generation, at } in ends {
        steps.act(ConditionType::AccessReady, Action::MarkExpiry(credential.secret_of(generation), at));
    }
}

/// Says why an old generation is still there, and when it is looked at again.
fn wait(view: &View<'_>, credential: &Credential, steps: &mut Steps) {
    for (generation, retirement) in view.desired.retirements.of(credential) {
        let (until, why) = match retirement {
            Retirement::Keep { until, why } => (Some(*until), why.clone()),
            Retirement::Gone => match let_in(view, credential, *generation) {
                Some(unread) => (unread.until, format!("{} may let it in still", unread.object)),
                None => continue,
            },
            Retirement::Ask => continue,
        };
        let is_barrier =
            credential.older.iter().any(|value| value.generation == *generation && value.is_barrier());
        if is_barrier || rotation::replaced_at(credential, *generation).is_none() {
            continue;
        }
        steps.hold(Hold {
            stage: ConditionType::CredentialsReady,
            object: format!("Secret/{}", credential.published),
            reason: Reason::Retiring,
            hint: format!("{} is replaced and ends later: {why}", named(view, credential, *generation)),
            blocks: false,
            until,
        });
    }
}

fn named(view: &View<'_>, credential: &Credential, generation: i64) -> String {
    let user = credential.user_of(view.stack, generation);
    if supplied::is_password(credential, generation) {
        let user = user.unwrap_or_default();
        return format!("the password of generation {generation}, user {user},");
    }
    user.map_or_else(
        || format!("generation {generation}"),
        |user| format!("generation {generation}, user {user},"),
    )
}

/// Names the pods that still log in as an older user.
fn stuck(view: &View<'_>, steps: &mut Steps) {
    let Consumers::Known(pods) = &view.observed.consumers else { return };
    let Some(user) = ingest_user(view) else { return };
    let is_older = |name: &str| !name.is_empty() && name != user;
    let behind = pods.iter().find(|pod| pod.is_behind(&|report| !is_older(&report.clickhouse_user)));
    let Some(pod) = behind else { return };
    tell(view, steps);
    steps.hold(Hold {
        stage: ConditionType::CredentialsReady,
        object: format!("Pod/{}", pod.pod),
        reason: Reason::Waiting,
        hint: format!("it does not log in to ClickHouse as {user} yet; the older user stays until it does, or until its cap"),
        blocks: false,
        until: soon(view),
    });
}
