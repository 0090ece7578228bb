//! Secrets of a stack: published logins and keys, hashed keys of the pods, the CA bundle.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use secrecy::ExposeSecret as _;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::metadata::{CAUSE, Component, GENERATION, annotated, metadata};
use crate::controller::credential::{Credential, Origin, Use, Value, generation_secret};
use crate::controller::rotation::{self, Retirements};
use crate::controller::stack::{Key, Stack};

/// Type of a Secret that a generation of a credential is written ahead into.
pub(crate) const GENERATION_TYPE: &str = "weir.dev/credential-generation";

/// Builds the Secret that a generation is written ahead into. Its content can never be edited, only lost.
pub(crate) fn ahead(stack: &Stack, name: &str, value: &Value) -> Secret {
    let mut fields = vec![
        ("credential", name.to_owned()),
        ("generation", value.generation.to_string()),
        ("value", value.secret.expose_secret().to_owned()),
    ];
    match &value.origin {
        Origin::Generated => {}
        Origin::Supplied => fields.push(("origin", "supplied".into())),
        Origin::Barrier(refused) => fields.push(("refused", refused.text())),
    }
    let secret_name = generation_secret(stack, name, value.generation);
    let mut secret = build(stack, secret_name, Component::Credential, fields);
    secret.metadata = annotated(secret.metadata, CAUSE, value.cause.text());
    secret.type_ = Some(GENERATION_TYPE.into());
    secret.immutable = Some(true);
    secret
}

/// Builds the Secret of a migration's user, which only its Job mounts.
pub(crate) fn migration(stack: &Stack, name: String, user: String, password: &str) -> Secret {
    let mut secret =
        build(stack, name, Component::Migration, [("username", user), ("password", password.to_owned())]);
    secret.immutable = Some(true);
    secret
}

/// Builds the Secret that the consumers of a credential use, with one of its generations; none for a migration's, which
/// has no other.
pub(crate) fn published(stack: &Stack, credential: &Credential, value: &Value) -> Option<Secret> {
    let plain = value.secret.expose_secret();
    let mut secret = match &credential.purpose {
        Use::Migrate(_) => return None,
        Use::Key(..) => {
            let fields = [("key", plain.to_owned()), ("url", stack.url())];
            build(stack, credential.published.clone(), Component::Credential, fields)
        }
        Use::Ingest | Use::Reader(_) => {
            login(stack, credential, credential.user_of(stack, value.generation)?, plain)
        }
    };
    secret.metadata = annotated(secret.metadata, GENERATION, value.generation.to_string());
    Some(secret)
}

fn login(stack: &Stack, credential: &Credential, user: String, password: &str) -> Secret {
    let mut fields = vec![("username", user), ("password", password.to_owned())];
    if let Some(endpoint) = stack.clickhouse.endpoints.first() {
        fields.push(("host", endpoint.host.clone()));
        fields.push(("port", endpoint.port.to_string()));
        fields.push(("url", endpoint.to_string()));
    }
    fields.push(("database", stack.clickhouse.names.database.clone()));
    if let Some(ca) = &stack.clickhouse.ca_pem {
        fields.push(("ca.crt", ca.clone()));
    }
    let component = match credential.purpose {
        Use::Ingest => Component::Ingest,
        Use::Reader(_) | Use::Migrate(_) | Use::Key(..) => Component::Credential,
    };
    build(stack, credential.published.clone(), component, fields)
}

/// The hashed keys that the pods should accept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HashedKeys {
    /// Number by which a pod says that it has read exactly these. From the content, so that a rebuilt Secret has it again
    /// and any change has another.
    pub(crate) generation: u64,
    entries: Vec<serde_json::Value>,
}

/// Lists the keys with every generation that still counts, the newest first.
pub(crate) fn hashed_keys(
    stack: &Stack,
    credentials: &[Credential],
    retirements: &Retirements,
) -> HashedKeys {
    let mut entries = Vec::new();
    for key in &stack.keys {
        let is_this = |purpose: &Use| matches!(purpose, Use::Key(name, _) if *name == key.spec.name);
        let Some(credential) = credentials.iter().find(|credential| is_this(&credential.purpose)) else {
            continue;
        };
        let mut generations: Vec<_> = credential
            .generations()
            .filter(|value| !value.is_barrier() && retirements.keeps(credential, value.generation))
            .collect();
        generations.reverse();
        let end = |value: &Value| rotation::cap_of(credential, value.generation, &key.rotation);
        entries.extend(generations.into_iter().map(|value| entry(key, value, end(value))));
    }
    let hash = Sha256::digest(serde_json::Value::from(entries.as_slice()).to_string());
    // 48 bits are exact in JSON.
    let generation = hash.iter().take(6).fold(0, |number, byte| number << 8 | u64::from(*byte));
    HashedKeys { generation, entries }
}

/// Builds the Secret of hashed keys that the pods read and reload.
pub(crate) fn keys_file(stack: &Stack, keys: &HashedKeys) -> Secret {
    let text = json!({ "generation": keys.generation, "keys": keys.entries }).to_string();
    build(stack, stack.child_name("ingest-keys"), Component::Ingest, [("keys.json", text)])
}

fn entry(key: &Key, value: &Value, valid_until: Option<Timestamp>) -> serde_json::Value {
    let mut entry = json!({
        "name": key.spec.name,
        "generation": value.generation,
        "sha256": hex::encode(Sha256::digest(value.secret.expose_secret().as_bytes())),
        "scopes": key.spec.scopes,
        "origins": key.spec.origins,
        "validUntil": valid_until,
    });
    if let Some(rate) = key.spec.rate_limit {
        entry["rateLimit"] = json!({ "eventsPerSecond": rate });
    }
    entry
}

/// Builds the copy of the CA bundle that the pods mount.
pub(crate) fn ca_bundle(stack: &Stack) -> Option<Secret> {
    let ca = stack.clickhouse.ca_pem.clone()?;
    Some(build(stack, stack.child_name("ingest-ca"), Component::Ingest, [("ca.crt", ca)]))
}

fn build<'a>(
    stack: &Stack,
    name: String,
    component: Component,
    fields: impl IntoIterator<Item = (&'a str, String)>,
) -> Secret {
    let data: BTreeMap<_, _> =
        fields.into_iter().map(|(key, value)| (key.to_owned(), ByteString(value.into_bytes()))).collect();
    Secret {
        metadata: metadata(stack, name, component),
        type_: Some("Opaque".into()),
        data: Some(data),
        ..Secret::default()
    }
}
