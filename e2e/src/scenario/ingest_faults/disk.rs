//! A small file system of its own for the engine's data, so that it can really be full.

use std::{
    fs,
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;

use crate::tool::{Hint, run};

/// What the data of a full run fits into, and what the memory of a small machine still has.
const SIZE: &str = "size=1g";
const STEP: usize = 1 << 20;

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

    /// Takes every byte that is left.
    pub(super) fn fill(&self) -> anyhow::Result<Ballast> {
        let path = self.folder.join("ballast");
        let mut file = fs::File::create(&path).context("failed to create the ballast")?;
        let ballast = Ballast(path);
        let mut step = STEP;
        while step > 0 {
            match file.write_all(&vec![0; step]) {
                Ok(()) => {}
                // Whatever fits between two steps goes in as well.
                Err(error) if error.kind() == ErrorKind::StorageFull => step /= 2,
                Err(error) => return Err(error).context("failed to fill the disk"),
            }
        }
        Ok(ballast)
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        // Without it the next fault would tell.
        drop(fs::remove_file(&self.0));
    }
}
