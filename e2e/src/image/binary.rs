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

const INGEST: &str = "weir-ingest";
const OPERATOR: &str = "weir-operator";

/// Builds both binaries for this machine's architecture, optimized and statically linked.
pub fn build_binaries() -> anyhow::Result<Binaries> {
    build(&[INGEST, OPERATOR])?;
    built_binaries()
}

/// Returns the binaries as they were built last.
pub fn built_binaries() -> anyhow::Result<Binaries> {
    Ok(Binaries { ingest: find(INGEST)?, operator: find(OPERATOR)? })
}

/// Builds `weir-ingest` alone, as the image holds it.
pub fn build_ingest() -> anyhow::Result<PathBuf> {
    build(&[INGEST])?;
    built_ingest()
}

/// Returns `weir-ingest` as it was built last.
pub fn built_ingest() -> anyhow::Result<PathBuf> {
    find(INGEST)
}

fn build(names: &[&str]) -> anyhow::Result<()> {
    progress("building the release binaries: some minutes, when nothing is built yet");
    let target = target();
    // Without an explicit target the flags would reach build scripts and macros, which cannot be static.
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--release", "--locked", "--target", &target]);
    // Both packages whatever is wanted: features are then the same, and nothing is built twice.
    for package in [INGEST, OPERATOR] {
        cargo.args(["--package", package]);
    }
    for name in names {
        cargo.args(["--bin", name]);
    }
    cargo.current_dir(workspace()?).env("RUSTFLAGS", "-C target-feature=+crt-static");
    run(&mut cargo, &Hint::new("install Rust (https://rustup.rs)", "")).map(drop)
}

fn find(name: &str) -> anyhow::Result<PathBuf> {
    let path = target_folder()?.join(target()).join("release").join(name);
    anyhow::ensure!(path.exists(), "{} is missing: build the binaries first", path.display());
    Ok(path)
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
