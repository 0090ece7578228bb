//! Phases of access: what is missing in ClickHouse, credentials, and at the end what is too much.

use k8s_openapi::jiff::SignedDuration;
use secrecy::ExposeSecret as _;
use weir_crds::{ConditionType, Reason};

use super::{Action, Generate, Hold, Proof, Steps, View, is_established, written_ahead};
use crate::access;
use crate::controller::child::{Child, ChildKey, ChildKind, is_settled};
use crate::controller::credential::{Credential, State, Use, text};
use crate::controller::desired::secret;
use crate::controller::observed::Observed;
use crate::controller::stack::Stack;

/// Time for which an older generation stays after a newer one was published, so that every mount has turned over.
const RETIREMENT: SignedDuration = SignedDuration::from_mins(10);

/// Time after which an endpoint that lags behind is asked again.
const LAG_INTERVAL: SignedDuration = SignedDuration::from_secs(30);

/// Adds what is missing in ClickHouse.
pub(super) fn additions(view: &View<'_>, steps: &mut Steps) {
    let Ok(catalogue) = &view.observed.catalogue else { return };
    let access = &view.desired.access;
    let planned = access::plan(access, catalogue);
    let settled = planned.actions.is_empty() && planned.conflicts.is_empty();
    for action in planned.actions {
        steps.act(ConditionType::AccessReady, Action::Access(action));
    }
    for conflict in planned.conflicts {
        steps.hold(Hold {
            stage: ConditionType::AccessReady,
            object: format!("ClickHouse/{}", conflict.entity),
            reason: Reason::OwnershipConflict,
            hint: conflict.hint(),
            blocks: true,
            until: None,
        });
    }
    for (endpoint, error) in if settled { catalogue.lagging(access) } else { Vec::new() } {
        let reason = error.as_ref().map_or(Reason::Waiting, crate::clickhouse::Error::reason);
        let hint = error.map_or_else(
            || "this endpoint does not show all users, roles and grants yet; access entities must be replicated".into(),
            |error| error.hint(),
        );
        let until = view.observed.now.checked_add(LAG_INTERVAL).ok();
        steps.hold(Hold {
            stage: ConditionType::AccessReady,
            object: format!("ClickHouse/{endpoint}"),
            reason,
            hint,
            // What was proven on every endpoint before is kept while one is away.
            blocks: !is_established(view),
            until,
        });
    }
}

/// Writes credentials ahead, proves logins, writes what the pods mount, publishes.
pub(super) fn credentials(view: &View<'_>, steps: &mut Steps) {
    let mut missing = None;
    for credential in &view.desired.credentials {
        match &credential.state {
            State::Missing { generation } => {
                missing = missing.or(Some(&credential.pending));
                steps.act(ConditionType::CredentialsReady, generate(credential, *generation, None));
            }
            State::Unbacked(value) => {
                let backing = secret::pending(
                    view.stack,
                    credential.pending.clone(),
                    value.generation,
                    value.secret.expose_secret(),
                );
                steps.act(ConditionType::CredentialsReady, Action::Create(Child::Secret(Box::new(backing))));
            }
            State::Pending(_) => {}
        }
    }
    if let Some(pending) = missing {
        return steps.hold(written_ahead(pending));
    }
    let (logins, keys): (Vec<_>, Vec<_>) =
        view.desired.credentials.iter().partition(|credential| credential.is_login());
    for login in logins {
        publish(view, login, steps);
    }
    // The pods learn of a key before anybody can use it.
    for child in &view.desired.config {
        steps.apply(ConditionType::WorkloadReady, child, view.observed);
    }
    for key in keys {
        publish(view, key, steps);
    }
}

/// The action that generates a credential.
pub(super) fn generate(credential: &Credential, generation: i64, migration_user: Option<String>) -> Action {
    let key = match &credential.purpose {
        Use::Key(_, key_type) => Some(*key_type),
        Use::Ingest | Use::Migrate(_) | Use::Reader(_) => None,
    };
    Action::Generate(Generate { secret: credential.pending.clone(), generation, migration_user, key })
}

fn publish(view: &View<'_>, credential: &Credential, steps: &mut Steps) {
    let stage = ConditionType::CredentialsReady;
    let (Some(value), Some(secret)) = (credential.value(), secret::published(view.stack, credential)) else {
        return;
    };
    let child = Child::Secret(Box::new(secret));
    let key = child.key();
    let observed = view.observed;
    let settled = is_settled(&child.hash(), observed.live.get(&key), observed.applied.get(&key));
    if credential.is_login() && observed.catalogue.is_ok() {
        // A proof asks every endpoint, so it waits while one is away.
        if !is_lagging(view) || !is_established(view) {
            prove(view, credential, settled, steps);
        }
    } else if credential.is_login() && leads_elsewhere(view, &child) {
        return steps.hold(unproven(credential));
    }
    steps.apply(stage, &child, observed);
    if value.published_at.is_none() {
        steps.act(stage, Action::MarkPublished(credential.pending.clone()));
    }
}

/// Whether an endpoint lacks some of the access, or could not be read.
fn is_lagging(view: &View<'_>) -> bool {
    view.observed
        .catalogue
        .as_ref()
        .is_ok_and(|catalogue| !catalogue.lagging(&view.desired.access).is_empty())
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
pub(super) fn prove(view: &View<'_>, credential: &Credential, settled: bool, steps: &mut Steps) {
    let stage = ConditionType::CredentialsReady;
    let (Some(user), Some(value)) = (credential.user(view.stack), credential.value()) else { return };
    let is_new = value.published_at.is_none() && !settled;
    let is_touched = steps.steps.iter().any(|step| step.makes_user(&user));
    if view.observed.proven.contains(&user) && !is_new && !is_touched {
        return;
    }
    // Somebody may have changed the password of a user that is ours; the next attempt gives it back first.
    if view.observed.refused.contains(&user) {
        steps.steps.extend(
            access::restore_login(&view.desired.access, &user)
                .map(|action| super::Step::Do(stage, Action::Access(action))),
        );
    }
    let required = view.desired.access.required(&user);
    steps.act(stage, Action::Prove(Proof { user, password: value.secret.clone(), required }));
}

/// Takes what nothing needs any more, once the pods are proven.
pub(super) fn surplus(view: &View<'_>, steps: &mut Steps) {
    let Ok(catalogue) = &view.observed.catalogue else { return };
    // Where a newer login may be missing, an older one may be in use.
    if is_lagging(view) {
        return;
    }
    for action in access::surplus(&view.desired.access, catalogue) {
        steps.act(ConditionType::AccessReady, Action::Access(action));
    }
    for credential in &view.desired.credentials {
        let Some(value) = credential.value().filter(|value| value.generation > 1) else { continue };
        let older = retiring(view.stack, view.observed, std::slice::from_ref(credential));
        if let (Some(published_at), false) = (value.published_at, older.is_empty()) {
            steps.hold(Hold {
                stage: ConditionType::AccessReady,
                object: format!("Secret/{}", credential.published),
                reason: Reason::Waiting,
                hint: format!(
                    "generation {} is published; the older ones are dropped ten minutes after",
                    value.generation
                ),
                blocks: false,
                until: published_at.checked_add(RETIREMENT).ok(),
            });
        }
    }
}

/// Users of older generations that something may still log in with.
pub(crate) fn retiring(stack: &Stack, observed: &Observed, credentials: &[Credential]) -> Vec<access::Login> {
    let Ok(catalogue) = &observed.catalogue else { return Vec::new() };
    let names = &stack.clickhouse.names;
    let mut logins = Vec::new();
    for credential in credentials {
        let Some(value) = credential.value() else { continue };
        let over = |at| observed.now.duration_since(at) >= RETIREMENT;
        if value.published_at.is_some_and(over) {
            continue;
        }
        for generation in 1..value.generation {
            let (user, purpose) = match &credential.purpose {
                Use::Ingest => (names.ingest_user(generation), access::Purpose::Ingest),
                Use::Reader(name) => {
                    (names.reader_user(name, generation), access::Purpose::Reader(name.clone()))
                }
                Use::Migrate(_) | Use::Key(..) => continue,
            };
            if catalogue.users.contains_key(&user) {
                logins.push(access::Login { user, purpose, password: None });
            }
        }
    }
    logins
}

/// Secrets that credentials are kept in.
pub(super) fn secret_keys(credentials: &[Credential]) -> impl Iterator<Item = ChildKey> {
    credentials.iter().flat_map(|credential| {
        [&credential.pending, &credential.published].map(|name| ChildKey::new(ChildKind::Secret, name))
    })
}
