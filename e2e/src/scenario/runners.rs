//! The runners of the workspace's own tests, for stories that tell some of them to do more.

use std::{fs, path::PathBuf, process::Command};

use anyhow::Context as _;
use serde::Deserialize;

use crate::{
    target::repository,
    tool::{self, Hint},
};

/// What cargo says of a program that it built.
#[derive(Deserialize)]
struct Artifact {
    package_id: String,
    target: Target,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
}

/// Builds the tests, outside of the sandbox, and notes where they are.
pub(super) fn prepare() -> anyhow::Result<()> {
    tool::clickhouse_engine()?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["test", "--quiet", "--workspace", "--no-run", "--message-format=json"]);
    let printed =
        tool::run(cargo.current_dir(repository()?), &Hint::new("install Rust (https://rustup.rs)", ""))?;
    fs::write(notes()?, printed).context("failed to note where the tests are")
}

/// The program with the tests of a target; the package is named by its folder, the target by its kind.
pub(super) fn find(package: &str, kind: &str) -> anyhow::Result<PathBuf> {
    let built = fs::read_to_string(notes()?).context("the tests are not built")?;
    let artifacts = built.lines().filter_map(|line| serde_json::from_str::<Artifact>(line).ok());
    let folder = format!("/{package}#");
    let mut found = artifacts.filter(|artifact| {
        artifact.package_id.contains(&folder) && artifact.target.kind.iter().any(|found| found == kind)
    });
    found.find_map(|artifact| artifact.executable).context("cargo built no such tests")
}

fn notes() -> anyhow::Result<PathBuf> {
    Ok(repository()?.join("target").join("long-tests.json"))
}
