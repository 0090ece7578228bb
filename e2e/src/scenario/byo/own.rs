//! The owners' Secrets: written by their owners alone.

use anyhow::{Context as _, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt as _};
use serde_json::json;
use weir_crds::CREDENTIAL_LABEL;

use crate::stage::{Stage, TEAM};

/// Secret with the key.
pub(super) const KEY: &str = "owners-key";
/// Secret with the reader's password.
pub(super) const PASSWORD: &str = "owners-password";
/// Key in both.
pub(super) const FIELD: &str = "value";

/// What the owners wrote last, and the versions that their Secrets had then.
#[derive(Clone)]
pub(super) struct Own {
    values: [String; 2],
    versions: [String; 2],
}

impl Own {
    /// Makes both Secrets. They hold more than the value, which is nobody's business.
    pub(super) async fn write(stage: &Stage) -> anyhow::Result<Self> {
        let mut own = Self { values: fresh(), versions: [String::new(), String::new()] };
        own.apply(stage).await?;
        Ok(own)
    }

    /// Writes another value into both.
    pub(super) async fn change(&mut self, stage: &Stage) -> anyhow::Result<()> {
        self.check_untouched(stage).await?;
        self.values = fresh();
        self.apply(stage).await
    }

    /// Writes a password with a line break at its end.
    pub(super) async fn spoil(&mut self, stage: &Stage) -> anyhow::Result<()> {
        self.check_untouched(stage).await?;
        let [_, password] = fresh();
        self.values[1] = format!("{password}\n");
        self.apply(stage).await
    }

    /// Writes the same values again.
    pub(super) async fn write_again(&mut self, stage: &Stage) -> anyhow::Result<()> {
        self.check_untouched(stage).await?;
        self.apply(stage).await
    }

    async fn apply(&mut self, stage: &Stage) -> anyhow::Result<()> {
        for (name, value) in [KEY, PASSWORD].into_iter().zip(&self.values) {
            stage.target.apply(&json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": { "name": name, "namespace": TEAM, "labels": { CREDENTIAL_LABEL: "true" } },
                "stringData": { FIELD: value, "note": "for its owner" },
            }))?;
        }
        self.note(stage).await
    }

    /// Notes the versions that the owners' own hands left.
    pub(super) async fn note(&mut self, stage: &Stage) -> anyhow::Result<()> {
        self.versions = versions(stage).await?;
        Ok(())
    }

    /// Checks that nobody but the owners wrote.
    pub(super) async fn check_untouched(&self, stage: &Stage) -> anyhow::Result<()> {
        let now = versions(stage).await?;
        ensure!(
            now == self.versions,
            "somebody wrote the owners' Secrets: {:?}, then {now:?}",
            self.versions
        );
        Ok(())
    }

    /// Whether these are the values.
    pub(super) fn is(&self, key: &str, password: &str) -> bool {
        self.values == [key, password]
    }

    /// The key.
    pub(super) fn key(&self) -> &str {
        &self.values[0]
    }

    /// The password.
    pub(super) fn password(&self) -> &str {
        &self.values[1]
    }

    /// Whether a text holds one of the values.
    pub(super) fn shows_in(&self, text: &str) -> bool {
        self.values.iter().any(|value| text.contains(value.trim_end()))
    }
}

fn fresh() -> [String; 2] {
    [(); 2].map(|()| hex::encode(rand::random::<[u8; 24]>()))
}

async fn versions(stage: &Stage) -> anyhow::Result<[String; 2]> {
    let api: Api<Secret> = Api::namespaced(stage.client.clone(), TEAM);
    let version = async |name: &str| {
        let secret = api.get(name).await.with_context(|| format!("the Secret {name} is gone"))?;
        secret.resource_version().context("a Secret has a version")
    };
    Ok([version(KEY).await?, version(PASSWORD).await?])
}
