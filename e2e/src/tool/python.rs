//! Packages of PyPI, for programs written in Python.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;
use sha2::{Digest, Sha256};

use super::{Hint, cache, debian_packages, run};

const HINT: Hint = Hint::new("install Python 3", "pip could not fetch from PyPI: is there a network?");

/// Installs what a file of requirements names, each pinned by version and hash.
///
/// Returns a folder for `PYTHONPATH`, shared by every run with the same file; packages that need to be built are refused.
pub fn python_packages(requirements: &Path) -> anyhow::Result<PathBuf> {
    let text =
        fs::read(requirements).with_context(|| format!("failed to read {}", requirements.display()))?;
    let version = hex::encode(&Sha256::digest(text)[..8]);
    cache::entry("python", &version, |folder| {
        ensure_pip()?;
        let mut install = pip();
        install.args([
            "install",
            "--no-deps",
            "--require-hashes",
            "--only-binary=:all:",
            "--ignore-installed",
        ]);
        install
            .args(["--root-user-action=ignore", "--target"])
            .arg(folder)
            .arg("--requirement")
            .arg(requirements);
        run(&mut install, &HINT).map(drop)
    })
}

/// Starts the arguments of pip.
pub(super) fn pip() -> Command {
    let mut command = Command::new("python3");
    command.args(["-m", "pip", "--quiet", "--disable-pip-version-check"]);
    command
}

/// Installs pip when Python came without it.
pub(super) fn ensure_pip() -> anyhow::Result<()> {
    let found = pip().arg("--version").output().is_ok_and(|output| output.status.success());
    if found { Ok(()) } else { debian_packages(&["python3-pip"]) }
}
