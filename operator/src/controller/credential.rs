//! The credentials of a stack and the step that each is at. Pure.
//!
//! ```text
//! Missing ─generate─► Pending (written ahead, nobody mounts it) ─create user, prove─► published
//!                        ▲                                                             │
//!                        └───────────── restored, when the pending Secret was lost ────┘
//! ```

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use secrecy::SecretString;
use weir_crds::KeyType;

use super::desired::metadata::{GENERATION, PUBLISHED_AT};
use super::stack::Stack;

/// What a credential is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Use {
    /// ClickHouse user of the ingest pods.
    Ingest,
    /// ClickHouse user of one migration run.
    Migrate(String),
    /// ClickHouse user of the reader of that name.
    Reader(String),
    /// Ingestion key of that name.
    Key(String, KeyType),
}

/// One credential and where it is kept.
#[derive(Debug, Clone)]
pub(crate) struct Credential {
    /// What it is for.
    pub(crate) purpose: Use,
    /// Secret that it is written ahead into.
    pub(crate) pending: String,
    /// Secret that consumers use.
    pub(crate) published: String,
    /// The step that it is at.
    pub(crate) state: State,
}

/// The step that a credential is at.
#[derive(Debug, Clone)]
pub(crate) enum State {
    /// Nothing holds a value; this generation is to be generated.
    Missing {
        /// Generation to generate.
        generation: i64,
    },
    /// Only the published Secret holds the value.
    Unbacked(Value),
    /// The pending Secret holds the value.
    Pending(Value),
}

/// A value and its generation.
#[derive(Debug, Clone)]
pub(crate) struct Value {
    /// Generation, counted from 1.
    pub(crate) generation: i64,
    /// Password or key.
    pub(crate) secret: SecretString,
    /// When it was published, once it was.
    pub(crate) published_at: Option<Timestamp>,
}

/// What is known about generations that were used before.
pub(crate) trait Highest {
    /// Highest generation of a credential that was ever seen, 0 when none was.
    fn highest(&self, purpose: &Use) -> i64;
}

impl Credential {
    /// The value, once there is one.
    pub(crate) fn value(&self) -> Option<&Value> {
        match &self.state {
            State::Missing { .. } => None,
            State::Unbacked(value) | State::Pending(value) => Some(value),
        }
    }

    /// Whether it is a login to ClickHouse.
    pub(crate) const fn is_login(&self) -> bool {
        !matches!(self.purpose, Use::Key(..))
    }

    /// Name of the user in ClickHouse; none for keys and before a generation is known.
    pub(crate) fn user(&self, stack: &Stack) -> Option<String> {
        let names = &stack.clickhouse.names;
        let generation = self.value()?.generation;
        match &self.purpose {
            Use::Ingest => Some(names.ingest_user(generation)),
            Use::Migrate(run) => Some(names.migrate_user(run)),
            Use::Reader(reader) => Some(names.reader_user(reader, generation)),
            Use::Key(..) => None,
        }
    }
}

/// Lists the credentials that the stack wants, each at its step. The migration's is listed apart.
pub(crate) fn credentials(
    stack: &Stack,
    secrets: &BTreeMap<String, Secret>,
    highest: &impl Highest,
) -> Vec<Credential> {
    let mut wanted = vec![(Use::Ingest, "ingest".to_owned(), stack.child_name("ingest-clickhouse"))];
    for reader in &stack.readers {
        wanted.push((
            Use::Reader(reader.name.clone()),
            format!("user-{}", reader.name),
            reader.secret_name.clone(),
        ));
    }
    for key in &stack.keys {
        let purpose = Use::Key(key.spec.name.clone(), key.spec.key_type);
        wanted.push((purpose, format!("key-{}", key.spec.name), key.secret_name.clone()));
    }
    wanted
        .into_iter()
        .map(|(purpose, name, published)| {
            let pending = stack.child_name(&format!("{name}-pending"));
            let kept = Kept { pending: secrets.get(&pending), published: secrets.get(&published) };
            let state = state(&purpose, &kept, || highest.highest(&purpose) + 1);
            Credential { purpose, pending, published, state }
        })
        .collect()
}

/// The credential of one migration run. Its Secret is mounted by the Job and is its own backing.
pub(crate) fn migration(stack: &Stack, run: &str, secrets: &BTreeMap<String, Secret>) -> Credential {
    let name = super::desired::migration::name(stack, run);
    let value = secrets.get(&name).and_then(|secret| {
        Some(Value { generation: 1, secret: text(secret, "password")?.into(), published_at: None })
    });
    let state = value.map_or(State::Missing { generation: 1 }, State::Pending);
    Credential { purpose: Use::Migrate(run.to_owned()), pending: name.clone(), published: name, state }
}

/// The two Secrets that may hold a value.
struct Kept<'a> {
    pending: Option<&'a Secret>,
    published: Option<&'a Secret>,
}

fn state(purpose: &Use, kept: &Kept<'_>, next: impl FnOnce() -> i64) -> State {
    if let Some(value) = kept.pending.and_then(|secret| {
        Some(Value {
            generation: text(secret, "generation")?.parse().ok()?,
            secret: text(secret, "value")?.into(),
            published_at: annotation(secret, PUBLISHED_AT).and_then(|at| at.parse().ok()),
        })
    }) {
        return State::Pending(value);
    }
    // Only the field that Weir publishes: somebody may have added others to the Secret.
    let field = if matches!(purpose, Use::Key(..)) { "key" } else { "password" };
    let unbacked = kept.published.and_then(|secret| {
        Some(Value {
            generation: annotation(secret, GENERATION)?.parse().ok()?,
            secret: text(secret, field)?.into(),
            published_at: None,
        })
    });
    unbacked.map_or_else(|| State::Missing { generation: next() }, State::Unbacked)
}

/// A field of a Secret as text.
pub(crate) fn text(secret: &Secret, key: &str) -> Option<String> {
    let bytes = secret.data.as_ref()?.get(key)?;
    String::from_utf8(bytes.0.clone()).ok().filter(|text| !text.is_empty())
}

fn annotation<'a>(secret: &'a Secret, key: &str) -> Option<&'a str> {
    secret.metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use kube::ResourceExt as _;
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn a_foreign_field_of_a_published_secret_is_never_taken_for_the_credential() {
        let field = |name: &str, value: &str| (name.to_owned(), ByteString(value.as_bytes().to_vec()));
        let mut published = Secret {
            data: Some(BTreeMap::from([field("key", "own"), field("password", "foreign")])),
            ..Secret::default()
        };
        published.annotations_mut().insert(GENERATION.into(), "1".into());
        let kept = Kept { pending: None, published: Some(&published) };
        let restored = state(&Use::Key("web".into(), KeyType::Public), &kept, || 2);
        let State::Unbacked(value) = restored else { panic!("the key was not restored") };
        assert_eq!(value.secret.expose_secret(), "own");
    }
}
