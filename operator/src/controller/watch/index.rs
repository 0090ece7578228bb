//! Which stacks refer to a Secret.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use kube::ResourceExt as _;
use weir_crds::AnalyticsStack;

use super::Guarded;
use crate::controller::supply;

/// Namespace and name of an object.
type Name = (String, String);

/// A stack and what it refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Referrer {
    /// Namespace of the stack and of the Secrets.
    pub(super) namespace: String,
    /// Name of the stack.
    pub(super) name: String,
    secrets: Vec<String>,
}

/// What a stack refers to; nothing when it cannot be read.
pub(super) fn referrer(stack: &Guarded) -> Referrer {
    let secrets = stack.0.as_ref().map(secret_names).unwrap_or_default();
    Referrer { namespace: stack.namespace().unwrap_or_default(), name: stack.name_any(), secrets }
}

/// Stacks by the Secrets that they refer to.
#[derive(Debug, Default)]
pub(crate) struct References(Mutex<Maps>);

#[derive(Debug, Default)]
struct Maps {
    by_secret: HashMap<Name, BTreeSet<String>>,
    by_stack: HashMap<Name, Vec<String>>,
}

impl References {
    /// Notes what a stack refers to, in place of what it did before.
    pub(super) fn set(&self, referrer: &Referrer) {
        self.replace(&referrer.namespace, &referrer.name, &referrer.secrets);
    }

    /// Forgets a stack.
    pub(crate) fn remove(&self, namespace: &str, stack: &str) {
        self.replace(namespace, stack, &[]);
    }

    /// Stacks that refer to a Secret of their namespace.
    pub(crate) fn referrers(&self, namespace: &str, secret: &str) -> Vec<String> {
        let maps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = maps.by_secret.get(&(namespace.to_owned(), secret.to_owned()));
        found.into_iter().flatten().cloned().collect()
    }

    fn replace(&self, namespace: &str, stack: &str, secrets: &[String]) {
        let mut maps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (namespace.to_owned(), stack.to_owned());
        for secret in maps.by_stack.remove(&key).unwrap_or_default() {
            let name = (namespace.to_owned(), secret);
            if let Some(stacks) = maps.by_secret.get_mut(&name) {
                stacks.remove(stack);
                if stacks.is_empty() {
                    maps.by_secret.remove(&name);
                }
            }
        }
        for secret in secrets {
            let name = (namespace.to_owned(), secret.clone());
            maps.by_secret.entry(name).or_default().insert(stack.to_owned());
        }
        if !secrets.is_empty() {
            maps.by_stack.insert(key, secrets.to_vec());
        }
    }
}

/// Names of every Secret that a stack refers to, and of those that it would publish, since a foreign one in the way
/// may go.
fn secret_names(stack: &AnalyticsStack) -> Vec<String> {
    let spec = &stack.spec;
    let mut names = vec![spec.clickhouse.admin_secret_ref.name.clone()];
    names.extend(spec.clickhouse.ca.iter().map(|ca| ca.secret_name.clone()));
    names.extend(spec.ingest.image.pull_secrets.iter().map(|secret| secret.name.clone()));
    names.extend(spec.keys.iter().filter_map(|key| key.secret_name.clone()));
    names.extend(spec.users.iter().filter_map(|user| user.secret_name.clone()));
    names.extend(supply::wanted(spec).map(|wanted| wanted.reference.name.clone()));
    let name = stack.name_any();
    names.extend(spec.keys.iter().map(|key| format!("{name}-key-{}", key.name)));
    names.extend(spec.users.iter().map(|user| format!("{name}-user-{}", user.name)));
    names
}

#[cfg(test)]
mod tests {
    use kube::core::DeserializeGuard;

    use super::*;
    use crate::controller::fixture;

    fn referrer_of(stack: &AnalyticsStack) -> Referrer {
        referrer(&DeserializeGuard(Ok(stack.clone())))
    }

    #[test]
    fn a_secret_leads_to_its_referrers_and_to_no_others() {
        let references = References::default();
        let mut stack = fixture::stack();
        references.set(&referrer_of(&stack));
        for secret in ["db-admin", "db-ca", "pull"] {
            assert_eq!(references.referrers("retail", secret), ["store"], "{secret}");
        }
        assert!(references.referrers("retail", "other").is_empty());
        assert!(references.referrers("elsewhere", "db-admin").is_empty());
        stack.spec.clickhouse.admin_secret_ref.name = "new-admin".into();
        let from = serde_json::json!({ "secretKeyRef": { "name": "own-key", "key": "key" } });
        stack.spec.keys[0].value_from = serde_json::from_value(from).unwrap();
        references.set(&referrer_of(&stack));
        assert!(references.referrers("retail", "db-admin").is_empty());
        assert_eq!(references.referrers("retail", "new-admin"), ["store"]);
        assert_eq!(references.referrers("retail", "own-key"), ["store"]);
        references.remove("retail", "store");
        assert!(references.0.lock().unwrap().by_secret.is_empty());
    }
}
