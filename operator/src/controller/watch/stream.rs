//! One watch each: fill the store, and name the stack that an event concerns.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;

use futures::stream::{BoxStream, Stream, StreamExt as _};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use kube::core::PartialObjectMeta;
use kube::runtime::controller::{ReconcileReason, ReconcileRequest};
use kube::runtime::reflector::{ObjectRef, store::Writer};
use kube::runtime::watcher::{Config, Error, Event};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Resource, ResourceExt as _};
use serde::de::DeserializeOwned;

use super::{Guarded, References};

/// Requests of one watch.
type Requests = BoxStream<'static, ReconcileRequest<Guarded>>;

/// What of an object a pass looks at; an event that leaves it unchanged wakes nobody.
pub(super) type Mark<K> = fn(&K) -> String;

/// Watches the stacks themselves; their status is written by the operator and wakes nobody.
pub(super) fn stacks(api: Api<Guarded>, writer: Writer<Guarded>, references: Arc<References>) -> Requests {
    let events = watcher(api, Config::default()).modify(|stack| {
        if let Ok(stack) = &mut stack.0 {
            stack.metadata.managed_fields = None;
        }
    });
    let mut marks = HashMap::new();
    requests(events.default_backoff().reflect(writer).map(move |event| {
        let event = event?;
        match &event {
            Event::Apply(stack) | Event::InitApply(stack) => {
                if let Ok(stack) = &stack.0 {
                    references.set(stack);
                }
            }
            Event::Delete(stack) => {
                references.remove(&stack.namespace().unwrap_or_default(), &stack.name_any());
            }
            Event::Init | Event::InitDone => {}
        }
        let changed = changed(event, &mut marks, stack_mark);
        Ok(changed
            .map(|stack| (ObjectRef::from_obj(&stack), ReconcileReason::ObjectUpdated))
            .into_iter()
            .collect())
    }))
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
    owned_events(events.default_backoff().reflect(writer), any_mark)
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
    requests(events.default_backoff().reflect(writer).map(move |event| {
        let secret = match event? {
            Event::Apply(secret) | Event::InitApply(secret) | Event::Delete(secret) => secret,
            Event::Init | Event::InitDone => return Ok(Vec::new()),
        };
        let namespace = secret.namespace().unwrap_or_default();
        let stacks = references.referrers(&namespace, &secret.name_any());
        let reason = || ReconcileReason::Custom { reason: "a referenced Secret changed".into() };
        Ok(stacks.iter().map(|stack| (ObjectRef::new(stack).within(&namespace), reason())).collect())
    }))
}

fn owned_events<K, S>(events: S, mark: Mark<K>) -> Requests
where
    K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
    S: Stream<Item = Result<Event<K>, Error>> + Send + 'static,
{
    let mut marks = HashMap::new();
    requests(events.map(move |event| {
        let Some(child) = changed(event?, &mut marks, mark) else { return Ok(Vec::new()) };
        let reason = ReconcileReason::Custom { reason: format!("{} changed", K::kind(&())) };
        Ok(owner(&child).map(|stack| (stack, reason)).into_iter().collect())
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

/// The object of an event, unless its mark is the one that was seen last. A deletion always counts.
fn changed<K: Resource>(event: Event<K>, marks: &mut HashMap<String, String>, mark: Mark<K>) -> Option<K> {
    match event {
        Event::Apply(object) | Event::InitApply(object) => {
            let uid = object.meta().uid.clone().unwrap_or_default();
            let mark = mark(&object);
            (marks.insert(uid, mark.clone()) != Some(mark)).then_some(object)
        }
        Event::Delete(object) => {
            marks.remove(object.meta().uid.as_deref().unwrap_or_default());
            Some(object)
        }
        Event::Init | Event::InitDone => None,
    }
}

fn owner<K: Resource>(child: &K) -> Option<ObjectRef<Guarded>> {
    let metadata = child.meta();
    let owners = metadata.owner_references.iter().flatten();
    let owner = owners.into_iter().find(|owner| {
        owner.controller == Some(true)
            && owner.kind == "AnalyticsStack"
            && owner.api_version.starts_with("weir.dev/")
    })?;
    Some(ObjectRef::new(&owner.name).within(metadata.namespace.as_deref()?))
}

/// Any change of the object at all.
pub(super) fn any_mark<K: Resource>(object: &K) -> String {
    object.meta().resource_version.clone().unwrap_or_default()
}

fn stack_mark(stack: &Guarded) -> String {
    let metadata = stack.meta();
    let stamp =
        (&metadata.generation, &metadata.finalizers, &metadata.annotations, &metadata.deletion_timestamp);
    format!("{stamp:?}")
}

/// Spec, labels and owners, and how far the rollout is.
pub(super) fn deployment_mark(deployment: &Deployment) -> String {
    let metadata = &deployment.metadata;
    let status = deployment.status.clone().unwrap_or_default();
    let reasons: Vec<_> =
        status.conditions.iter().flatten().map(|condition| (&condition.type_, &condition.reason)).collect();
    let spec =
        (&metadata.generation, &metadata.labels, &metadata.owner_references, &metadata.deletion_timestamp);
    let pods =
        (status.observed_generation, status.replicas, status.updated_replicas, status.available_replicas);
    format!("{spec:?}{pods:?}{reasons:?}")
}

/// Labels and owners, and whether the Job has ended.
pub(super) fn job_mark(job: &Job) -> String {
    let metadata = &job.metadata;
    let conditions: Vec<_> = job
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten())
        .map(|condition| (&condition.type_, &condition.status))
        .collect();
    let spec =
        (&metadata.generation, &metadata.labels, &metadata.owner_references, &metadata.deletion_timestamp);
    format!("{spec:?}{conditions:?}")
}
