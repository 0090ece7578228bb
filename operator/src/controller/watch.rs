//! The watches of one scope: stores of the children, and which stack each event concerns.
//!
//! Children are selected by label and mapped through their owner; other Secrets are watched by metadata only and mapped
//! through an index of what the specs refer to. What changed nothing that a pass would look at wakes nobody.

mod index;
mod mark;
mod seen;
mod stores;
mod stream;

use std::sync::Arc;

use futures::stream::{BoxStream, StreamExt as _, select_all};
pub(crate) use index::References;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::controller::ReconcileRequest;
use kube::runtime::reflector::{Store, store};
use kube::{Api, Client};
pub(crate) use stores::Stores;
use weir_crds::AnalyticsStack;

use super::desired::metadata::{MANAGED_BY, MANAGED_BY_LABEL};

/// A stack that may be malformed, so that one bad object does not stop the watch.
pub(crate) type Guarded = DeserializeGuard<AnalyticsStack>;
/// What wakes a stack.
pub(crate) type Trigger = Result<ReconcileRequest<Guarded>, std::convert::Infallible>;

/// What is watched: one namespace, or all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scope {
    All,
    Namespace(String),
}

impl Scope {
    fn api<K>(&self, client: &Client) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        match self {
            Self::All => Api::all(client.clone()),
            Self::Namespace(namespace) => Api::namespaced(client.clone(), namespace),
        }
    }
}

/// The watches of one scope.
pub(crate) struct Watches {
    /// Stores of the children.
    pub(crate) stores: Stores,
    /// Store of the stacks.
    pub(crate) stacks: Store<Guarded>,
    /// What wakes stacks; ends never.
    pub(crate) triggers: BoxStream<'static, Trigger>,
}

/// Starts the watches of a scope; nothing is read until the triggers are polled.
pub(crate) fn watch(client: &Client, scope: &Scope) -> Watches {
    let references = Arc::new(References::default());
    let (stacks, stacks_writer) = store();
    let (secrets, secrets_writer) = store();
    let (foreign, foreign_writer) = store();
    let (accounts, accounts_writer) = store();
    let (services, services_writer) = store();
    let (policies, policies_writer) = store();
    let (budgets, budgets_writer) = store();
    let (deployments, deployments_writer) = store();
    let (sets, sets_writer) = store();
    let (jobs, jobs_writer) = store();
    let ours = format!("{MANAGED_BY_LABEL}={MANAGED_BY}");
    let others = format!("{MANAGED_BY_LABEL}!={MANAGED_BY}");
    let triggers = select_all([
        stream::stacks(scope.api::<Guarded>(client), stacks_writer, Arc::clone(&references)),
        stream::owned(scope.api::<Secret>(client), &ours, secrets_writer, mark::any),
        stream::referenced(
            scope.api::<PartialObjectMeta<Secret>>(client),
            &others,
            foreign_writer,
            references,
        ),
        stream::owned_metadata(
            scope.api::<PartialObjectMeta<ServiceAccount>>(client),
            &ours,
            accounts_writer,
        ),
        stream::owned_metadata(scope.api::<PartialObjectMeta<Service>>(client), &ours, services_writer),
        stream::owned_metadata(scope.api::<PartialObjectMeta<NetworkPolicy>>(client), &ours, policies_writer),
        stream::owned_metadata(
            scope.api::<PartialObjectMeta<PodDisruptionBudget>>(client),
            &ours,
            budgets_writer,
        ),
        stream::owned(scope.api::<Deployment>(client), &ours, deployments_writer, mark::deployment),
        stream::owned(scope.api::<StatefulSet>(client), &ours, sets_writer, mark::stateful_set),
        stream::owned(scope.api::<Job>(client), &ours, jobs_writer, mark::job),
    ])
    .map(Ok)
    .boxed();
    let stores = Stores { secrets, foreign, accounts, services, policies, budgets, deployments, sets, jobs };
    Watches { stores, stacks, triggers }
}
