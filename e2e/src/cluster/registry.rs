//! The registry at `registry.test:5000`: TLS from the run's authority, two users with passwords of this run.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    pki::{Pki, write_private},
    setup::{Setup, write},
};
use crate::{
    sandbox::NODE_ADDRESS,
    tool::{Hint, run},
};

/// Where the registry of a sandbox answers.
pub(super) const HOST: &str = "registry.test:5000";
/// The content of a pull secret, in the folder of the run.
pub(super) const PULL_SECRET_FILE: &str = "pull-secret.json";
const ACCESS_FILE: &str = "registry.json";

/// How to reach a registry.
#[derive(Clone, Serialize, Deserialize)]
pub struct RegistryAccess {
    /// Host and port, as image references begin.
    pub host: String,
    /// The user that pushes; none for a registry that asks for no password.
    pub push: Option<Credentials>,
    /// The user that tests give to pods.
    pub pull: Option<Credentials>,
    /// The authority that signed its certificate, PEM and as a file; none when the system's roots know it.
    pub ca: Option<(String, PathBuf)>,
}

/// A user of a registry.
#[derive(Clone, Serialize, Deserialize)]
pub struct Credentials {
    /// The name.
    pub username: String,
    /// The password.
    pub password: String,
}

impl RegistryAccess {
    pub(super) fn generate(pki: &Pki) -> Self {
        Self {
            host: HOST.to_owned(),
            push: Some(Credentials::generate("node")),
            pull: Some(Credentials::generate("tenant")),
            ca: Some((pki.ca_pem(), pki.ca_file())),
        }
    }

    /// Reads what [`Self::write`] wrote.
    pub(super) fn read(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(ACCESS_FILE);
        let text = std::fs::read(&path).with_context(|| format!("failed to read {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("failed to parse {}", path.display()))
    }

    /// Leaves the access and a pull secret in the folder of the run, for commands that come later.
    pub(super) fn write(&self, folder: &Path) -> anyhow::Result<()> {
        write_private(&folder.join(ACCESS_FILE), &serde_json::to_string(self)?)?;
        write_private(&folder.join(PULL_SECRET_FILE), &self.docker_config_json())
    }

    /// Renders the content of a `kubernetes.io/dockerconfigjson` Secret for the user that pulls.
    pub fn docker_config_json(&self) -> String {
        let auths = match &self.pull {
            None => json!({}),
            Some(user) => json!({ &self.host: {
                "username": user.username,
                "password": user.password,
                "auth": STANDARD.encode(format!("{}:{}", user.username, user.password)),
            }}),
        };
        json!({ "auths": auths }).to_string()
    }
}

impl Credentials {
    fn generate(username: &str) -> Self {
        Self { username: username.to_owned(), password: hex::encode(rand::random::<[u8; 16]>()) }
    }
}

impl std::fmt::Debug for RegistryAccess {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("RegistryAccess").field("host", &self.host).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

pub(super) fn command(setup: &Setup) -> anyhow::Result<Command> {
    let folder = setup.subfolder("registry")?;
    let serving = setup.pki.issue_server("registry", &["registry.test", NODE_ADDRESS])?;
    let mut users = String::new();
    for user in [&setup.registry.push, &setup.registry.pull].into_iter().flatten() {
        let hint = Hint::new("install the package apache2-utils", "");
        let line = run(Command::new("htpasswd").args(["-Bbn", &user.username, &user.password]), &hint)
            .map_err(|_| anyhow::anyhow!("htpasswd refused the user {}", user.username))?;
        users.push_str(line.trim());
        users.push('\n');
    }
    let passwords = folder.join("htpasswd");
    write_private(&passwords, &users)?;
    let config = json!({
        "version": "0.1",
        "log": { "accesslog": { "disabled": false }, "level": "info" },
        "storage": { "filesystem": { "rootdirectory": folder.join("data") }, "delete": { "enabled": true } },
        "http": {
            "addr": format!("{NODE_ADDRESS}:5000"),
            "tls": { "certificate": serving.certificate_file, "key": serving.key_file },
        },
        "auth": { "htpasswd": { "realm": "weir", "path": passwords } },
    });
    let config = write(folder.join("config.yml"), &config.to_string())?;
    let mut command = Command::new("docker-registry");
    command.arg("serve").arg(config);
    Ok(command)
}

/// Copies an image into the registry of this run and returns its digest.
pub(super) fn copy(setup: &Setup, source: &str, name: &str) -> anyhow::Result<String> {
    push(&setup.registry, &setup.folder, source, name)
}

/// Copies an image from `source`, in the notation of skopeo, to `<host>/<name>`; returns the digest.
pub(crate) fn push(
    registry: &RegistryAccess,
    folder: &Path,
    source: &str,
    name: &str,
) -> anyhow::Result<String> {
    let work = folder.join(format!("push-{:08x}", rand::random::<u32>()));
    let (certificates, digest) = (work.join("certificates"), work.join("digest"));
    std::fs::create_dir_all(&certificates).with_context(|| format!("failed to create {}", work.display()))?;
    let mut command = Command::new("skopeo");
    command.args(["copy", "--quiet", "--insecure-policy", "--preserve-digests", "--digestfile"]).arg(&digest);
    if let Some((pem, _)) = &registry.ca {
        write(certificates.join("ca.crt"), pem)?;
        command.arg("--dest-cert-dir").arg(&certificates);
    }
    if let Some(user) = &registry.push {
        // A file, since arguments are visible to everyone on the machine.
        let mut access = registry.clone();
        access.pull = Some(user.clone());
        let file = work.join("auth.json");
        write_private(&file, &access.docker_config_json())?;
        command.arg("--dest-authfile").arg(file);
    }
    command.arg(source).arg(format!("docker://{}/{name}", registry.host));
    run(&mut command, &Hint::new("install the package skopeo", ""))?;
    let digest = std::fs::read_to_string(&digest).context("skopeo wrote no digest")?;
    std::fs::remove_dir_all(&work).with_context(|| format!("failed to remove {}", work.display()))?;
    Ok(digest.trim().to_owned())
}
