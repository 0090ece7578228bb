//! The credentials of a stack, their generations, and the step that each is at. Pure.
//!
//! Each generation is written ahead into a Secret of its own that nobody mounts; `rotation` says what becomes of it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use secrecy::SecretString;
use weir_crds::{KeyType, ValueSource};

use super::desired::metadata::{CAUSE, EXPIRES_AT, GENERATION, PUBLISHED_AT};
use super::desired::secret::GENERATION_TYPE;
use super::rotation::Cause;
use super::stack::Stack;
use super::supply::{self, Refused, Source, Supplied, Supply};

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
    /// Where the next generation comes from.
    pub(crate) source: Source,
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
    /// Where it is from.
    pub(crate) origin: Origin,
}

/// Where a value is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The operator drew it.
    Generated,
    /// The owner of a Secret wrote it there.
    Supplied,
    /// Nowhere: it is no value that anybody uses, and stands for the revocation of those before it, which its owner has to
    /// replace.
    Barrier(Refused),
}

impl Value {
    /// A generation that was made because there was none.
    pub(crate) fn first(generation: i64, secret: SecretString) -> Self {
        let (cause, origin) = (Cause::First, Origin::Generated);
        Self { generation, secret, published_at: None, cause, expires_at: None, origin }
    }

    /// Whether it only stands for a revocation.
    pub(crate) const fn is_barrier(&self) -> bool {
        matches!(self.origin, Origin::Barrier(_))
    }
}

/// What is known about generations that were used before.
pub(crate) trait Highest {
    /// Highest generation of a credential that was ever seen, 0 when none was.
    fn highest(&self, purpose: &Use) -> i64;

    /// The generation of a revocation after which nothing was published.
    fn revoked(&self, _purpose: &Use) -> Option<i64> {
        None
    }
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

    /// Name of the user of a generation in ClickHouse; none for keys. Passwords that a Secret's owner writes have one user,
    /// which keeps its name.
    pub(crate) fn user_of(&self, stack: &Stack, generation: i64) -> Option<String> {
        let names = &stack.clickhouse.names;
        let value = self.generations().find(|value| value.generation == generation);
        match (&self.purpose, value.map(|value| &value.origin)) {
            (Use::Key(..), _) | (_, Some(Origin::Barrier(_))) => None,
            (Use::Ingest, _) => Some(names.ingest_user(generation)),
            (Use::Migrate(run), _) => Some(names.migrate_user(run)),
            (Use::Reader(reader), Some(Origin::Supplied)) => Some(names.reader_login(reader)),
            (Use::Reader(reader), Some(Origin::Generated) | None) => {
                Some(names.reader_user(reader, generation))
            }
        }
    }

    /// The value that its owner keeps for it, where that can be used.
    pub(crate) fn supplied(&self) -> Option<&SecretString> {
        match &self.source {
            Source::Generated => None,
            Source::Supplied(supply) => supply.value.as_ref().ok(),
        }
    }

    /// Whether there is nothing to publish until the owner of a Secret acts.
    pub(crate) fn awaits_owner(&self) -> bool {
        matches!(self.source, Source::Supplied(_)) && self.value().is_none_or(Value::is_barrier)
    }
}

/// A credential that the stack wants.
struct Wanted {
    purpose: Use,
    name: String,
    published: String,
    source: Source,
}

/// Lists the credentials that the stack wants, each at its step. The migration's is listed apart.
pub(crate) fn credentials(
    stack: &Stack,
    secrets: &BTreeMap<String, Secret>,
    supplied: &Supplied,
    highest: &impl Highest,
) -> Vec<Credential> {
    let build = |wanted: Wanted| {
        let seen = (highest.highest(&wanted.purpose), highest.revoked(&wanted.purpose));
        build(stack, wanted, secrets, seen)
    };
    let mut credentials: Vec<_> = wanted(stack, supplied).into_iter().map(build).collect();
    supply::refuse_shared(&mut credentials);
    credentials
}

fn wanted(stack: &Stack, supplied: &Supplied) -> Vec<Wanted> {
    let source = |name: &str, from: Option<&ValueSource>, field: String| {
        let Some(from) = from else { return Source::Generated };
        let reference = from.secret_key_ref.clone();
        let value = supplied.get(name).cloned().unwrap_or_else(|| Err(supply::unread(&reference)));
        Source::Supplied(Supply { reference, field, value })
    };
    let mut wanted = vec![Wanted {
        purpose: Use::Ingest,
        name: "ingest".to_owned(),
        published: stack.child_name("ingest-clickhouse"),
        source: Source::Generated,
    }];
    for reader in &stack.readers {
        let name = supply::user_name(&reader.name);
        wanted.push(Wanted {
            purpose: Use::Reader(reader.name.clone()),
            published: reader.secret_name.clone(),
            source: source(&name, reader.value_from.as_ref(), supply::user_field(&reader.name)),
            name,
        });
    }
    for key in &stack.keys {
        let name = supply::key_name(&key.spec.name);
        wanted.push(Wanted {
            purpose: Use::Key(key.spec.name.clone(), key.spec.key_type),
            published: key.secret_name.clone(),
            source: source(&name, key.spec.value_from.as_ref(), supply::key_field(&key.spec.name)),
            name,
        });
    }
    wanted
}

/// Name of the Secret that a generation is written ahead into.
pub(crate) fn generation_secret(stack: &Stack, name: &str, generation: i64) -> String {
    stack.child_name(&format!("{name}-g{generation}"))
}

fn build(
    stack: &Stack,
    wanted: Wanted,
    secrets: &BTreeMap<String, Secret>,
    (highest, revoked): (i64, Option<i64>),
) -> Credential {
    let Wanted { purpose, name, published, source } = wanted;
    let mut older = kept(secrets, &name);
    let shown = secrets.get(&published).and_then(|secret| shown(stack, &purpose, secret));
    let live = shown.as_ref().map(|value| value.generation);
    let newest = older.pop();
    let state = match (newest, shown) {
        (None, None) => State::Missing { generation: highest + 1 },
        (None, Some(shown)) => State::Unbacked(lost_barrier(&shown, revoked).unwrap_or(shown)),
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
    Credential { purpose, name, pending, published, live, state, older, next, source }
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
        source: Source::Generated,
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
            origin: origin(secret),
        })
    };
    let mut kept: Vec<_> = secrets.values().filter(is_own).filter_map(value).collect();
    kept.sort_by_key(|value| value.generation);
    kept
}

/// The revocation of what is still published, when the Secret of that revocation was lost: without it the revoked value
/// would count again.
fn lost_barrier(shown: &Value, revoked: Option<i64>) -> Option<Value> {
    let generation = revoked.filter(|revoked| shown.generation < *revoked)?;
    let (cause, origin) = (Cause::Revoke("lost".into()), Origin::Barrier(Refused::only(&shown.secret)));
    Some(Value { cause, origin, ..Value::first(generation, shown.secret.clone()) })
}

/// Where the value of a generation is from, as its Secret says.
fn origin(secret: &Secret) -> Origin {
    match (text(secret, "refused"), text(secret, "origin").as_deref()) {
        (Some(refused), _) => Origin::Barrier(Refused::parse(&refused)),
        (None, Some("supplied")) => Origin::Supplied,
        (None, Some(_) | None) => Origin::Generated,
    }
}

/// What a published Secret holds. Only the field that Weir publishes: somebody may have added others to the Secret.
fn shown(stack: &Stack, purpose: &Use, published: &Secret) -> Option<Value> {
    let field = if matches!(purpose, Use::Key(..)) { "key" } else { "password" };
    let generation = annotation(published, GENERATION)?.parse().ok()?;
    let value = Value::first(generation, text(published, field)?.into());
    let is_supplied = match purpose {
        Use::Reader(reader) => {
            text(published, "username") == Some(stack.clickhouse.names.reader_login(reader))
        }
        // Only a user's name depends on it.
        Use::Ingest | Use::Migrate(_) | Use::Key(..) => false,
    };
    Some(if is_supplied { Value { origin: Origin::Supplied, ..value } } else { value })
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
    use crate::controller::fixture;

    #[test]
    fn a_foreign_field_of_a_published_secret_is_never_taken_for_the_credential() {
        let field = |name: &str, value: &str| (name.to_owned(), ByteString(value.as_bytes().to_vec()));
        let mut published = Secret {
            data: Some(BTreeMap::from([field("key", "own"), field("password", "foreign")])),
            ..Secret::default()
        };
        published.annotations_mut().insert(GENERATION.into(), "1".into());
        let value = shown(&fixture::checked(), &Use::Key("web".into(), KeyType::Public), &published).unwrap();
        assert_eq!(value.secret.expose_secret(), "own");
    }
}
