//! Static binaries: no image that they run in has to bring a library.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;

use crate::tool::{Hint, progress, run};

/// The binaries that the images hold.
#[derive(Debug, Clone)]
pub struct Binaries {
    /// `weir-ingest`.
    pub ingest: PathBuf,
    /// `weir-operator`.
    pub operator: PathBuf,
}

/// Builds both binaries for this machine's architecture, optimized and statically linked.
pub fn build_binaries() -> anyhow::Result<Binaries> {
    progress("building the release binaries: some minutes, when nothing is built yet");
    let target = target();
    // Without an explicit target the flags would reach build scripts and macros, which cannot be static.
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--release", "--locked", "--target", &target]);
    cargo.args([
        "--package",
        "weir-ingest",
        "--bin",
        "weir-ingest",
        "--package",
        "weir-operator",
        "--bin",
        "weir-operator",
    ]);
    cargo.current_dir(workspace()?).env("RUSTFLAGS", "-C target-feature=+crt-static");
    run(&mut cargo, &Hint::new("install Rust (https://rustup.rs)", ""))?;
    built_binaries()
}

/// Returns the binaries as they were built last.
pub fn built_binaries() -> anyhow::Result<Binaries> {
    let folder = target_folder()?.join(target()).join("release");
    let find = |name: &str| {
        let path = folder.join(name);
        anyhow::ensure!(path.exists(), "{} is missing: build the binaries first", path.display());
        Ok(path)
    };
    Ok(Binaries { ingest: find("weir-ingest")?, operator: find("weir-operator")? })
}

fn target() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

/// Returns the root of the workspace that this program was built from.
pub(super) fn workspace() -> anyhow::Result<&'static Path> {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the crate lies in the workspace")
}

fn target_folder() -> anyhow::Result<PathBuf> {
    let workspace = workspace()?;
    Ok(std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), |it| workspace.join(it)))
}
