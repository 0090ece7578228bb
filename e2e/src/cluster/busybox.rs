//! A small image from Debian's static busybox: the pause container of every pod, and a tool for tests.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{registry, setup::Setup};
use crate::tool::{Hint, run};

/// The name under which the runtime has the image; no registry answers it, so it is never pulled.
pub(crate) const PAUSE: &str = "weir.test/pause:1";
/// Its place in the registry of the run.
const IN_REGISTRY: &str = "busybox:1";
const BUSYBOX: &str = "/bin/busybox";
const APPLETS: [&str; 10] = ["sh", "sleep", "cat", "ls", "id", "env", "wget", "nslookup", "httpd", "nc"];

/// Hands the image to containerd.
pub(super) fn import(setup: &Setup) -> anyhow::Result<()> {
    let layout = build(&setup.subfolder("busybox-import")?)?;
    let archive = setup.folder.join("busybox.tar");
    run(
        Command::new("tar")
            .arg("--create")
            .arg("--file")
            .arg(&archive)
            .arg("--directory")
            .arg(&layout)
            .arg("."),
        &Hint::none(),
    )?;
    let mut ctr = Command::new("ctr");
    ctr.arg("--address").arg(setup.containerd_socket()).args(["--namespace", "k8s.io", "images", "import"]);
    run(ctr.arg(&archive), &Hint::none())?;
    Ok(())
}

/// Puts the image into the registry.
pub(super) fn push(setup: &Setup) -> anyhow::Result<()> {
    let layout = build(&setup.subfolder("busybox-push")?)?;
    registry::copy(setup, &format!("oci:{}:{PAUSE}", layout.display()), IN_REGISTRY)?;
    Ok(())
}

/// Writes an OCI layout that holds the image; the same busybox gives the same digest.
pub(crate) fn build(folder: &Path) -> anyhow::Result<PathBuf> {
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs).with_context(|| format!("failed to create {}", blobs.display()))?;
    let mut layer = write_blob(&blobs, &build_layer()?)?;
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "config": { "User": "65532:65532", "Entrypoint": [BUSYBOX], "Cmd": ["sleep", "2147483647"], "Env": ["PATH=/bin"] },
        "rootfs": { "type": "layers", "diff_ids": [layer["digest"]] },
    });
    layer["mediaType"] = "application/vnd.oci.image.layer.v1.tar".into();
    let mut config = write_blob(&blobs, config.to_string().as_bytes())?;
    config["mediaType"] = "application/vnd.oci.image.config.v1+json".into();
    let manifest_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest =
        json!({ "schemaVersion": 2, "mediaType": manifest_type, "config": config, "layers": [layer] })
            .to_string();
    let mut manifest = write_blob(&blobs, manifest.as_bytes())?;
    manifest["mediaType"] = manifest_type.into();
    manifest["annotations"] =
        json!({ "org.opencontainers.image.ref.name": PAUSE, "io.containerd.image.name": PAUSE });
    let index = json!({ "schemaVersion": 2, "manifests": [manifest] }).to_string();
    for (name, text) in [("index.json", index.as_str()), ("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#)]
    {
        fs::write(folder.join(name), text).with_context(|| format!("failed to write {name}"))?;
    }
    Ok(folder.to_path_buf())
}

fn write_blob(blobs: &Path, content: &[u8]) -> anyhow::Result<Value> {
    let digest = hex::encode(Sha256::digest(content));
    fs::write(blobs.join(&digest), content).context("failed to write a blob")?;
    Ok(json!({ "digest": format!("sha256:{digest}"), "size": content.len() }))
}

fn build_layer() -> anyhow::Result<Vec<u8>> {
    let program = fs::read(BUSYBOX).context("failed to read busybox: install the package busybox-static")?;
    let mut archive = tar::Builder::new(Vec::new());
    for folder in ["bin/", "tmp/"] {
        let mut header = header(tar::EntryType::Directory, 0o755, 0);
        archive.append_data(&mut header, folder, std::io::empty())?;
    }
    let mut file = header(tar::EntryType::Regular, 0o755, program.len() as u64);
    archive.append_data(&mut file, "bin/busybox", program.as_slice())?;
    for applet in APPLETS {
        let mut link = header(tar::EntryType::Symlink, 0o777, 0);
        archive.append_link(&mut link, format!("bin/{applet}"), "busybox")?;
    }
    Ok(archive.into_inner()?)
}

fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}
