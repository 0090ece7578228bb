//! What must come before what in a plan, whoever made it.
//!
//! The phases put the steps in order, and this says why it matters: a pass can end after any step, and what is there then
//! has to let everybody in that it let in before. `apply` asks before its first step, so that a mistake in a phase costs a
//! condition and no access.

mod access;
mod login;
mod taking;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PodSpec, Secret};
use secrecy::ExposeSecret as _;
use weir_crds::{ConditionType, Reason};

use crate::access::{Action as Access, PasswordHash};
use crate::controller::child::{Child, ChildKey, ChildKind};
use crate::controller::credential::text;
use crate::controller::desired::metadata::{GENERATION, SPEC_HASH};

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

/// A step that does something, with the condition that it belongs to.
#[derive(Clone, Copy)]
struct Act<'a> {
    stage: ConditionType,
    action: &'a Action,
}

/// Finds the first step that comes before one that it needs.
pub(crate) fn check(plan: &Plan) -> Result<(), OutOfOrder> {
    let acts: Vec<Act<'_>> = plan
        .steps
        .iter()
        .filter_map(|step| match step {
            Step::Do(stage, action) => Some(Act { stage: *stage, action }),
            Step::Hold(_) => None,
        })
        .collect();
    for (index, earlier) in acts.iter().enumerate() {
        let is_late =
            |later: &&Act<'_>| precedes(later.action, *earlier) && !is_done(later.action, &acts[..index]);
        if let Some(later) = acts[index + 1..].iter().find(is_late) {
            return Err(OutOfOrder { first: later.action.to_string(), second: earlier.action.to_string() });
        }
    }
    Ok(())
}

/// Whether the same was applied before: a revocation applies the keys ahead of everything, and their phase once more.
fn is_done(action: &Action, before: &[Act<'_>]) -> bool {
    let Action::Apply(child) = action else { return false };
    before.iter().any(|act| match act.action {
        Action::Apply(done) => done.key() == child.key() && done.hash() == child.hash(),
        _ => false,
    })
}

/// Whether `second` must not be done before `first`.
fn precedes(first: &Action, second: Act<'_>) -> bool {
    match (first, second.action) {
        (Action::RemoveFinalizer, _) | (_, Action::AddFinalizer) => false,
        // The finalizer guards every effect outside, and goes when nothing is left.
        (Action::AddFinalizer, _) | (_, Action::RemoveFinalizer) => true,
        _ if taking::precedes(first, second) => true,
        (Action::Access(first), Action::Access(second)) => access::precedes(first, second),
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
        // A run whose login is refused has failed for good.
        (Action::Prove(proof), Action::Apply(Child::Job(job))) => is_login_of(&proof.user, job),
        (Action::Apply(Child::Secret(secret)), Action::MarkPublished { secret: marked, published }) => {
            secret.metadata.name.as_ref() == Some(published) && is_generation(secret, marked)
        }
        // Told before, a pod reads the old keys again, and is not told another time at once.
        (Action::Apply(child), Action::Tell(..)) => is_keys_file(child),
        (Action::Apply(child), Action::Apply(user)) => serves(child, user),
        _ => false,
    }
}

/// A proof checks the rights as well, which roles hold.
fn adds_to_anyone(action: &Access) -> bool {
    access::created(action).is_some() || matches!(action, Access::Grant { .. } | Access::GrantRole { .. })
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

/// Whether a child must be there before another one, which uses it.
fn serves(child: &Child, user: &Child) -> bool {
    match (child, user) {
        // A consumer that has a key which the pods do not know loses what it sends.
        (Child::Secret(_), Child::Secret(published)) if is_keys_file(child) => {
            text(published, "key").is_some()
        }
        // No pod runs an image on tables that are not migrated for it.
        (Child::Job(job), Child::Deployment(_) | Child::StatefulSet(_)) => is_migration(job),
        // A claim is drained when the pods have left it.
        (Child::StatefulSet(_), Child::Job(job)) => !is_migration(job),
        (mounted, workload) => is_mounted(mounted, workload),
    }
}

/// Whether pods of that workload mount the Secret or run under the account. Not for a login, whose next generation comes
/// behind the rollout, into a Secret that the pods have already.
fn is_mounted(mounted: &Child, workload: &Child) -> bool {
    let is_login = matches!(mounted, Child::Secret(secret) if text(secret, "username").is_some());
    let Some(pod) = pod_of(workload).filter(|_| !is_login) else { return false };
    let ChildKey { kind, name } = mounted.key();
    let mut secrets = pod.volumes.iter().flatten().filter_map(|volume| volume.secret.as_ref());
    match kind {
        ChildKind::ServiceAccount => pod.service_account_name.as_ref() == Some(&name),
        ChildKind::Secret => secrets.any(|secret| secret.secret_name.as_ref() == Some(&name)),
        _ => false,
    }
}

fn pod_of(workload: &Child) -> Option<&PodSpec> {
    match workload {
        Child::Deployment(deployment) => deployment.spec.as_ref()?.template.spec.as_ref(),
        Child::StatefulSet(set) => set.spec.as_ref()?.template.spec.as_ref(),
        Child::Job(job) => job.spec.as_ref()?.template.spec.as_ref(),
        _ => None,
    }
}

/// Whether it is what runs the ingest pods.
const fn is_workload(key: &ChildKey) -> bool {
    matches!(key.kind, ChildKind::Deployment | ChildKind::StatefulSet)
}

/// Whether it is the Secret of hashed keys that the pods read.
fn is_keys_file(child: &Child) -> bool {
    matches!(child, Child::Secret(secret) if text(secret, "keys.json").is_some())
}

/// Whether a Job migrates the database; the others drain claims.
fn is_migration(job: &Job) -> bool {
    job.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(SPEC_HASH))
}

/// Whether a Job logs in as that user: both are named after the run.
fn is_login_of(user: &str, job: &Job) -> bool {
    let run = user.rsplit_once("_migrate_").map(|(_, run)| run);
    let name = job.metadata.name.as_deref();
    run.is_some() && run == name.and_then(|name| name.rsplit_once("-migrate-")).map(|(_, run)| run)
}
