//! The order of what takes something away: whoever may still use it has what comes in its place.

use weir_crds::ConditionType;

use super::{Act, Action, is_keys_file, is_workload, login};
use crate::access::Action as Access;
use crate::controller::child::{Child, ChildKey, ChildKind};
use crate::controller::credential::text;

/// Whether what `second` takes must still be there while `first` is to be done.
pub(super) fn precedes(first: &Action, second: Act<'_>) -> bool {
    match (first, second.action) {
        (_, Action::Access(taking)) if is_kept_for(first, second.stage, taking) => true,
        // The keys first: no ClickHouse is needed to refuse one that leaked, and one that fails must not be in its way.
        (Action::Apply(child), Action::Access(Access::DropUser(_))) if is_revocation(second.stage) => {
            is_keys_file(child)
        }
        // What the pods may do is reduced behind the pods that need no more.
        (Action::Apply(child), Action::Access(taking)) => is_workload(&child.key()) && is_surplus(taking),
        // The pods hand in what they accepted while ClickHouse still lets them.
        (Action::DeletePods(pods, _), Action::Access(Access::DropUser(_) | Access::DropRole(_))) => {
            is_workload(pods)
        }
        // A user that is marked is not ended again. The passwords of one user get their ends together, so that no mark tells
        // which of them it needs; one whose end was not set is taken away when its overlap is over.
        (Action::Access(Access::ExpireUser(user, _)), Action::MarkExpiry(secret, _)) => {
            login::is_kept_in(user, secret)
        }
        // Without its Secret nobody knows of a password, and so nobody would take it from its user any more.
        (
            Action::Access(Access::LimitPasswords(user)),
            Action::Delete(ChildKey { kind: ChildKind::Secret, name }, _),
        ) => login::is_kept_in(&user.name, name),
        // What is no longer wanted goes when all that takes its place is there: a Secret of another name, pods of another kind.
        (Action::Apply(_), Action::Delete(..)) => true,
        _ => false,
    }
}

/// Whether a user keeps its login until another one was proven and published, or a crash in between leaves consumers with
/// one that ends or is gone.
fn is_kept_for(first: &Action, stage: ConditionType, taking: &Access) -> bool {
    let login = match first {
        Action::Prove(proof) => Some(proof.user.clone()),
        Action::Apply(Child::Secret(secret)) => text(secret, "username"),
        _ => None,
    };
    let Some(new) = login else { return false };
    match taking {
        Access::LimitPasswords(user) | Access::CloseLogin(user) => {
            user.name == new || login::is_other_form(&new, &user.name)
        }
        Access::ExpireUser(old, _) => login::is_replaced_by(old, &new),
        // One that was revoked is dropped at once, whoever has it.
        Access::DropUser(old) => !is_revocation(stage) && login::is_replaced_by(old, &new),
        _ => false,
    }
}

/// Whether users are dropped because they were revoked, which is a matter of credentials; what is too much is one of access.
fn is_revocation(stage: ConditionType) -> bool {
    stage == ConditionType::CredentialsReady
}

/// Whether rights of a role are taken; a user is looked at by its login.
fn is_surplus(taking: &Access) -> bool {
    matches!(taking, Access::ReplaceGrants { .. } | Access::RevokeRole { .. } | Access::DropRole(_))
}
