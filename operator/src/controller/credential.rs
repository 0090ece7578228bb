//! The credentials of a stack, their generations, and the step that each is at. Pure.
//!
//! Each generation is written ahead into a Secret of its own that nobody mounts; `rotation` says what becomes of it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use secrecy::SecretString;
use weir_crds::KeyType;

use super::desired::metadata::{CAUSE, EXPIRES_AT, GENERATION, PUBLISHED_AT};
use super::desired::secret::GENERATION_TYPE;
use super::rotation::Cause;
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
    /// Its name among the stack's credentials, such as `key-web`.
    pub(crate) name: String,
    /// Secret that its newest generation is written ahead into.
    pub(crate) pending: String,
    /// Secret that consumers use.
    pub(crate) published: String,
    /// Generation that the published Secret holds now.
    pub(crate) live: Option<i64>,
    /// The newest generation and its step.
    pub(crate) state: State,
    /// Generations before the newest that are still kept, oldest first.
    pub(crate) older: Vec<Value>,
    /// The generation after every one that was ever seen.
    pub(crate) next: i64,
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
    /// Why it was made.
    pub(crate) cause: Cause,
    /// When ClickHouse refuses it, once it was told so.
    pub(crate) expires_at: Option<Timestamp>,
}

impl Value {
    /// A generation that was made because there was none.
    pub(crate) fn first(generation: i64, secret: SecretString) -> Self {
        Self { generation, secret, published_at: None, cause: Cause::First, expires_at: None }
    }
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

    /// Every generation that is kept, oldest first.
    pub(crate) fn generations(&self) -> impl Iterator<Item = &Value> {
        self.older.iter().chain(self.value())
    }

    /// Name of the Secret that a generation is written ahead into.
    pub(crate) fn secret_of(&self, generation: i64) -> String {
        let stem = self.pending.rsplit_once("-g").map_or(self.pending.as_str(), |(stem, _)| stem);
        format!("{stem}-g{generation}")
    }

    /// Whether it is a login to ClickHouse.
    pub(crate) const fn is_login(&self) -> bool {
        !matches!(self.purpose, Use::Key(..))
    }

    /// Name of the user in ClickHouse; none for keys and before a generation is known.
    pub(crate) fn user(&self, stack: &Stack) -> Option<String> {
        self.user_of(stack, self.value()?.generation)
    }

    /// Name of the user of a generation in ClickHouse; none for keys.
    pub(crate) fn user_of(&self, stack: &Stack, generation: i64) -> Option<String> {
        let names = &stack.clickhouse.names;
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
            let highest = highest.highest(&purpose);
            build(stack, purpose, name, published, secrets, highest)
        })
        .collect()
}

/// Name of the Secret that a generation is written ahead into.
pub(crate) fn generation_secret(stack: &Stack, name: &str, generation: i64) -> String {
    stack.child_name(&format!("{name}-g{generation}"))
}

fn build(
    stack: &Stack,
    purpose: Use,
    name: String,
    published: String,
    secrets: &BTreeMap<String, Secret>,
    highest: i64,
) -> Credential {
    let mut older = kept(secrets, &name);
    let shown = secrets.get(&published).and_then(|secret| shown(&purpose, secret));
    let live = shown.as_ref().map(|value| value.generation);
    let newest = older.pop();
    let state = match (newest, shown) {
        (None, None) => State::Missing { generation: highest + 1 },
        (None, Some(shown)) => State::Unbacked(shown),
        (Some(newest), Some(shown)) if shown.generation > newest.generation => {
            older.push(newest);
            State::Unbacked(shown)
        }
        (Some(newest), shown) => {
            // Consumers have a generation that was lost; it counts as published at any time.
            let is_lost = |value: &Value| {
                value.generation != newest.generation
                    && older.iter().all(|known| known.generation != value.generation)
            };
            let lost = shown.filter(is_lost);
            older.extend(lost.map(|value| Value { published_at: Some(Timestamp::UNIX_EPOCH), ..value }));
            older.sort_by_key(|value| value.generation);
            State::Pending(newest)
        }
    };
    let generation = match &state {
        State::Missing { generation } => *generation,
        State::Unbacked(value) | State::Pending(value) => value.generation,
    };
    let pending = generation_secret(stack, &name, generation);
    let next = highest.max(generation) + 1;
    Credential { purpose, name, pending, published, live, state, older, next }
}

/// The credential of one migration run. Its Secret is mounted by the Job and is its own backing.
pub(crate) fn migration(stack: &Stack, run: &str, secrets: &BTreeMap<String, Secret>) -> Credential {
    let name = super::desired::migration::name(stack, run);
    let password = secrets.get(&name).and_then(|secret| text(secret, "password"));
    let state = password.map_or(State::Missing { generation: 1 }, |password| {
        State::Pending(Value::first(1, password.into()))
    });
    Credential {
        purpose: Use::Migrate(run.to_owned()),
        name: name.clone(),
        pending: name.clone(),
        published: name,
        live: None,
        state,
        older: Vec::new(),
        next: 2,
    }
}

/// Generations that were written ahead, oldest first.
fn kept(secrets: &BTreeMap<String, Secret>, name: &str) -> Vec<Value> {
    let is_own = |secret: &&Secret| {
        secret.type_.as_deref() == Some(GENERATION_TYPE)
            && text(secret, "credential").as_deref() == Some(name)
    };
    let moment = |secret: &Secret, key: &str| annotation(secret, key).and_then(|at| at.parse().ok());
    let value = |secret: &Secret| {
        Some(Value {
            generation: text(secret, "generation")?.parse().ok()?,
            secret: text(secret, "value")?.into(),
            published_at: moment(secret, PUBLISHED_AT),
            cause: Cause::parse(annotation(secret, CAUSE)),
            expires_at: moment(secret, EXPIRES_AT),
        })
    };
    let mut kept: Vec<_> = secrets.values().filter(is_own).filter_map(value).collect();
    kept.sort_by_key(|value| value.generation);
    kept
}

/// What a published Secret holds. Only the field that Weir publishes: somebody may have added others to the Secret.
fn shown(purpose: &Use, published: &Secret) -> Option<Value> {
    let field = if matches!(purpose, Use::Key(..)) { "key" } else { "password" };
    let generation = annotation(published, GENERATION)?.parse().ok()?;
    Some(Value::first(generation, text(published, field)?.into()))
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
        let value = shown(&Use::Key("web".into(), KeyType::Public), &published).unwrap();
        assert_eq!(value.secret.expose_secret(), "own");
    }
}
