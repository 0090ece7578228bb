//! The secrets of a run, gathered while they come and go, and their forms.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt as _, api::ListParams};
use sha2::{Digest as _, Sha256};
use tokio::task::JoinHandle;

use super::{outputs::Output, search::Needles};
use crate::stage::{Stage, TEAM};

/// How often Secrets are read: a pending one lives longer than this.
const READ_EVERY: Duration = Duration::from_millis(250);
/// Entries of Secrets that hold a secret as text.
const ENTRIES: [&str; 3] = ["key", "password", "value"];

/// Anything shorter is somebody's own entry, such as one that another story left in a Secret: what Weir makes is longer.
const LEAST: usize = 24;

/// Secrets that are being gathered.
pub(super) struct Secrets {
    found: Found,
    private_key: String,
    reading: JoinHandle<()>,
}

type Found = Arc<Mutex<BTreeMap<String, &'static str>>>;

/// Secrets that were gathered, each with what it is.
pub(super) struct Gathered(BTreeMap<String, &'static str>);

impl Secrets {
    /// Notes what the stage was made with, and reads every Secret of the team from now on.
    pub(super) fn gather(stage: &Stage) -> anyhow::Result<Self> {
        let found = Found::default();
        let registry = &stage.target.registry;
        for user in [&registry.push, &registry.pull].into_iter().flatten() {
            note(&found, user.password.clone(), "registry password");
        }
        note(&found, stage.admin_password().to_owned(), "administrator password");
        let key = rcgen::KeyPair::generate().context("failed to make a private key")?;
        let private_key = key.serialize_pem();
        // A line of the PEM is as telling as all of it.
        for line in private_key.lines().filter(|line| !line.starts_with("-----") && line.len() > 40) {
            note(&found, line.to_owned(), "private key");
        }
        let reading = tokio::spawn(read(Api::namespaced(stage.client.clone(), TEAM), Arc::clone(&found)));
        Ok(Self { found, private_key, reading })
    }

    /// A secret that nobody knows.
    pub(super) fn invent(&self, kind: &'static str) -> String {
        let secret = format!("canary{}", hex::encode(rand::random::<[u8; 16]>()));
        note(&self.found, secret.clone(), kind);
        secret
    }

    /// Content of a pull Secret with a wrong password.
    pub(super) fn wrong_pull_secret(&self, stage: &Stage) -> String {
        let password = self.invent("wrong registry password");
        let auth = STANDARD.encode(format!("canary:{password}"));
        let login = serde_json::json!({ "username": "canary", "password": password, "auth": auth });
        serde_json::json!({ "auths": { (stage.target.registry.host.clone()): login } }).to_string()
    }

    /// A private key, which somebody puts where a certificate belongs.
    pub(super) fn private_key(&self) -> &str {
        &self.private_key
    }

    /// Ends the gathering.
    pub(super) async fn stop(self) -> anyhow::Result<Gathered> {
        self.reading.abort();
        // Ends as told, or has failed before.
        if let Err(error) = self.reading.await
            && !error.is_cancelled()
        {
            return Err(error).context("the Secrets could not be read");
        }
        Ok(Gathered(self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()))
    }
}

async fn read(api: Api<Secret>, found: Found) {
    loop {
        let secrets = api.list(&ListParams::default()).await.expect("the API server lists Secrets");
        for secret in secrets {
            let name = secret.name_any();
            for (entry, value) in secret.data.unwrap_or_default() {
                if ENTRIES.contains(&entry.as_str())
                    && let Ok(text) = String::from_utf8(value.0)
                    && text.len() >= LEAST
                {
                    note(&found, text, kind(&name));
                }
            }
        }
        tokio::time::sleep(READ_EVERY).await;
    }
}

fn kind(secret: &str) -> &'static str {
    match secret {
        _ if secret.contains("admin") => "administrator password",
        _ if secret.contains("-key-") => "ingestion key",
        _ if secret.contains("migrate") => "password of a migration",
        _ => "password of a user",
    }
}

fn note(found: &Found, secret: String, kind: &'static str) {
    found.lock().unwrap_or_else(PoisonError::into_inner).entry(secret).or_insert(kind);
}

impl Gathered {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// How many there are of each kind.
    pub(super) fn kinds(&self) -> String {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for kind in self.0.values() {
            *counts.entry(kind).or_default() += 1;
        }
        counts.iter().map(|(kind, count)| format!("{count} of {kind}")).collect::<Vec<_>>().join(", ")
    }

    /// Where a secret shows, and in which form; the secret itself is not told.
    pub(super) fn hits(&self, outputs: &[Output]) -> anyhow::Result<Vec<String>> {
        let of_secret = |(secret, kind): (&String, &&'static str)| {
            let kind = *kind;
            forms(secret).into_iter().map(move |(form, text)| ((kind, form), text))
        };
        let (forms, texts): (Vec<_>, Vec<_>) = self.0.iter().flat_map(of_secret).unzip();
        let needles = Needles::new(texts)?;
        let mut hits = Vec::new();
        for Output { name, text } in outputs {
            for (number, at) in needles.find(text) {
                let (kind, form) = forms[number];
                hits.push(format!("{kind}, {form}, in {name}: {}", around(text, at, needles.text(number))));
            }
        }
        Ok(hits)
    }
}

/// What a secret may look like in an output.
fn forms(secret: &str) -> Vec<(&'static str, String)> {
    let digest = Sha256::digest(secret.as_bytes());
    let mut forms = vec![
        ("plain", secret.to_owned()),
        ("in hex", hex::encode(secret)),
        ("in capital hex", hex::encode_upper(secret)),
        ("as SHA-256 in hex", hex::encode(digest)),
        ("as SHA-256 in capital hex", hex::encode_upper(digest)),
        ("as SHA-256 in base64", STANDARD_NO_PAD.encode(digest)),
        ("backwards", secret.chars().rev().collect()),
    ];
    // In the middle of something that is encoded, a text has three forms, whose first and last letters depend on what is
    // around it.
    for before in ["", "x", "xx"] {
        let encoded = STANDARD_NO_PAD.encode(format!("{before}{secret}"));
        forms.push(("in base64", encoded[4.min(encoded.len())..encoded.len() - 3].to_owned()));
    }
    forms
}

/// What stands before a hit, for whoever has to find its cause.
fn around(text: &str, at: usize, hit: &str) -> String {
    let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let before: String = text[line..at].chars().rev().take(200).collect();
    let before: String = before.chars().rev().collect();
    format!("{before}[{} characters]", hit.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_found_wherever_it_stands() {
        let secret = "canary-0123456789abcdef";
        let found = |text: String| {
            let gathered = Gathered(BTreeMap::from([(secret.to_owned(), "test")]));
            !gathered.hits(&[Output { name: "o".into(), text }]).unwrap().is_empty()
        };
        for before in ["", "a", "ab", "abc", "user:"] {
            assert!(found(STANDARD.encode(format!("{before}{secret} and more"))), "after {before:?}");
        }
        assert!(found(format!("x{secret}y")));
        assert!(found(hex::encode(secret)));
        assert!(found(hex::encode(Sha256::digest(secret))));
        assert!(!found("canary-0123456789abcdee".into()));
    }
}
