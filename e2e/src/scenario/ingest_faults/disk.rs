//! A small file system of its own for the engine's data, so that it can really be full.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;
use nix::{
    fcntl::{FallocateFlags, fallocate},
    sys::statvfs::statvfs,
};

use crate::tool::{Hint, run};

/// What the data of a full run fits into, and what the memory of a small machine still has.
const SIZE: &str = "size=1g";
/// What ClickHouse sets aside before it writes a part, and refuses an insert without.
///
/// Less than that stays free: the engine that stands in for ClickHouse here takes no notice of a write that fails for want
/// of space, and confirms the insert, where ClickHouse answers with code 243. What was set aside before must still fit.
const RESERVATION: u64 = 1 << 20;
const PAGE: u64 = 4096;
/// What is taken between two looks at what is free.
const STEP: u64 = 4 << 20;

/// The mounted file system; it ends with the sandbox.
#[derive(Debug)]
pub(super) struct Disk {
    folder: PathBuf,
}

/// What fills the file system; dropped, it gives the space back.
#[derive(Debug)]
pub(super) struct Ballast(PathBuf);

impl Disk {
    /// Mounts it on a folder, which is created.
    pub(super) fn mount(folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("failed to create {}", folder.display()))?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", SIZE, "weir-story"]).arg(folder);
        run(&mut mount, &Hint::none())?;
        Ok(Self { folder: folder.to_path_buf() })
    }

    /// Takes so much that ClickHouse can set nothing aside any more.
    pub(super) fn fill(&self) -> anyhow::Result<Ballast> {
        let path = self.folder.join("ballast");
        let file = fs::File::create(&path).context("failed to create the ballast")?;
        let (ballast, mut taken) = (Ballast(path), 0);
        // Never more than is meant, not even for a moment, although others write meanwhile.
        while let Some(more) = self.free()?.checked_sub(RESERVATION) {
            let more = i64::try_from((more + PAGE).min(STEP))?;
            fallocate(&file, FallocateFlags::empty(), taken, more).context("failed to fill the disk")?;
            taken += more;
        }
        Ok(ballast)
    }

    fn free(&self) -> anyhow::Result<u64> {
        let system = statvfs(&self.folder).context("failed to measure the disk")?;
        Ok(system.blocks_available() * system.fragment_size())
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        // Without it the next fault would tell.
        drop(fs::remove_file(&self.0));
    }
}
