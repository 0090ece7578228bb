//! One watch each: fill the store, and name the stack that an event concerns.

use std::fmt::Debug;
use std::sync::Arc;

use futures::stream::{BoxStream, Stream, StreamExt as _};
use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use kube::core::PartialObjectMeta;
use kube::runtime::controller::{ReconcileReason, ReconcileRequest};
use kube::runtime::reflector::{ObjectRef, store::Writer};
use kube::runtime::watcher::{Config, Error, Event};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Resource, ResourceExt as _};
use serde::de::DeserializeOwned;

use super::index::{self, Referrer};
use super::mark::{self, Mark};
use super::seen::{Change, Seen};
use super::{Guarded, References};

/// Requests of one watch.
type Requests = BoxStream<'static, ReconcileRequest<Guarded>>;

/// Watches the stacks themselves; their status is written by the operator and wakes nobody.
pub(super) fn stacks(api: Api<Guarded>, writer: Writer<Guarded>, references: Arc<References>) -> Requests {
    let events = watcher(api, Config::default()).modify(|stack| {
        if let Ok(stack) = &mut stack.0 {
            stack.metadata.managed_fields = None;
        }
    });
    let mut seen = Seen::new(mark::stack, index::referrer);
    requests(events.default_backoff().reflect(writer).map(move |event| {
        let changes = seen.take(event?).into_iter();
        Ok(changes.map(|change| (refer(&references, change), ReconcileReason::ObjectUpdated)).collect())
    }))
}

/// Keeps the index of references in step with a stack that changed, and names the stack.
fn refer(references: &References, change: Change<Referrer>) -> ObjectRef<Guarded> {
    match &change {
        Change::Present(referrer) => references.set(referrer),
        Change::Gone(referrer) => references.remove(&referrer.namespace, &referrer.name),
    }
    let referrer = change.into_subject();
    ObjectRef::new(&referrer.name).within(&referrer.namespace)
}

/// Watches children whose content is needed.
pub(super) fn owned<K>(api: Api<K>, labels: &str, writer: Writer<K>, mark: Mark<K>) -> Requests
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let events =
        watcher(api, Config::default().labels(labels)).modify(|object| object.managed_fields_mut().clear());
    owned_events(events.default_backoff().reflect(writer), mark)
}

/// Watches children of which metadata is enough.
pub(super) fn owned_metadata<K>(
    api: Api<PartialObjectMeta<K>>,
    labels: &str,
    writer: Writer<PartialObjectMeta<K>>,
) -> Requests
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let events =
        watcher(api, Config::default().labels(labels)).modify(|object| object.managed_fields_mut().clear());
    owned_events(events.default_backoff().reflect(writer), mark::any)
}

/// Watches the Secrets of others by metadata, for the stacks that refer to them.
pub(super) fn referenced(
    api: Api<PartialObjectMeta<Secret>>,
    labels: &str,
    writer: Writer<PartialObjectMeta<Secret>>,
    references: Arc<References>,
) -> Requests {
    let events = watcher(api, Config::default().labels(labels)).modify(|secret| {
        let metadata = &mut secret.metadata;
        metadata.managed_fields = None;
        metadata.annotations = None;
        metadata.labels = None;
    });
    let name =
        |secret: &PartialObjectMeta<Secret>| (secret.namespace().unwrap_or_default(), secret.name_any());
    let mut seen = Seen::new(mark::any, name);
    requests(events.default_backoff().reflect(writer).map(move |event| {
        let reason = || ReconcileReason::Custom { reason: "a referenced Secret changed".into() };
        let mut named = Vec::new();
        for (namespace, secret) in seen.take(event?).into_iter().map(Change::into_subject) {
            let stacks = references.referrers(&namespace, &secret);
            named.extend(stacks.iter().map(|stack| (ObjectRef::new(stack).within(&namespace), reason())));
        }
        Ok(named)
    }))
}

fn owned_events<K, S>(events: S, mark: Mark<K>) -> Requests
where
    K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
    S: Stream<Item = Result<Event<K>, Error>> + Send + 'static,
{
    let mut seen = Seen::new(mark, owner);
    requests(events.map(move |event| {
        let reason = || ReconcileReason::Custom { reason: format!("{} changed", K::kind(&())) };
        let owners = seen.take(event?).into_iter().filter_map(Change::into_subject);
        Ok(owners.map(|(namespace, stack)| (ObjectRef::new(&stack).within(&namespace), reason())).collect())
    }))
}

type Named = Vec<(ObjectRef<Guarded>, ReconcileReason)>;

fn requests<S>(events: S) -> Requests
where
    S: Stream<Item = Result<Named, Error>> + Send + 'static,
{
    events
        .flat_map(|named| {
            let named = named.unwrap_or_else(|error| {
                tracing::warn!(error = &error as &dyn std::error::Error, "a watch failed and is tried again");
                Vec::new()
            });
            futures::stream::iter(
                named.into_iter().map(|(obj_ref, reason)| ReconcileRequest { obj_ref, reason }),
            )
        })
        .boxed()
}

/// Namespace and name of the stack that owns a child.
fn owner<K: Resource>(child: &K) -> Option<(String, String)> {
    let metadata = child.meta();
    let owners = metadata.owner_references.iter().flatten();
    let owner = owners.into_iter().find(|owner| {
        owner.controller == Some(true)
            && owner.kind == "AnalyticsStack"
            && owner.api_version.starts_with("weir.dev/")
    })?;
    Some((metadata.namespace.clone()?, owner.name.clone()))
}
