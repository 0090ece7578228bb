//! cargo-deny, which judges licences, bans and sources of every dependency.

use std::{fs, path::PathBuf, process::Command};

use anyhow::Context;

use super::{Hint, cache, progress, run};

const VERSION: &str = "0.20.2";
/// Build of that version, as its folder is named.
const BUILD: &str = "0.20.2-debug";

/// Returns the path of cargo-deny; its first build takes a minute or two on two cores.
pub fn cargo_deny() -> anyhow::Result<PathBuf> {
    let entry = cache::entry("cargo-deny", BUILD, |folder| {
        progress("building cargo-deny: a minute or two on two cores");
        let build = folder.join("build");
        let mut cargo = Command::new("cargo");
        // Unoptimized it is built in half the time, and still judges in seconds.
        cargo.args([
            "install",
            "--quiet",
            "--locked",
            "--no-track",
            "--debug",
            "--version",
            VERSION,
            "cargo-deny",
        ]);
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
