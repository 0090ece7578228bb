//! Credentials whose values the owner of a Secret keeps: taken up when they change, installed beside the old one, and said
//! where they cannot be used.

use k8s_openapi::jiff::Timestamp;
use secrecy::ExposeSecret as _;
use weir_crds::{ConditionType, Reason};

use super::lag::is_lagging;
use super::turn::End;
use super::{Action, Hold, Steps, View};
use crate::access;
use crate::controller::child::Child;
use crate::controller::credential::{Credential, Origin, Value};
use crate::controller::desired::secret;
use crate::controller::rotation::{Cause, Request};
use crate::controller::supply::{Refused, Source, is_same};

/// Whether the owner of a Secret keeps the values of a credential.
pub(super) const fn is_supplied(credential: &Credential) -> bool {
    matches!(credential.source, Source::Supplied(_))
}

/// Writes the value that is there ahead as a generation; none where it cannot be used.
pub(super) fn take_up(
    view: &View<'_>,
    credential: &Credential,
    generation: i64,
    cause: Cause,
) -> Option<Action> {
    let first = Value::first(generation, credential.supplied()?.clone());
    let value = Value { cause, origin: Origin::Supplied, ..first };
    let secret = secret::ahead(view.stack, &credential.name, &value);
    Some(Action::Create(Child::Secret(Box::new(secret))))
}

/// Says which values cannot be used. What is published stays as it is, and everything else goes on.
pub(super) fn faults(view: &View<'_>, steps: &mut Steps) {
    for credential in &view.desired.credentials {
        let Source::Supplied(supply) = &credential.source else { continue };
        let fault = match (&supply.value, credential.value().map(|value| &value.origin)) {
            (Err(fault), _) => fault.clone(),
            (Ok(value), Some(Origin::Barrier(refused))) if refused.holds(value) => supply.revoked(),
            (Ok(_), _) => continue,
        };
        steps.hold(Hold::from_fault(&fault, false));
    }
}

/// Answers a request to rotate what only the owner of its Secret can.
pub(super) fn answer(credential: &Credential, request: Option<&Request>, steps: &mut Steps) {
    let (Source::Supplied(supply), Some(request)) = (&credential.source, request) else { return };
    if credential.generations().any(|value| value.cause == Cause::Rotate(request.value.clone())) {
        return;
    }
    steps.hold(Hold {
        stage: ConditionType::CredentialsReady,
        object: format!("Secret/{}", supply.reference.name),
        reason: Reason::SuppliedByOwner,
        hint: format!(
            "weir.dev/rotate asks for a new value of {}, which its owner keeps here: write another one into its key {} ({}), and the rotation starts by itself",
            credential.name, supply.reference.key, supply.field
        ),
        blocks: false,
        until: None,
    });
}

/// Waits with the next value until the revocation of the last one is over.
pub(super) fn after_revocation(credential: &Credential, until: Option<Timestamp>) -> Hold {
    Hold {
        stage: ConditionType::CredentialsReady,
        object: format!("Secret/{}", credential.published),
        reason: Reason::Waiting,
        hint: "what was revoked is not refused everywhere yet; the next value is taken up after that".into(),
        blocks: false,
        until,
    }
}

/// What the generation of a revocation counts as: nobody but the owner can make another value.
pub(super) fn origin_of_revocation(credential: &Credential) -> Origin {
    match credential.source {
        Source::Generated => Origin::Generated,
        Source::Supplied(_) => Origin::Barrier(Refused::of(credential)),
    }
}

/// Whether a generation is a password of the user that keeps its name.
pub(super) fn is_password(credential: &Credential, generation: i64) -> bool {
    password(credential, generation).is_some()
}

fn password(credential: &Credential, generation: i64) -> Option<&Value> {
    let mut values = credential.generations().filter(|_| credential.is_login());
    values.find(|value| value.generation == generation && value.origin == Origin::Supplied)
}

/// Lets a new password log in besides those before it, until it is published. It is proven after that.
pub(super) fn install(view: &View<'_>, credential: &Credential, value: &Value, steps: &mut Steps) {
    if value.published_at.is_some() || !is_password(credential, value.generation) {
        return;
    }
    let Some(user) = credential.user_of(view.stack, value.generation) else { return };
    if !steps.steps.iter().any(|step| step.makes_user(&user))
        && let Ok(catalogue) = &view.observed.catalogue
        && let Some(action) = access::add_password(&view.desired.access, catalogue, &user)
    {
        steps.act(ConditionType::CredentialsReady, Action::Access(action));
    }
}

/// What lets ClickHouse refuse generations from a moment on: their users, or their passwords where the user goes on with a
/// newer one. Those in one statement, since it states all that the user has. Nothing where a newer generation has the same
/// password.
pub(super) fn ends(view: &View<'_>, credential: &Credential, ends: &[End]) -> Vec<access::Action> {
    let mut actions = Vec::new();
    let mut passwords = Vec::new();
    let mut kept = None;
    for End { generation, at } in ends {
        let Some(user) = credential.user_of(view.stack, *generation) else { continue };
        match password(credential, *generation) {
            None => actions.push(access::Action::ExpireUser(user, *at)),
            Some(value) if is_back(credential, value) => {}
            Some(value) => {
                passwords.push((access::PasswordHash::of(value.secret.expose_secret()), *at));
                kept = Some(user);
            }
        }
    }
    actions.extend(kept.and_then(|user| access::limit_passwords(&view.desired.access, &user, &passwords)));
    actions
}

/// Whether a newer generation has the same password.
fn is_back(credential: &Credential, value: &Value) -> bool {
    credential.generations().any(|newer| {
        newer.generation > value.generation && !newer.is_barrier() && is_same(&newer.secret, &value.secret)
    })
}

/// Takes passwords that are over from their user. Their generations are deleted after that, in the same pass.
pub(super) fn withdraw(view: &View<'_>, credential: &Credential, steps: &mut Steps) {
    let is_over = |value: &&Value| {
        let is_kept = view.desired.retirements.keeps(credential, value.generation);
        !is_kept && is_password(credential, value.generation)
    };
    let Some(over) = credential.older.iter().find(is_over) else { return };
    let Some(user) = credential.user_of(view.stack, over.generation) else { return };
    if can_withdraw(view)
        && let Ok(catalogue) = &view.observed.catalogue
        && catalogue.users.contains_key(&user)
        && let Some(action) = access::limit_passwords(&view.desired.access, &user, &[])
    {
        steps.act(ConditionType::AccessReady, Action::Access(action));
    }
}

/// Whether the password of a generation that is over could not be taken from its user yet, so that it must be remembered.
pub(super) fn is_left(view: &View<'_>, credential: &Credential, value: &Value) -> bool {
    is_password(credential, value.generation) && !can_withdraw(view)
}

fn can_withdraw(view: &View<'_>) -> bool {
    view.observed.catalogue.is_ok() && !is_lagging(view)
}
