//! Keeps `system.query_log` and `system.session_log` over restarts.
//!
//! The engine holds the database `system` in memory and creates its log tables anew; it cannot do that over files that
//! are already there. So the files are moved aside before a start, and their parts are attached to the new tables after.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use uuid::Uuid;

use super::engine;

const LOGS: [&str; 2] = ["query_log", "session_log"];
/// Parts of a log that it may have. Each run adds some, the engine's own merges seldom end before the next restart, and a
/// table with some thousand parts takes no more rows.
const MAX_PARTS: usize = 50;

/// Moves the files of the last run aside.
pub(crate) fn stash(data: &Path) -> anyhow::Result<()> {
    // A folder for each run: one may be left from a start that was cut short.
    let folder = stashes(data).join(Uuid::now_v7().to_string());
    std::fs::create_dir_all(&folder).with_context(|| format!("failed to create {}", folder.display()))?;
    for name in LOGS.into_iter().filter(|name| live(data, name).exists()) {
        std::fs::rename(live(data, name), folder.join(name))
            .with_context(|| format!("failed to move {name}"))?;
    }
    Ok(())
}

/// Gives every part that was moved aside to the tables of the engine that runs now.
pub(crate) async fn restore(data: &Path, address: SocketAddr) -> anyhow::Result<()> {
    engine::statement(address, "SYSTEM FLUSH LOGS").await?;
    for run in std::fs::read_dir(stashes(data))? {
        let run = run?.path();
        for name in LOGS {
            // Without the table there is nothing to attach to, until the next start.
            if !live(data, name).exists() {
                return Ok(());
            }
            let parts = detach_into(&run.join(name), &live(data, name).join("detached"))?;
            if parts > 0 {
                let sql = format!("ALTER TABLE system.{name} ATTACH PARTITION ALL");
                engine::statement(address, &sql).await?;
            }
            if parts > MAX_PARTS {
                engine::statement(address, &format!("OPTIMIZE TABLE system.{name} FINAL")).await?;
            }
        }
        std::fs::remove_dir_all(&run).with_context(|| format!("failed to remove {}", run.display()))?;
    }
    Ok(())
}

/// Moves the finished parts of a table's folder; says how many there were.
fn detach_into(table: &Path, detached: &Path) -> anyhow::Result<usize> {
    let mut found = 0;
    let Ok(entries) = std::fs::read_dir(table) else { return Ok(0) };
    for entry in entries {
        let part = entry?.path();
        let name = part.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // Unfinished parts have other names: `tmp_…`, `delete_tmp_…`.
        if name.starts_with(|c: char| c.is_ascii_digit()) && part.join("checksums.txt").exists() {
            std::fs::rename(&part, detached.join(&name)).with_context(|| format!("failed to move {name}"))?;
            found += 1;
        }
    }
    Ok(found)
}

fn stashes(data: &Path) -> PathBuf {
    data.join("engine/stash")
}

fn live(data: &Path, name: &str) -> PathBuf {
    data.join("engine/data/system").join(name)
}
