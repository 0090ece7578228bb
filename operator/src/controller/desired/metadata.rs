//! Names, labels and owner references of the children.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};

use sha2::{Digest as _, Sha256};

use crate::controller::stack::Stack;

/// Value of `app.kubernetes.io/managed-by` on every child.
pub(crate) const MANAGED_BY: &str = "weir-operator";
/// Label that selects the children on every watch.
pub(crate) const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// Label that names the stack.
pub(crate) const STACK_LABEL: &str = "weir.dev/stack";
/// Annotation with the generation of a credential.
pub(crate) const GENERATION: &str = "weir.dev/generation";
/// Annotation with the moment in which a credential was published.
pub(crate) const PUBLISHED_AT: &str = "weir.dev/published-at";

/// Annotation with the reason for which a generation was made.
pub(crate) const CAUSE: &str = "weir.dev/cause";
/// Annotation with the moment after which ClickHouse refuses a generation.
pub(crate) const EXPIRES_AT: &str = "weir.dev/expires-at";

/// Annotation of the pods with the hash of the CA bundle. They follow its file, but each kubelet refreshes that in its own
/// time; a rollout ends, and says so, when every pod has the new one.
pub(crate) const CA_HASH: &str = "weir.dev/ca-sha256";

/// Hash of a CA bundle.
pub(crate) fn ca_hash(pem: &str) -> String {
    hex::encode(Sha256::digest(pem))
}

/// Annotation of a migration Job with the hash of its spec, which cannot be edited.
pub(crate) const SPEC_HASH: &str = "weir.dev/spec-sha256";

/// What a child belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Component {
    Ingest,
    Migration,
    Drain,
    Credential,
}

impl Component {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Migration => "migration",
            Self::Drain => "drain",
            Self::Credential => "credential",
        }
    }
}

/// Labels of a child.
pub(crate) fn labels(stack: &Stack, component: Component) -> BTreeMap<String, String> {
    let mut labels = selector_labels(stack, component);
    labels.insert(MANAGED_BY_LABEL.into(), MANAGED_BY.into());
    labels.insert(STACK_LABEL.into(), stack.name.clone());
    labels
}

/// Labels that select the pods of a component; they never change for a stack.
pub(crate) fn selector_labels(stack: &Stack, component: Component) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("app.kubernetes.io/name".into(), format!("weir-{}", component.as_str())),
        ("app.kubernetes.io/instance".into(), stack.name.clone()),
        ("app.kubernetes.io/component".into(), component.as_str().into()),
    ])
}

/// Label selector of the ingest pods of a stack, as text.
pub(crate) fn ingest_selector(stack: &str) -> String {
    format!("app.kubernetes.io/name=weir-ingest,app.kubernetes.io/instance={stack}")
}

/// Selector of the pods of a component.
pub(crate) fn selector(stack: &Stack, component: Component) -> LabelSelector {
    LabelSelector { match_labels: Some(selector_labels(stack, component)), ..LabelSelector::default() }
}

/// Metadata of a child.
pub(crate) fn metadata(stack: &Stack, name: String, component: Component) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(stack.namespace.clone()),
        labels: Some(labels(stack, component)),
        owner_references: Some(vec![owner_reference(stack)]),
        ..ObjectMeta::default()
    }
}

/// The same metadata with one annotation.
pub(crate) fn annotated(mut metadata: ObjectMeta, key: &str, value: String) -> ObjectMeta {
    metadata.annotations.get_or_insert_default().insert(key.into(), value);
    metadata
}

fn owner_reference(stack: &Stack) -> OwnerReference {
    OwnerReference {
        api_version: "weir.dev/v1alpha1".into(),
        kind: "AnalyticsStack".into(),
        name: stack.name.clone(),
        uid: stack.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}
