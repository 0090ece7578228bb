//! Where Weir is installed: a cluster, a registry and a ClickHouse, and the steps of an installation.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    cluster::RegistryAccess,
    image::{Binaries, Image, Pushed, build, push_built},
    query::ClickhouseAccess,
    stack::Stack,
    tool::{self, Hint},
};

/// Namespace of the operator.
pub const SYSTEM: &str = "weir-system";
/// Name of the Helm release, and so of the operator's Deployment, ServiceAccount and Lease.
pub const RELEASE: &str = "weir";
/// Version that the images are tagged with, as the examples ask for it.
const TAG: &str = "0.1.0";

/// The images of a run.
#[derive(Clone, Debug)]
pub struct Images {
    /// The ingest service.
    pub ingest: PushedImage,
    /// The same program under another digest, as a newer release would be.
    pub next: PushedImage,
    /// The operator.
    pub operator: PushedImage,
}

/// One image in the registry, and where it lies on disk to be pushed again.
#[derive(Clone, Debug)]
pub struct PushedImage {
    /// Host and name.
    pub repository: String,
    /// Tag.
    pub tag: String,
    /// Digest of the manifest.
    pub digest: String,
    source: crate::image::Built,
    name: String,
}

/// An account of ClickHouse that the operator logs in with.
#[derive(Clone)]
pub struct Administrator {
    /// Its name.
    pub user: String,
    /// Its password.
    pub password: String,
}

impl std::fmt::Debug for Administrator {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Administrator({})", self.user)
    }
}

/// A cluster, a registry and a ClickHouse, whoever runs them.
#[derive(Debug)]
pub struct Target {
    /// Kubeconfig of somebody who may install Weir.
    pub kubeconfig: PathBuf,
    /// Registry that the nodes pull from.
    pub registry: RegistryAccess,
    /// ClickHouse that the stacks live on, with an account that may ask it everything.
    pub clickhouse: ClickhouseAccess,
    /// Account that the operator administers ClickHouse with.
    pub administrator: Administrator,
    /// Folder of the run.
    pub folder: PathBuf,
    /// Folder with the SDKs' `node_modules`.
    pub sdk: PathBuf,
}

impl Target {
    /// Builds the images and pushes them.
    pub fn push_images(&self, binaries: &Binaries) -> anyhow::Result<Images> {
        let ingest = Image::ingest(&binaries.ingest)?;
        Ok(Images {
            ingest: self.push(&ingest, TAG)?,
            next: self.push(&ingest.clone().with_version("0.1.1"), "0.1.1")?,
            operator: self.push(&Image::operator(&binaries.operator)?, TAG)?,
        })
    }

    fn push(&self, image: &Image, tag: &str) -> anyhow::Result<PushedImage> {
        let source = build(image, &self.folder)?;
        let Pushed { digest, .. } = push_built(&source, image.name(), tag, &self.registry, &self.folder)?;
        let repository = format!("{}/{}", self.registry.host, image.name());
        Ok(PushedImage { repository, tag: tag.into(), digest, source, name: image.name().into() })
    }

    /// Points a tag of an image's repository at that image.
    pub fn push_as(&self, image: &PushedImage, tag: &str) -> anyhow::Result<()> {
        push_built(&image.source, &image.name, tag, &self.registry, &self.folder).map(drop)
    }

    /// Installs both charts with Helm and waits until the operator is ready.
    pub fn install(&self, images: &Images, drift_seconds: u64) -> anyhow::Result<()> {
        self.prepare_namespace(SYSTEM)?;
        self.helm(&["upgrade", "--install", "weir-crds", &chart("weir-crds")?, "-n", SYSTEM, "--wait"])?;
        let values = json!({
            "image": { "repository": images.operator.repository, "digest": images.operator.digest },
            "imagePullSecrets": [{ "name": "registry-pull" }],
            "allowInlineClickhouse": true,
            "driftSeconds": drift_seconds,
            "registryCa": { "configMapName": if self.registry.ca.is_some() { "registry-ca" } else { "" } },
        });
        let file = self.folder.join("values.json");
        fs::write(&file, values.to_string()).context("failed to write the values of the chart")?;
        let file = file.display().to_string();
        let charts = chart("weir")?;
        let install = [
            "upgrade",
            "--install",
            RELEASE,
            &charts,
            "-n",
            SYSTEM,
            "-f",
            &file,
            "--wait",
            "--timeout",
            "120s",
        ];
        self.helm(&install).map(drop)
    }

    /// Makes a namespace with what an application team keeps there: pull secret, ClickHouse's administrator and CA.
    pub fn prepare_namespace(&self, namespace: &str) -> anyhow::Result<()> {
        self.apply(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } }))?;
        let pull = self.registry.docker_config_json();
        self.apply(&secret(
            namespace,
            "registry-pull",
            "kubernetes.io/dockerconfigjson",
            &[(".dockerconfigjson", &pull)],
        ))?;
        self.write_admin_secret(namespace, &self.administrator.password)?;
        if let Some(pem) = &self.clickhouse.ca_pem {
            self.apply(&secret(namespace, "clickhouse-ca", "Opaque", &[("ca.crt", pem)]))?;
        }
        if let Some((pem, _)) = &self.registry.ca {
            let metadata = json!({ "name": "registry-ca", "namespace": namespace });
            self.apply(&json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": { "ca.crt": pem } }))?;
        }
        Ok(())
    }

    /// Writes the Secret of ClickHouse's administrator.
    pub fn write_admin_secret(&self, namespace: &str, password: &str) -> anyhow::Result<()> {
        let login = [("username", self.administrator.user.as_str()), ("password", password)];
        self.apply(&secret(namespace, "clickhouse-admin", weir_crds::ADMIN_SECRET_TYPE, &login))
    }

    /// Writes a Secret.
    pub fn apply_secret(
        &self,
        namespace: &str,
        name: &str,
        kind: &str,
        entries: &[(&str, &str)],
    ) -> anyhow::Result<()> {
        self.apply(&secret(namespace, name, kind, entries))
    }

    /// Renders an example for this target and returns the path of the file.
    pub fn example(&self, name: &str) -> anyhow::Result<PathBuf> {
        let text = fs::read_to_string(repository()?.join("examples").join(name))
            .with_context(|| format!("failed to read the example {name}"))?;
        let clickhouse = self.clickhouse.url.as_str().trim_end_matches('/');
        let text = text
            .replace("https://clickhouse.test:8443", clickhouse)
            .replace("registry.test:5000", &self.registry.host);
        let trusted = "    ca:\n      secretName: clickhouse-ca\n";
        let text = if self.clickhouse.ca_pem.is_none() { text.replace(trusted, "") } else { text };
        let path = self.folder.join(name);
        fs::write(&path, text).with_context(|| format!("failed to write {}", path.display()))?;
        Ok(path)
    }

    /// Applies one object.
    pub fn apply(&self, object: &Value) -> anyhow::Result<()> {
        // Through a pipe, since Secrets must not show in arguments.
        let mut command = Command::new(tool::kubectl()?);
        command
            .args(["apply", "--server-side", "--force-conflicts", "-f", "-"])
            .env("KUBECONFIG", &self.kubeconfig);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(object.to_string().as_bytes()).context("kubectl did not read the object")?;
        }
        let output = child.wait_with_output()?;
        ensure!(
            output.status.success(),
            "kubectl apply failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(())
    }

    /// Runs a program of `e2e/sdk` with Node.js and returns what it printed.
    pub async fn node(&self, program: &str, arguments: &[&str]) -> anyhow::Result<String> {
        // Beside the packages, since modules resolve from the program's own folder.
        let path = self.folder.join(program);
        fs::copy(repository()?.join("e2e/sdk").join(program), &path).context("failed to copy the program")?;
        let modules = self.folder.join("node_modules");
        if !modules.exists() {
            std::os::unix::fs::symlink(self.sdk.join("node_modules"), &modules)?;
        }
        let mut command = tokio::process::Command::new("node");
        command.arg(&path).args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        let output = command.output().await.context("failed to run node: install Node.js 20 or newer")?;
        let (printed, said) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "{program} ended with {}: {printed}{said}", output.status);
        Ok(printed.into_owned())
    }

    /// Asks one number of the events of that name, as a reader of the stack sees them.
    pub async fn ask_events(&self, stack: &Stack, what: &str, event: &str) -> anyhow::Result<u64> {
        let database = stack.get().await?.status.and_then(|status| status.database);
        let database = database.context("status.database is empty")?;
        let sql = format!("SELECT {what} FROM {database}.events WHERE event = '{event}'");
        Ok(self.clickhouse.query(&sql).await?.trim().parse()?)
    }

    /// Runs kubectl and returns what it printed.
    pub fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        tool::run(
            Command::new(tool::kubectl()?).args(arguments).env("KUBECONFIG", &self.kubeconfig),
            &Hint::none(),
        )
    }

    /// Runs Helm and returns what it printed.
    pub fn helm(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(tool::helm()?);
        for home in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            command.env(home, self.folder.join("helm"));
        }
        tool::run(command.args(arguments).env("KUBECONFIG", &self.kubeconfig), &Hint::none())
    }
}

fn secret(namespace: &str, name: &str, kind: &str, entries: &[(&str, &str)]) -> Value {
    let data: serde_json::Map<String, Value> =
        entries.iter().map(|(key, value)| ((*key).to_owned(), json!(STANDARD.encode(value)))).collect();
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": name, "namespace": namespace },
        "type": kind,
        "data": data,
    })
}

/// Path of a chart.
fn chart(name: &str) -> anyhow::Result<String> {
    Ok(repository()?.join("charts").join(name).display().to_string())
}

/// The checkout that this program was built from.
pub fn repository() -> anyhow::Result<&'static Path> {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the crate lies in the workspace")
}
