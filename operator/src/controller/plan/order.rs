//! What must come before what in a plan, whoever made it.
//!
//! The phases put the steps in order, and this says why it matters: a pass can end after any step, and what is there then
//! has to let everybody in that it let in before. `apply` asks before its first step, so that a mistake in a phase costs a
//! condition and no access.

use k8s_openapi::api::core::v1::Secret;
use secrecy::ExposeSecret as _;
use weir_crds::{ConditionType, Reason};

use crate::access::{Action as Access, Entity, PasswordHash, QuotaChange, RowsChange, narrowing};
use crate::controller::child::{Child, ChildKey, ChildKind};
use crate::controller::credential::text;
use crate::controller::desired::metadata::GENERATION;

use super::{Action, Hold, Plan, Step};

/// Two steps in the wrong order, as they are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OutOfOrder {
    /// What has to be done first.
    pub(crate) first: String,
    /// What came before it.
    pub(crate) second: String,
}

impl OutOfOrder {
    /// The wait for whoever mends the operator.
    pub(crate) fn hold(&self) -> Hold {
        let Self { first, second } = self;
        Hold {
            stage: ConditionType::AccessReady,
            object: "AnalyticsStack".into(),
            reason: Reason::ApplyFailed,
            hint: format!(
                "the plan would {second} before it would {first}, so nothing of it was done; please report this as a bug"
            ),
            blocks: true,
            until: None,
        }
    }
}

/// Finds the first step that comes before one that it needs.
pub(crate) fn check(plan: &Plan) -> Result<(), OutOfOrder> {
    let actions: Vec<&Action> = plan
        .steps
        .iter()
        .filter_map(|step| match step {
            Step::Do(_, action) => Some(action),
            Step::Hold(_) => None,
        })
        .collect();
    for (index, earlier) in actions.iter().enumerate() {
        if let Some(later) = actions[index + 1..].iter().find(|later| precedes(later, earlier)) {
            return Err(OutOfOrder { first: later.to_string(), second: earlier.to_string() });
        }
    }
    Ok(())
}

/// Whether `second` must not be done before `first`.
pub(super) fn precedes(first: &Action, second: &Action) -> bool {
    match (first, second) {
        (Action::RemoveFinalizer, _) | (_, Action::AddFinalizer) => false,
        // The finalizer guards every effect outside, and goes when nothing is left.
        (Action::AddFinalizer, _) | (_, Action::RemoveFinalizer) => true,
        (Action::Access(first), Action::Access(second)) => access_precedes(first, second),
        // The password before it may be proven once more in the same pass.
        (Action::Access(Access::AddPassword(user)), Action::Prove(proof)) => {
            let proven = PasswordHash::of(proof.password.expose_secret());
            proof.user == user.name && user.passwords.first().is_some_and(|newest| newest.hash == proven)
        }
        (Action::Access(access), Action::Prove(proof)) => {
            adds_to_anyone(access) || restores(access, &proof.user)
        }
        (Action::Prove(proof), Action::Apply(Child::Secret(secret))) => {
            let password = text(secret, "password");
            let is_proven = password.is_some_and(|password| password == proof.password.expose_secret());
            is_proven && text(secret, "username").as_ref() == Some(&proof.user)
        }
        // The old password gets its end when consumers have the new one, or nobody might be left with one that works.
        (Action::Prove(proof), Action::Access(Access::LimitPasswords(user) | Access::CloseLogin(user))) => {
            proof.user == user.name
        }
        (
            Action::Apply(Child::Secret(secret)),
            Action::Access(Access::LimitPasswords(user) | Access::CloseLogin(user)),
        ) => text(secret, "username").as_ref() == Some(&user.name),
        (Action::Apply(Child::Secret(secret)), Action::MarkPublished { secret: marked, published }) => {
            secret.metadata.name.as_ref() == Some(published) && is_generation(secret, marked)
        }
        (Action::Apply(mounted), Action::Apply(workload)) => serves(mounted, workload),
        _ => false,
    }
}

fn access_precedes(first: &Access, second: &Access) -> bool {
    match (first, second) {
        (Access::CreateLedger, _) => !matches!(second, Access::CreateLedger),
        // What is taken over is planned from what is there then.
        (Access::Adopt(takeover), _) => {
            second.target().is_some_and(|entity| takeover.entities.contains(&entity))
        }
        // The logins as a whole, before it is over.
        (
            Access::CloseLogin(_) | Access::ReplaceGrants { .. } | Access::RevokeRole { .. },
            Access::SettleAdoption(over),
        ) => {
            first.target().is_some_and(|entity| over.iter().any(|adoption| adoption.intent.entity == entity))
        }
        // The claim is what makes an entity the stack's own after a crash.
        (Access::RecordIntents(claims), _) => {
            created(second).is_some_and(|entity| claims.iter().any(|claim| claim.entity == entity))
        }
        (Access::Rows(_) | Access::Quota(_), _) | (_, Access::Rows(_) | Access::Quota(_))
            if narrowing::precedes(first, second) =>
        {
            true
        }
        // Dropped before given up, or a crash in between leaves it to nobody.
        (
            Access::DropUser(_)
            | Access::DropRole(_)
            | Access::Rows(RowsChange::Drop(_))
            | Access::Quota(QuotaChange::Drop(_)),
            Access::CloseIntents(intents),
        ) => dropped(first).is_some_and(|entity| intents.iter().any(|intent| intent.entity == entity)),
        (Access::DropUser(_), Access::DropRole(_)) => true,
        // Added before anything is taken.
        (Access::Grant { to, .. }, Access::ReplaceGrants { of, .. }) => to == of,
        (Access::GrantRole { user, .. }, Access::RevokeRole { from, .. }) => *from == Entity::user(user),
        _ => created(first).is_some_and(|entity| changes(second, &entity)),
    }
}

fn created(action: &Access) -> Option<Entity> {
    match action {
        Access::CreateDatabase(name) => Some(Entity::database(name)),
        Access::CreateRole(name) => Some(Entity::role(name)),
        Access::CreateUser(user) => Some(Entity::user(&user.name)),
        Access::Rows(change @ RowsChange::Create(_)) => Some(change.entity()),
        Access::Quota(change @ QuotaChange::Create(_)) => Some(change.entity()),
        _ => None,
    }
}

fn dropped(action: &Access) -> Option<Entity> {
    match action {
        Access::DropUser(name) => Some(Entity::user(name)),
        Access::DropRole(name) => Some(Entity::role(name)),
        Access::Rows(change @ RowsChange::Drop(_)) => Some(change.entity()),
        Access::Quota(change @ QuotaChange::Drop(_)) => Some(change.entity()),
        _ => None,
    }
}

/// Whether an action needs that entity to exist.
fn changes(action: &Access, entity: &Entity) -> bool {
    match action {
        Access::Grant { to, .. } => to == entity,
        Access::GrantRole { role, user } => *entity == Entity::role(role) || *entity == Entity::user(user),
        Access::AlterUser(user)
        | Access::OpenLogin(user)
        | Access::AddPassword(user)
        | Access::LimitPasswords(user) => *entity == Entity::user(&user.name),
        _ => false,
    }
}

/// A proof checks the rights as well, which roles hold.
fn adds_to_anyone(action: &Access) -> bool {
    created(action).is_some() || matches!(action, Access::Grant { .. } | Access::GrantRole { .. })
}

fn restores(action: &Access, user: &str) -> bool {
    matches!(action, Access::AlterUser(altered) | Access::OpenLogin(altered) if altered.name == user)
}

/// Whether a published Secret holds the generation that was written ahead into the other.
fn is_generation(published: &Secret, ahead: &str) -> bool {
    let generation =
        published.metadata.annotations.as_ref().and_then(|annotations| annotations.get(GENERATION));
    generation.is_some_and(|generation| ahead.ends_with(&format!("-g{generation}")))
}

/// Whether pods of that workload mount the Secret or run under the account. Not for a login, whose next generation comes
/// behind the rollout, into a Secret that the pods have already.
fn serves(mounted: &Child, workload: &Child) -> bool {
    let is_login = matches!(mounted, Child::Secret(secret) if text(secret, "username").is_some());
    let pod = match workload {
        Child::Deployment(deployment) => {
            deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref())
        }
        Child::StatefulSet(set) => set.spec.as_ref().and_then(|spec| spec.template.spec.as_ref()),
        Child::Job(job) => job.spec.as_ref().and_then(|spec| spec.template.spec.as_ref()),
        _ => None,
    };
    let Some(pod) = pod.filter(|_| !is_login) else { return false };
    let ChildKey { kind, name } = mounted.key();
    let mut secrets = pod.volumes.iter().flatten().filter_map(|volume| volume.secret.as_ref());
    match kind {
        ChildKind::ServiceAccount => pod.service_account_name.as_ref() == Some(&name),
        ChildKind::Secret => secrets.any(|secret| secret.secret_name.as_ref() == Some(&name)),
        _ => false,
    }
}
