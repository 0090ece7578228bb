//! Applies and deletes children of any kind, and never one that belongs to somebody else.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Client, ResourceExt as _};
use weir_crds::{ConditionType, Reason};

use super::{Failure, Tools};
use crate::controller::child::{AppliedChild, Child, ChildKey, ChildKind, Version};
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
        Child::Job(object) => send(tools, &key, &**object).await?.metadata,
    };
    let applied = AppliedChild { hash: child.hash(), version: Version::of(&metadata) };
    memory.applied.insert(key.clone(), applied);
    // What the watch shows of a Deployment is older than this change, so its rollout cannot be judged by it.
    if key.kind == ChildKind::Deployment && before != metadata.generation {
        return rollout_waits(&key.name, None).map_or(Ok(()), |hold| Err(Failure::Hold(hold)));
    }
    Ok(())
}

async fn send<K: Namespaced>(tools: &Tools<'_>, key: &ChildKey, object: &K) -> Result<K, Failure> {
    let client = &tools.ctx.client;
    // The watch sees own children only; what it does not see may exist and be somebody else's.
    if !tools.ctx.stores.holds(tools.namespace, key) {
        let found: Option<ObjectMeta> =
            kubernetes::fetch_metadata::<K>(client, tools.namespace, &key.name).await?;
        if let Some(metadata) = found.filter(|metadata| !is_owned(metadata, &tools.owner.uid)) {
            return Err(Failure::Hold(conflict(key, &metadata)));
        }
    }
    Ok(kubernetes::apply(client, tools.namespace, object).await?)
}

/// Whether an object's owner is the stack of this UID.
pub(super) fn is_owned(metadata: &ObjectMeta, uid: &str) -> bool {
    metadata.owner_references.iter().flatten().any(|owner| owner.uid == uid)
}

/// The wait for an object that somebody else made.
pub(super) fn conflict(key: &ChildKey, metadata: &ObjectMeta) -> Hold {
    let owner = metadata.owner_references.iter().flatten().next();
    let whose = owner.map_or_else(
        || "it was not made by this stack".to_owned(),
        |owner| format!("it belongs to {} {}", owner.kind, owner.name),
    );
    let (stage, reason, advice) = match key.kind {
        ChildKind::Secret => {
            (ConditionType::CredentialsReady, Reason::SecretConflict, "choose another secretName")
        }
        ChildKind::ServiceAccount
        | ChildKind::Service
        | ChildKind::NetworkPolicy
        | ChildKind::PodDisruptionBudget
        | ChildKind::Deployment
        | ChildKind::Job => (ConditionType::WorkloadReady, Reason::OwnershipConflict, "rename the stack"),
    };
    Hold {
        stage,
        object: key.to_string(),
        reason,
        hint: format!("{whose} and is left as it is; delete it, or {advice}"),
        blocks: true,
        until: None,
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
        ChildKind::Job => kubernetes::delete::<Job>(client, namespace, name, uid).await,
    }
}

/// Name of an object, for messages.
pub(super) fn key_of(secret: &Secret) -> ChildKey {
    ChildKey::new(ChildKind::Secret, secret.name_any())
}
