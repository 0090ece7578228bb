//! Writes credentials ahead. A Secret of a credential is created, never overwritten: whoever creates it first decides.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use rand::TryRng as _;
use rand::rngs::{SysError, SysRng};
use serde_json::json;
use weir_crds::{ConditionType, KeyType, Reason};
use zeroize::Zeroizing;

use super::child::{conflict, is_owned, key_of};
use super::{Failure, Tools};
use crate::controller::child::Child;
use crate::controller::credential::Value;
use crate::controller::desired::secret;
use crate::controller::plan::{Generate, Hold};
use crate::kubernetes;

/// Random bytes of a password or key.
const BYTES: usize = 32;

/// Generates a credential and writes it ahead.
pub(super) async fn generate(tools: &Tools<'_>, generate: &Generate) -> Result<(), Failure> {
    let Some(stack) = tools.checked else { return Ok(()) };
    let value = random(generate.key).map_err(|_| no_randomness(&generate.secret))?;
    let secret = if let Some(user) = &generate.migration_user {
        secret::migration(stack, generate.secret.clone(), user.clone(), &value)
    } else {
        let (cause, origin) = (generate.cause.clone(), generate.origin.clone());
        let first = Value::first(generate.generation, value.as_str().into());
        secret::ahead(stack, &generate.credential, &Value { cause, origin, ..first })
    };
    write_ahead(tools, &secret).await
}

/// Writes a known credential ahead.
pub(super) async fn create(tools: &Tools<'_>, child: &Child) -> Result<(), Failure> {
    match child {
        Child::Secret(secret) => write_ahead(tools, secret).await,
        Child::ServiceAccount(_)
        | Child::Service(_)
        | Child::NetworkPolicy(_)
        | Child::PodDisruptionBudget(_)
        | Child::Deployment(_)
        | Child::StatefulSet(_)
        | Child::Job(_) => Ok(()),
    }
}

async fn write_ahead(tools: &Tools<'_>, secret: &Secret) -> Result<(), Failure> {
    let client = &tools.ctx.client;
    if kubernetes::create(client, tools.namespace, secret).await?.is_some() {
        return Ok(());
    }
    let key = key_of(secret);
    let found = kubernetes::fetch_metadata::<Secret>(client, tools.namespace, &key.name).await?;
    match found {
        // The watch will show it: written by an earlier pass, or stripped of the label that the watch selects by.
        Some(metadata) if is_owned(&metadata, &tools.owner.uid) => {
            let patch = json!({ "metadata": { "labels": secret.metadata.labels } });
            kubernetes::merge::<Secret>(client, tools.namespace, &key.name, &patch).await?;
            Ok(())
        }
        Some(metadata) => Err(Failure::Hold(conflict(&key, &metadata, tools.owner))),
        None => Ok(()),
    }
}

/// Notes a moment on the Secret of a generation.
pub(super) async fn mark(tools: &Tools<'_>, name: &str, what: &str, at: Timestamp) -> Result<(), Failure> {
    let patch = json!({ "metadata": { "annotations": { what: at.to_string() } } });
    kubernetes::merge::<Secret>(&tools.ctx.client, tools.namespace, name, &patch).await?;
    Ok(())
}

/// A password, or a key that says what it is, from the system's randomness.
fn random(key: Option<KeyType>) -> Result<Zeroizing<String>, SysError> {
    let mut bytes = Zeroizing::new([0_u8; BYTES]);
    SysRng.try_fill_bytes(bytes.as_mut_slice())?;
    let text = URL_SAFE_NO_PAD.encode(bytes.as_slice());
    Ok(Zeroizing::new(match key {
        None => text,
        Some(KeyType::Public) => format!("weir_pk_{text}"),
        Some(KeyType::Secret) => format!("weir_sk_{text}"),
    }))
}

fn no_randomness(secret: &str) -> Failure {
    Failure::Hold(Hold {
        stage: ConditionType::CredentialsReady,
        object: format!("Secret/{secret}"),
        reason: Reason::ApplyFailed,
        hint: "the operator's system gave no randomness; it is tried again".into(),
        blocks: true,
        until: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_long_url_safe_and_say_what_they_are() {
        let [password, public, secret] =
            [None, Some(KeyType::Public), Some(KeyType::Secret)].map(|key| random(key).unwrap().to_string());
        assert_eq!(password.len(), 43);
        assert!(public.starts_with("weir_pk_") && secret.starts_with("weir_sk_"));
        let is_safe = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_');
        assert!(password.chars().chain(public.chars()).all(is_safe));
        assert_ne!(*random(None).unwrap(), *random(None).unwrap());
    }
}
