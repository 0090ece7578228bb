//! Applies and deletes children of any kind, and never one that belongs to somebody else.

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{Client, ResourceExt as _};
use weir_crds::{ConditionType, Reason};

use super::{Failure, Tools};
use crate::access::Owner;
use crate::controller::child::{AppliedChild, Child, ChildKey, ChildKind, Version};
use crate::controller::desired::metadata::{MANAGED_BY, MANAGED_BY_LABEL, STACK_LABEL};
use crate::controller::memory::Memory;
use crate::controller::plan::{Hold, rollout_waits};
use crate::kubernetes::{self, Error, Namespaced};

/// Applies a child and remembers what came back.
pub(super) async fn apply(tools: &Tools<'_>, child: &Child, memory: &mut Memory) -> Result<(), Failure> {
    let key = child.key();
    let before = tools.ctx.stores.generation(tools.namespace, &key);
    let metadata = match child {
        Child::Secret(object) => send(tools, &key, &**object).await?.metadata,
        Child::ServiceAccount(object) => send(tools, &key, &**object).await?.metadata,
        Child::Service(object) => send(tools, &key, &**object).await?.metadata,
        Child::NetworkPolicy(object) => send(tools, &key, &**object).await?.metadata,
        Child::PodDisruptionBudget(object) => send(tools, &key, &**object).await?.metadata,
        Child::Deployment(object) => send(tools, &key, &**object).await?.metadata,
        Child::StatefulSet(object) => send(tools, &key, &**object).await?.metadata,
        Child::Job(object) => send(tools, &key, &**object).await?.metadata,
    };
    let applied = AppliedChild { hash: child.hash(), version: Version::of(&metadata) };
    memory.applied.insert(key.clone(), applied);
    // What the watch shows of the pods' controller is older than this change, so the rollout cannot be judged by it.
    if matches!(key.kind, ChildKind::Deployment | ChildKind::StatefulSet) && before != metadata.generation {
        return rollout_waits(&key, None).map_or(Ok(()), |hold| Err(Failure::Hold(hold)));
    }
    Ok(())
}

async fn send<K: Namespaced>(tools: &Tools<'_>, key: &ChildKey, object: &K) -> Result<K, Failure> {
    let client = &tools.ctx.client;
    // The watch shows the children of every stack, and nothing that the operator's label is missing on.
    let shown = tools.ctx.stores.metadata(tools.namespace, key);
    if !shown.is_some_and(|metadata| is_ours(&metadata, tools.owner)) {
        let found: Option<ObjectMeta> =
            kubernetes::fetch_metadata::<K>(client, tools.namespace, &key.name).await?;
        if let Some(metadata) = found.filter(|metadata| !is_ours(metadata, tools.owner)) {
            return Err(Failure::Hold(conflict(key, &metadata, tools.owner)));
        }
    }
    Ok(kubernetes::apply(client, tools.namespace, object).await?)
}

/// Whether an object's owner is the stack of this UID.
pub(super) fn is_owned(metadata: &ObjectMeta, uid: &str) -> bool {
    metadata.owner_references.iter().flatten().any(|owner| owner.uid == uid)
}

/// Whether an apply may take an object: it is owned, or it is a child of this stack that lost its owner.
fn is_ours(metadata: &ObjectMeta, owner: &Owner) -> bool {
    let label = |key| metadata.labels.as_ref().and_then(|labels| labels.get(key)).map(String::as_str);
    let is_orphan = metadata.owner_references.iter().flatten().next().is_none();
    let is_labelled =
        label(MANAGED_BY_LABEL) == Some(MANAGED_BY) && label(STACK_LABEL) == Some(owner.name.as_str());
    is_owned(metadata, &owner.uid) || is_orphan && is_labelled
}

/// The wait for an object that somebody else made, or that an earlier stack of the same name has left to the garbage
/// collector.
pub(super) fn conflict(key: &ChildKey, metadata: &ObjectMeta, stack: &Owner) -> Hold {
    let owner = metadata.owner_references.iter().flatten().next();
    if owner.is_some_and(|owner| is_earlier(owner, stack)) {
        return Hold {
            stage: stage_of(key.kind),
            object: key.to_string(),
            reason: Reason::Waiting,
            hint: "it belongs to an earlier stack of this name and is being deleted".into(),
            blocks: true,
            until: None,
        };
    }
    let whose = owner.map_or_else(
        || "it was not made by this stack".to_owned(),
        |owner| format!("it belongs to {} {}", owner.kind, owner.name),
    );
    let (reason, advice) = match key.kind {
        ChildKind::Secret => (Reason::SecretConflict, "choose another secretName"),
        ChildKind::ServiceAccount
        | ChildKind::Service
        | ChildKind::NetworkPolicy
        | ChildKind::PodDisruptionBudget
        | ChildKind::Deployment
        | ChildKind::StatefulSet
        | ChildKind::Job => (Reason::OwnershipConflict, "rename the stack"),
    };
    Hold {
        stage: stage_of(key.kind),
        object: key.to_string(),
        reason,
        hint: format!("{whose} and is left as it is; delete it, or {advice}"),
        blocks: true,
        until: None,
    }
}

/// There is one stack of a name at a time, so another UID under this one's name is one that is gone.
fn is_earlier(owner: &OwnerReference, stack: &Owner) -> bool {
    owner.kind == "AnalyticsStack"
        && owner.api_version.starts_with("weir.dev/")
        && owner.name == stack.name
        && owner.uid != stack.uid
}

const fn stage_of(kind: ChildKind) -> ConditionType {
    match kind {
        ChildKind::Secret => ConditionType::CredentialsReady,
        ChildKind::ServiceAccount
        | ChildKind::Service
        | ChildKind::NetworkPolicy
        | ChildKind::PodDisruptionBudget
        | ChildKind::Deployment
        | ChildKind::StatefulSet
        | ChildKind::Job => ConditionType::WorkloadReady,
    }
}

/// Deletes a child by UID.
pub(super) async fn delete(client: &Client, namespace: &str, key: &ChildKey, uid: &str) -> Result<(), Error> {
    let name = &key.name;
    match key.kind {
        ChildKind::Secret => kubernetes::delete::<Secret>(client, namespace, name, uid).await,
        ChildKind::ServiceAccount => kubernetes::delete::<ServiceAccount>(client, namespace, name, uid).await,
        ChildKind::Service => kubernetes::delete::<Service>(client, namespace, name, uid).await,
        ChildKind::NetworkPolicy => kubernetes::delete::<NetworkPolicy>(client, namespace, name, uid).await,
        ChildKind::PodDisruptionBudget => {
            kubernetes::delete::<PodDisruptionBudget>(client, namespace, name, uid).await
        }
        ChildKind::Deployment => kubernetes::delete::<Deployment>(client, namespace, name, uid).await,
        // Until its last pod has ended: what follows may use their claims.
        ChildKind::StatefulSet => {
            kubernetes::delete_foreground::<StatefulSet>(client, namespace, name, uid).await
        }
        ChildKind::Job => kubernetes::delete::<Job>(client, namespace, name, uid).await,
    }
}

/// Deletes a child after its pods.
pub(super) async fn delete_pods(
    client: &Client,
    namespace: &str,
    key: &ChildKey,
    uid: &str,
) -> Result<(), Error> {
    let name = &key.name;
    match key.kind {
        ChildKind::Deployment => {
            kubernetes::delete_foreground::<Deployment>(client, namespace, name, uid).await
        }
        ChildKind::Job => kubernetes::delete_foreground::<Job>(client, namespace, name, uid).await,
        ChildKind::Secret
        | ChildKind::ServiceAccount
        | ChildKind::Service
        | ChildKind::NetworkPolicy
        | ChildKind::PodDisruptionBudget
        | ChildKind::StatefulSet => delete(client, namespace, key, uid).await,
    }
}

/// Name of an object, for messages.
pub(super) fn key_of(secret: &Secret) -> ChildKey {
    ChildKey::new(ChildKind::Secret, secret.name_any())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::desired::metadata::{Component, metadata};
    use crate::controller::fixture;

    fn found(change: impl FnOnce(&mut OwnerReference)) -> ObjectMeta {
        let mut found = metadata(&fixture::checked(), "store-key-web".into(), Component::Credential);
        let owner = &mut found.owner_references.as_mut().unwrap()[0];
        owner.uid.push('0');
        change(owner);
        found
    }

    fn reason(kind: ChildKind, metadata: &ObjectMeta) -> Reason {
        conflict(&ChildKey::new(kind, "store-key-web"), metadata, &fixture::owner()).reason
    }

    #[test]
    fn a_child_of_another_stack_is_a_conflict_although_it_has_the_operators_label() {
        let other = found(|owner| owner.name = "other".into());
        assert!(!is_ours(&other, &fixture::owner()));
        assert_eq!(reason(ChildKind::Secret, &other), Reason::SecretConflict);
        assert_eq!(reason(ChildKind::Service, &other), Reason::OwnershipConflict);
    }

    #[test]
    fn a_child_of_an_earlier_stack_of_the_same_name_is_waited_for() {
        let earlier = found(|_| {});
        assert!(!is_ours(&earlier, &fixture::owner()));
        let hold = conflict(&ChildKey::new(ChildKind::Secret, "x"), &earlier, &fixture::owner());
        assert!(hold.is_progress() && hold.blocks);
        let namesake = found(|owner| owner.api_version = "example.com/v1".into());
        assert_eq!(reason(ChildKind::Secret, &namesake), Reason::SecretConflict);
    }

    #[test]
    fn an_own_child_that_lost_its_owner_is_taken_back_and_nobody_elses_is() {
        let own = metadata(&fixture::checked(), "store-key-web".into(), Component::Credential);
        let orphan = ObjectMeta { owner_references: None, ..own.clone() };
        let unlabelled = ObjectMeta { labels: None, ..orphan.clone() };
        let ours = [own, orphan, unlabelled].map(|metadata| is_ours(&metadata, &fixture::owner()));
        assert_eq!(ours, [true, true, false]);
    }
}
