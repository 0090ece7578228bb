//! The ClickHouse engine: the shared library that npm carries for chdb.

use std::{fs, path::PathBuf, process::Command};

use anyhow::Context;

use super::{Hint, cache, check_sha256, npm, run};

/// The untagged latest version is older and cannot open its ports.
const VERSION: &str = "26.7.3-stable.1";
const SHA256: &str = "c0d32b129e988f2b9a9a31c9141aecf5e1e2453f9a079efc4d36ab8e3f92b2ad";

/// Returns the path of `libchdb.so`, the ClickHouse engine, after downloading it when it is missing.
pub fn clickhouse_engine() -> anyhow::Result<PathBuf> {
    anyhow::ensure!(
        cfg!(all(target_os = "linux", target_arch = "x86_64")),
        "the ClickHouse engine is pinned for Linux on x86_64 only: give your own ClickHouse with --clickhouse"
    );
    let entry = cache::entry("chdb", VERSION, |folder| {
        let archive = npm::pack(folder, &format!("@chdb/lib-linux-x64-gnu@{VERSION}"))?;
        check_sha256(&archive, SHA256)?;
        let library = "package/libchdb.so";
        let mut tar = Command::new("tar");
        tar.args(["--extract", "--gzip", "--no-same-owner", "--strip-components=1"]);
        run(tar.arg("--directory").arg(folder).arg("--file").arg(&archive).arg(library), &Hint::none())?;
        fs::remove_file(&archive).with_context(|| format!("failed to remove {}", archive.display()))
    })?;
    Ok(entry.join("libchdb.so"))
}
