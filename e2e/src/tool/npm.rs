//! Packages of the npm registry: single archives, and whole locked sets for programs written in JavaScript.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;
use sha2::{Digest, Sha256};

use super::{Hint, cache, run};

const HINT: Hint = Hint::new(
    "install Node.js 20 or newer with npm (Debian: apt-get install nodejs npm)",
    "npm could not fetch from its registry: is there a network?",
);

/// Installs the packages that `package.json` and `package-lock.json` in `folder` name, exactly as locked.
///
/// Returns a folder that holds `node_modules`, shared by every run with the same two files; scripts of packages are not run.
pub fn npm_packages(folder: &Path) -> anyhow::Result<PathBuf> {
    let files = ["package.json", "package-lock.json"];
    let mut hash = Sha256::new();
    for file in files {
        let path = folder.join(file);
        hash.update(fs::read(&path).with_context(|| format!("failed to read {}", path.display()))?);
    }
    let version = hex::encode(&hash.finalize()[..8]);
    cache::entry("npm", &version, |target| {
        for file in files {
            fs::copy(folder.join(file), target.join(file))
                .with_context(|| format!("failed to copy {file}"))?;
        }
        run(npm().args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(target), &HINT)?;
        Ok(())
    })
}

/// Downloads the archive of `name@version` into `folder`.
pub(super) fn pack(folder: &Path, package: &str) -> anyhow::Result<PathBuf> {
    let printed = run(npm().args(["pack", "--silent", package]).current_dir(folder), &HINT)?;
    let archive = printed.lines().last().context("npm pack named no archive")?;
    Ok(folder.join(archive.trim()))
}

fn npm() -> Command {
    Command::new("npm")
}
