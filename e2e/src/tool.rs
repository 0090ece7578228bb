//! Installs the programs that the real parts need and that the machine may lack, each pinned by version and checksum.
//!
//! Everything except Debian's own packages lands under `${XDG_CACHE_HOME:-$HOME/.cache}/weir/tools/<name>-<version>/`:
//! an entry appears complete or not at all, and two runs that want the same one wait for each other.
//! Nothing here can run inside the sandbox, which has no way out to a registry: install first, then enter.

mod cache;
mod command;
mod debian;
mod deny;
mod engine;
mod golang;
mod kubectl;
mod npm;
mod python;

use std::{io::Write, path::Path};

pub(crate) use self::command::{Hint, command_line, run, tail};
pub use self::{
    debian::{CLUSTER_PACKAGES, chromium, debian_packages},
    deny::cargo_deny,
    engine::clickhouse_engine,
    golang::cluster_binary,
    kubectl::{helm, kubectl},
    npm::npm_packages,
    python::python_packages,
};

/// Prints one line of progress on stderr.
pub fn progress(line: impl std::fmt::Display) {
    // A closed stderr must not end a run that works.
    drop(writeln!(std::io::stderr(), "weir: {line}"));
}

/// Refuses a file whose SHA-256 is not `expected`.
fn check_sha256(file: &Path, expected: &str) -> anyhow::Result<()> {
    // coreutils instead of the crate: an unoptimized hash of these files takes longer than their download.
    let printed = run(std::process::Command::new("sha256sum").arg("--").arg(file), &Hint::none())?;
    let found = printed.split_whitespace().next().unwrap_or_default();
    anyhow::ensure!(
        found == expected,
        "{} has SHA-256 {found}, expected {expected}: the registry or a proxy serves another file under the pinned version",
        file.display()
    );
    Ok(())
}
