//! A key and a password that their owner keeps in Secrets of its own, where a stack takes them from.

use std::time::Duration;

use serde_json::{Value, json};
use weir_crds::{CREDENTIAL_LABEL, ConditionType, Reason};

use super::secrets::Secrets;
use crate::{
    stack::Stack,
    stage::{Stage, TEAM},
};

/// Name of the key and of the reader that take them.
pub(super) const NAME: &str = "own";
/// Secret with the key.
const KEY: &str = "canary-owners-key";
/// Secret with the password.
const PASSWORD: &str = "canary-owners-password";
/// Key in both.
const FIELD: &str = "value";

/// The key, as the spec names it.
pub(super) fn key(rotation: &Value) -> Value {
    json!({ "name": NAME, "type": "Secret", "valueFrom": from(KEY), "rotation": rotation })
}

/// The reader, as the spec names it.
pub(super) fn reader(rotation: &Value) -> Value {
    json!({ "name": NAME, "profile": "ReadOnly", "valueFrom": from(PASSWORD), "rotation": rotation })
}

fn from(secret: &str) -> Value {
    json!({ "secretKeyRef": { "name": secret, "key": FIELD } })
}

/// Writes a new key and a new password; returns the password.
pub(super) fn write(stage: &Stage, secrets: &Secrets) -> anyhow::Result<String> {
    apply(stage, KEY, &secrets.invent("supplied key"))?;
    let password = secrets.invent("supplied password");
    apply(stage, PASSWORD, &password)?;
    Ok(password)
}

/// Writes a password with a line break at its end, waits until it is named as invalid, and writes the good one again.
pub(super) async fn spoil(
    stage: &Stage,
    stack: &Stack,
    secrets: &Secrets,
    password: &str,
) -> anyhow::Result<()> {
    let invalid = secrets.invent("supplied password that is invalid");
    apply(stage, PASSWORD, &format!("{invalid}\n"))?;
    let named = (ConditionType::CredentialsReady, "False", Reason::SecretInvalid);
    stack.wait_condition(named, Duration::from_mins(1)).await?;
    apply(stage, PASSWORD, password)
}

fn apply(stage: &Stage, name: &str, value: &str) -> anyhow::Result<()> {
    stage.target.apply(&json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": name, "namespace": TEAM, "labels": { CREDENTIAL_LABEL: "true" } },
        "stringData": { FIELD: value },
    }))
}
