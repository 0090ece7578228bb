//! Secrets of a stack: published logins and keys, hashed keys of the pods, the CA bundle.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use secrecy::ExposeSecret as _;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::metadata::{Component, GENERATION, annotated, metadata};
use crate::controller::credential::{Credential, Use, Value};
use crate::controller::stack::{Key, Stack};

/// Builds the Secret that a credential is written ahead into. Its content can never be edited, only lost.
pub(crate) fn pending(stack: &Stack, name: String, generation: i64, value: &str) -> Secret {
    let mut secret = build(
        stack,
        name,
        Component::Credential,
        [("generation", generation.to_string()), ("value", value.to_owned())],
    );
    secret.type_ = Some("weir.dev/pending-credential".into());
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

/// Builds the Secret that the consumers of a credential use; none for a migration's, which has no other.
pub(crate) fn published(stack: &Stack, credential: &Credential) -> Option<Secret> {
    let value = credential.value()?;
    let plain = value.secret.expose_secret();
    let mut secret = match &credential.purpose {
        Use::Migrate(_) => return None,
        Use::Key(..) => {
            let fields = [("key", plain.to_owned()), ("url", stack.url())];
            build(stack, credential.published.clone(), Component::Credential, fields)
        }
        Use::Ingest | Use::Reader(_) => login(stack, credential, credential.user(stack)?, plain),
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

/// Builds the Secret of hashed keys that the pods read and reload.
pub(crate) fn hashed_keys(stack: &Stack, credentials: &[Credential]) -> Secret {
    let mut generations = 0;
    let mut entries = Vec::new();
    for key in &stack.keys {
        let is_this = |purpose: &Use| matches!(purpose, Use::Key(name, _) if *name == key.spec.name);
        let found = credentials.iter().find(|credential| is_this(&credential.purpose));
        if let Some(value) = found.and_then(Credential::value) {
            generations += value.generation;
            entries.push(entry(key, value));
        }
    }
    // A number that only grows with the spec and with each new key, and that a rebuilt Secret has again.
    let generation = stack.generation * 1000 + generations;
    let text = json!({ "generation": generation, "keys": entries }).to_string();
    build(stack, stack.child_name("ingest-keys"), Component::Ingest, [("keys.json", text)])
}

fn entry(key: &Key, value: &Value) -> serde_json::Value {
    json!({
        "name": key.spec.name,
        "generation": value.generation,
        "sha256": hex::encode(Sha256::digest(value.secret.expose_secret().as_bytes())),
        "scopes": key.spec.scopes,
        "origins": key.spec.origins,
    })
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
