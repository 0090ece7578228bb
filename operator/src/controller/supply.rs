//! Values that the owner of a Secret keeps (`valueFrom`): checked here, and never written there. Pure.
//!
//! A text about one names the Secret, the key in it and the field that asked for it, and never the value.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use weir_crds::{AnalyticsStackSpec, CREDENTIAL_LABEL, ConditionType, Reason, SecretKeyReference};

use super::credential::{Credential, Origin};
use super::observed::Fault;

/// Fewest characters of a value: as many as nobody guesses.
const MIN_LENGTH: usize = 24;
/// Most characters: more than any header has room for.
const MAX_LENGTH: usize = 256;
/// How PostHog's personal keys begin, which ingest refuses whatever follows.
const PERSONAL_KEY: &str = "phx_";

/// What the referenced Secrets gave, by the name of the credential.
pub(crate) type Supplied = BTreeMap<String, Result<SecretString, Fault>>;

/// Where the next generation of a credential comes from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// The operator draws it.
    Generated,
    /// The owner of a Secret writes it.
    Supplied(Supply),
}

/// A value that the owner of a Secret keeps.
#[derive(Debug, Clone)]
pub(crate) struct Supply {
    /// Where.
    pub(crate) reference: SecretKeyReference,
    /// Field that asks for it.
    pub(crate) field: String,
    /// The value, or why there is none.
    pub(crate) value: Result<SecretString, Fault>,
}

/// SHA-256 hashes of values that were revoked, in hexadecimal. Not shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Refused(BTreeSet<String>);

/// A value that the spec asks for.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    /// Name of its credential.
    pub(crate) credential: String,
    /// Field that asks for it.
    pub(crate) field: String,
    /// Where it is.
    pub(crate) reference: &'a SecretKeyReference,
    /// Whether it is an ingestion key.
    pub(crate) is_key: bool,
}

/// Every value that a spec takes from Secrets.
pub(crate) fn wanted(spec: &AnalyticsStackSpec) -> impl Iterator<Item = Wanted<'_>> {
    let keys = spec.keys.iter().filter_map(|key| {
        let reference = &key.value_from.as_ref()?.secret_key_ref;
        Some(Wanted { credential: key_name(&key.name), field: key_field(&key.name), reference, is_key: true })
    });
    let users = spec.users.iter().filter_map(|user| {
        let reference = &user.value_from.as_ref()?.secret_key_ref;
        let (credential, field) = (user_name(&user.name), user_field(&user.name));
        Some(Wanted { credential, field, reference, is_key: false })
    });
    keys.chain(users)
}

/// Name of a key among the credentials.
pub(crate) fn key_name(key: &str) -> String {
    format!("key-{key}")
}

/// Name of a reader among the credentials.
pub(crate) fn user_name(user: &str) -> String {
    format!("user-{user}")
}

/// Field that says where a key comes from.
pub(crate) fn key_field(key: &str) -> String {
    format!("spec.keys[{key}].valueFrom")
}

/// Field that says where a reader's password comes from.
pub(crate) fn user_field(user: &str) -> String {
    format!("spec.users[{user}].valueFrom")
}

/// Reads a value out of its Secret.
pub(crate) fn read(wanted: &Wanted<'_>, secret: Option<&Secret>) -> Result<SecretString, Fault> {
    let Wanted { field, reference, is_key, .. } = wanted;
    let key = &reference.key;
    let Some(secret) = secret else {
        let hint = format!(
            "create it in the stack's namespace with the label {CREDENTIAL_LABEL}: \"true\" and the value in its key {key}, as {field} says"
        );
        return Err(fault(reference, Reason::SecretNotFound, hint));
    };
    let invalid =
        |problem: &str| Err(fault(reference, Reason::SecretInvalid, format!("{problem} ({field})")));
    if secret.labels().get(CREDENTIAL_LABEL).is_none_or(|value| value != "true") {
        return invalid(&format!(
            "it lacks the label {CREDENTIAL_LABEL}: \"true\", with which its owner lets stacks take values from it; add the label, or name another Secret"
        ));
    }
    let Some(bytes) = secret.data.as_ref().and_then(|data| data.get(key)) else {
        return invalid(&format!("it has no key {key}; add it, or name the key that holds the value"));
    };
    match (problem(&bytes.0, *is_key), std::str::from_utf8(&bytes.0)) {
        (None, Ok(value)) => Ok(value.to_owned().into()),
        (problem, _) => {
            let problem = problem.unwrap_or("is not text");
            invalid(&format!("the value of its key {key} {problem}; what was in use before stays meanwhile"))
        }
    }
}

/// What is wrong with a value, and what to do.
fn problem(value: &[u8], is_key: bool) -> Option<&'static str> {
    if matches!(value.last(), Some(b'\n' | b'\r')) {
        return Some("ends with a line break; write it without, as `printf` and `--from-literal` do");
    }
    if !value.iter().all(u8::is_ascii_graphic) {
        return Some(
            "holds a space, a control character or a character outside of ASCII; write letters, digits and signs only",
        );
    }
    if value.len() < MIN_LENGTH {
        return Some(
            "has fewer than 24 characters; write a longer one, such as that of `openssl rand -hex 24`",
        );
    }
    if value.len() > MAX_LENGTH {
        return Some("has more than 256 characters; write a shorter one");
    }
    if is_key && value.starts_with(PERSONAL_KEY.as_bytes()) {
        return Some("begins with phx_, as PostHog's personal keys do, which are refused; write another one");
    }
    None
}

fn fault(reference: &SecretKeyReference, reason: Reason, hint: String) -> Fault {
    let object = format!("Secret/{}", reference.name);
    Fault { stage: ConditionType::CredentialsReady, object, reason, hint }
}

/// The fault of a value that was not looked for, as while a pass has only begun.
pub(crate) fn unread(reference: &SecretKeyReference) -> Fault {
    fault(reference, Reason::Progressing, "it was not read yet".into())
}

/// Refuses a value that another credential of the stack has: who is let in by it could not be told, and to revoke one
/// would leave the other. Whoever had it first keeps it.
pub(crate) fn refuse_shared(credentials: &mut [Credential]) {
    for index in 0..credentials.len() {
        let Some(other) = shares_with(credentials, index) else { continue };
        if let Some(Credential { source: Source::Supplied(supply), .. }) = credentials.get_mut(index) {
            let hint = format!(
                "the value of its key {} is that of {other} as well; each needs one of its own: write another value ({})",
                supply.reference.key, supply.field
            );
            supply.value = Err(fault(&supply.reference, Reason::SecretInvalid, hint));
        }
    }
}

/// Name of the credential that has, or is about to take, the value which the one at `index` is to take.
fn shares_with(credentials: &[Credential], index: usize) -> Option<String> {
    let wanted = credentials.get(index)?.supplied()?;
    let has = |credential: &Credential| credential.generations().any(|value| is_same(&value.secret, wanted));
    if has(credentials.get(index)?) {
        return None;
    }
    let takes = |credential: &Credential| credential.supplied().is_some_and(|value| is_same(value, wanted));
    let mut others = credentials.iter().enumerate().filter(|(position, _)| *position != index);
    let other = others.find(|(position, other)| has(other) || *position < index && takes(other));
    other.map(|(_, other)| other.name.clone())
}

/// Whether two values are one.
pub(crate) fn is_same(one: &SecretString, other: &SecretString) -> bool {
    one.expose_secret() == other.expose_secret()
}

impl Refused {
    /// What a revocation of a credential refuses: every value that consumers may have had.
    pub(crate) fn of(credential: &Credential) -> Self {
        let mut refused = Self::default();
        for value in credential.generations() {
            match &value.origin {
                Origin::Barrier(earlier) => refused.0.extend(earlier.0.iter().cloned()),
                Origin::Generated | Origin::Supplied => {
                    if value.published_at.is_some() || credential.live == Some(value.generation) {
                        refused.0.insert(hash(&value.secret));
                    }
                }
            }
        }
        refused
    }

    /// Refuses one value.
    pub(crate) fn only(value: &SecretString) -> Self {
        Self([hash(value)].into())
    }

    /// Whether a value was revoked.
    pub(crate) fn holds(&self, value: &SecretString) -> bool {
        self.0.contains(&hash(value))
    }

    /// The hashes as one text, which is never empty.
    pub(crate) fn text(&self) -> String {
        format!("sha256 {}", self.0.iter().map(String::as_str).collect::<Vec<_>>().join(" "))
    }

    /// Reads the text.
    pub(crate) fn parse(text: &str) -> Self {
        Self(text.split_whitespace().skip(1).map(str::to_owned).collect())
    }
}

impl std::fmt::Debug for Refused {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Refused({})", self.0.len())
    }
}

impl Supply {
    /// The fault of a value that is there and was revoked.
    pub(crate) fn revoked(&self) -> Fault {
        let hint = format!(
            "the value of its key {} was revoked by the annotation weir.dev/revoke and nothing else is there, so nobody is let in; write another value ({})",
            self.reference.key, self.field
        );
        fault(&self.reference, Reason::SecretInvalid, hint)
    }
}

fn hash(value: &SecretString) -> String {
    hex::encode(Sha256::digest(value.expose_secret().as_bytes()))
}

#[cfg(test)]
mod tests;
