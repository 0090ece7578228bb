//! The stores of one scope, and what of them a stack owns.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::store::WriterDropped;
use kube::runtime::reflector::{ObjectRef, Store};

use crate::controller::child::{ChildKey, ChildKind};

/// A kind of which only metadata is kept.
type Metadata<K> = PartialObjectMeta<K>;

/// Children by kind, as the watches last saw them.
#[derive(Debug, Clone)]
pub(crate) struct Stores {
    pub(super) secrets: Store<Secret>,
    pub(super) foreign: Store<Metadata<Secret>>,
    pub(super) accounts: Store<Metadata<ServiceAccount>>,
    pub(super) services: Store<Metadata<Service>>,
    pub(super) policies: Store<Metadata<NetworkPolicy>>,
    pub(super) budgets: Store<Metadata<PodDisruptionBudget>>,
    pub(super) deployments: Store<Deployment>,
    pub(super) sets: Store<StatefulSet>,
    pub(super) jobs: Store<Job>,
}

/// What one stack owns.
#[derive(Debug)]
pub(crate) struct Owned {
    /// Secrets.
    pub(crate) secrets: Vec<Arc<Secret>>,
    /// Deployments.
    pub(crate) deployments: Vec<Arc<Deployment>>,
    /// StatefulSets.
    pub(crate) sets: Vec<Arc<StatefulSet>>,
    /// Jobs.
    pub(crate) jobs: Vec<Arc<Job>>,
    others: Vec<(ChildKind, ObjectMeta)>,
}

impl Owned {
    /// Metadata of everything.
    pub(crate) fn metadata(&self) -> impl Iterator<Item = (ChildKind, &ObjectMeta)> {
        let secrets = self.secrets.iter().map(|object| (ChildKind::Secret, &object.metadata));
        let deployments = self.deployments.iter().map(|object| (ChildKind::Deployment, &object.metadata));
        let sets = self.sets.iter().map(|object| (ChildKind::StatefulSet, &object.metadata));
        let jobs = self.jobs.iter().map(|object| (ChildKind::Job, &object.metadata));
        let others = self.others.iter().map(|(kind, metadata)| (*kind, metadata));
        secrets.chain(deployments).chain(sets).chain(jobs).chain(others)
    }
}

impl Stores {
    /// Waits until every watch has been read once.
    pub(crate) async fn ready(&self) -> Result<(), WriterDropped> {
        self.secrets.wait_until_ready().await?;
        self.foreign.wait_until_ready().await?;
        self.accounts.wait_until_ready().await?;
        self.services.wait_until_ready().await?;
        self.policies.wait_until_ready().await?;
        self.budgets.wait_until_ready().await?;
        self.deployments.wait_until_ready().await?;
        self.sets.wait_until_ready().await?;
        self.jobs.wait_until_ready().await
    }

    /// What the stack of this UID owns.
    pub(crate) fn owned_by(&self, namespace: &str, uid: &str) -> Owned {
        let mut others = Vec::new();
        others.extend(metadata(ChildKind::ServiceAccount, &self.accounts, namespace, uid));
        others.extend(metadata(ChildKind::Service, &self.services, namespace, uid));
        others.extend(metadata(ChildKind::NetworkPolicy, &self.policies, namespace, uid));
        others.extend(metadata(ChildKind::PodDisruptionBudget, &self.budgets, namespace, uid));
        Owned {
            secrets: owned(&self.secrets, namespace, uid),
            deployments: owned(&self.deployments, namespace, uid),
            sets: owned(&self.sets, namespace, uid),
            jobs: owned(&self.jobs, namespace, uid),
            others,
        }
    }

    /// Generation of a child that the watch shows.
    pub(crate) fn generation(&self, namespace: &str, key: &ChildKey) -> Option<i64> {
        self.metadata(namespace, key)?.generation
    }

    /// Version of a Secret that is not the operator's, when there is one.
    pub(crate) fn foreign_version(&self, namespace: &str, name: &str) -> Option<String> {
        let found = get(&self.foreign, namespace, name)?;
        Some(format!("{:?}/{:?}", found.metadata.uid, found.metadata.resource_version))
    }

    /// A Secret with the operator's label.
    pub(crate) fn labelled_secret(&self, namespace: &str, name: &str) -> Option<Arc<Secret>> {
        get(&self.secrets, namespace, name)
    }

    /// Metadata of the child of this name that the watch shows, whichever stack owns it.
    pub(crate) fn metadata(&self, namespace: &str, key: &ChildKey) -> Option<ObjectMeta> {
        let name = &key.name;
        match key.kind {
            ChildKind::Secret => get(&self.secrets, namespace, name).map(|found| found.metadata.clone()),
            ChildKind::ServiceAccount => {
                get(&self.accounts, namespace, name).map(|found| found.metadata.clone())
            }
            ChildKind::Service => get(&self.services, namespace, name).map(|found| found.metadata.clone()),
            ChildKind::NetworkPolicy => {
                get(&self.policies, namespace, name).map(|found| found.metadata.clone())
            }
            ChildKind::PodDisruptionBudget => {
                get(&self.budgets, namespace, name).map(|found| found.metadata.clone())
            }
            ChildKind::Deployment => {
                get(&self.deployments, namespace, name).map(|found| found.metadata.clone())
            }
            ChildKind::StatefulSet => get(&self.sets, namespace, name).map(|found| found.metadata.clone()),
            ChildKind::Job => get(&self.jobs, namespace, name).map(|found| found.metadata.clone()),
        }
    }
}

fn get<K>(store: &Store<K>, namespace: &str, name: &str) -> Option<Arc<K>>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    store.get(&ObjectRef::new(name).within(namespace))
}

fn owned<K>(store: &Store<K>, namespace: &str, uid: &str) -> Vec<Arc<K>>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    store.state_filter(|object| {
        let metadata = object.meta();
        metadata.namespace.as_deref() == Some(namespace)
            && metadata.owner_references.iter().flatten().any(|owner| owner.uid == uid)
    })
}

fn metadata<K>(
    kind: ChildKind,
    store: &Store<Metadata<K>>,
    namespace: &str,
    uid: &str,
) -> Vec<(ChildKind, ObjectMeta)>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    owned(store, namespace, uid).into_iter().map(|object| (kind, object.metadata.clone())).collect()
}
