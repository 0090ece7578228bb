//! cargo-deny, which judges licences, bans and sources of every dependency.

use std::{fs, path::PathBuf, process::Command};

use anyhow::Context;

use super::{Hint, cache, progress, run};

const VERSION: &str = "0.20.2";

/// Returns the path of cargo-deny; its first build takes some three minutes on two cores.
pub fn cargo_deny() -> anyhow::Result<PathBuf> {
    let entry = cache::entry("cargo-deny", VERSION, |folder| {
        progress("building cargo-deny: about 3 minutes on two cores");
        let build = folder.join("build");
        let mut cargo = Command::new("cargo");
        cargo.args(["install", "--quiet", "--locked", "--no-track", "--version", VERSION, "cargo-deny"]);
        cargo.arg("--root").arg(folder).arg("--target-dir").arg(&build);
        // Outside any workspace, whose configuration is not for this build.
        cargo.current_dir(folder);
        run(
            &mut cargo,
            &Hint::new("install Rust (https://rustup.rs)", "can cargo reach the registry of crates?"),
        )?;
        fs::remove_dir_all(&build).context("failed to remove the folder of the build")
    })?;
    Ok(entry.join("bin/cargo-deny"))
}
