//! From a binary and a Containerfile to an image in a registry.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;
use serde_json::Value;

use super::binary::workspace;
use crate::{
    cluster::{RegistryAccess, registry},
    tool::{Hint, run},
};

/// An image that can be built.
#[derive(Debug, Clone)]
pub struct Image {
    name: &'static str,
    containerfile: PathBuf,
    binary: PathBuf,
    arguments: Vec<(&'static str, String)>,
}

impl Image {
    /// The ingest service; asks the binary which schema versions it can serve.
    pub fn ingest(binary: &Path) -> anyhow::Result<Self> {
        let printed = run(Command::new(binary).arg("schema"), &Hint::new("build it first", ""))?;
        let range: Value = serde_json::from_str(&printed).with_context(|| {
            format!(
                "`{} schema` must print one JSON object, it printed: {}",
                binary.display(),
                printed.trim()
            )
        })?;
        let bound = |name: &str| -> anyhow::Result<String> {
            let number = range[name].as_u64();
            Ok(number.with_context(|| format!("`{} schema` names no {name}", binary.display()))?.to_string())
        };
        let mut image = Self::named("weir-ingest", "ingest", binary)?;
        image
            .arguments
            .extend([("SCHEMA_MINIMUM", bound("minimum")?), ("SCHEMA_MAXIMUM", bound("maximum")?)]);
        Ok(image)
    }

    /// The operator.
    pub fn operator(binary: &Path) -> anyhow::Result<Self> {
        Self::named("weir-operator", "operator", binary)
    }

    /// Returns the same image labelled as another version, which gives it another digest.
    #[must_use]
    pub fn with_version(mut self, version: &str) -> Self {
        self.arguments.retain(|(name, _)| *name != "VERSION");
        self.arguments.push(("VERSION", version.to_owned()));
        self
    }

    /// Returns the name of the image's repository.
    pub fn name(&self) -> &str {
        self.name
    }

    fn named(name: &'static str, folder: &str, binary: &Path) -> anyhow::Result<Self> {
        let containerfile = workspace()?.join(folder).join("Containerfile");
        let arguments = vec![("BINARY", name.to_owned()), ("VERSION", env!("CARGO_PKG_VERSION").to_owned())];
        Ok(Self { name, containerfile, binary: binary.to_path_buf(), arguments })
    }
}

/// An image on disk.
#[derive(Debug, Clone)]
pub struct Built {
    /// The folder of an OCI layout that holds just this image.
    pub layout: PathBuf,
    /// The digest of its manifest, `sha256:…`; the same binary gives the same digest.
    pub digest: String,
}

/// An image in a registry.
#[derive(Debug, Clone)]
pub struct Pushed {
    /// `<host>/<name>:<tag>`.
    pub tag_reference: String,
    /// `<host>/<name>@sha256:…`.
    pub digest_reference: String,
    /// `sha256:…`.
    pub digest: String,
}

/// Builds the image below `folder`, which belongs to the run.
pub fn build(image: &Image, folder: &Path) -> anyhow::Result<Built> {
    let work = folder.join(format!("image-{}-{:08x}", image.name, rand::random::<u32>()));
    let (context, layout) = (work.join("context"), work.join("layout"));
    fs::create_dir_all(&context).with_context(|| format!("failed to create {}", context.display()))?;
    fs::copy(&image.binary, context.join(image.name))
        .with_context(|| format!("failed to copy {}", image.binary.display()))?;
    let mut build = buildah(&work);
    build.args(["build", "--isolation", "chroot", "--format", "oci", "--tag", image.name]);
    // Without these three the digest would carry the time and the version of the program that built it.
    build.args(["--timestamp", "0", "--identity-label=false", "--layers=false", "--quiet"]);
    for (name, value) in &image.arguments {
        build.arg("--build-arg").arg(format!("{name}={value}"));
    }
    build.arg("--file").arg(&image.containerfile).arg(&context);
    run(&mut build, &hint())?;
    let mut push = buildah(&work);
    push.args(["push", "--quiet", image.name]).arg(format!("oci:{}:{}", layout.display(), image.name));
    run(&mut push, &hint())?;
    for leftover in ["context", "storage", "storage.run", "tmp"] {
        let path = work.join(leftover);
        fs::remove_dir_all(&path).with_context(|| format!("failed to remove {}", path.display()))?;
    }
    let digest = digest(&layout)?;
    Ok(Built { layout, digest })
}

/// Builds the image and pushes it as `<host>/<name>:<tag>`.
pub fn build_and_push(
    image: &Image,
    tag: &str,
    registry: &RegistryAccess,
    folder: &Path,
) -> anyhow::Result<Pushed> {
    push_built(&build(image, folder)?, image.name, tag, registry, folder)
}

/// Pushes a built image as `<host>/<name>:<tag>`.
pub fn push_built(
    built: &Built,
    name: &str,
    tag: &str,
    registry: &RegistryAccess,
    folder: &Path,
) -> anyhow::Result<Pushed> {
    let source = format!("oci:{}:{name}", built.layout.display());
    let digest = registry::push(registry, folder, &source, &format!("{name}:{tag}"))?;
    anyhow::ensure!(digest == built.digest, "{name} was built as {} and pushed as {digest}", built.digest);
    let repository = format!("{}/{name}", registry.host);
    Ok(Pushed {
        tag_reference: format!("{repository}:{tag}"),
        digest_reference: format!("{repository}@{digest}"),
        digest,
    })
}

/// Storage of its own, so that builds do not share state with each other or with the machine.
fn buildah(work: &Path) -> Command {
    let mut command = Command::new("buildah");
    command.arg("--root").arg(work.join("storage")).arg("--runroot").arg(work.join("storage.run"));
    command.args(["--storage-driver", "vfs"]);
    command.env("TMPDIR", temporary(work));
    command
}

fn temporary(work: &Path) -> PathBuf {
    let path = work.join("tmp");
    // A failure shows in buildah, which then misses the folder and says so.
    drop(fs::create_dir(&path));
    path
}

fn digest(layout: &Path) -> anyhow::Result<String> {
    let path = layout.join("index.json");
    let text = fs::read(&path).with_context(|| format!("failed to read {}", path.display()))?;
    let index: Value =
        serde_json::from_slice(&text).with_context(|| format!("failed to parse {}", path.display()))?;
    let digest = index["manifests"][0]["digest"].as_str();
    Ok(digest.with_context(|| format!("{} names no image", path.display()))?.to_owned())
}

fn hint() -> Hint {
    Hint::new("install the package buildah", "")
}
