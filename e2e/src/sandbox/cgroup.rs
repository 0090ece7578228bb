//! The cgroup of a run: one folder of the same name in every hierarchy, so that it can be removed as a whole.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;

const ROOT: &str = "/sys/fs/cgroup";

/// Creates the cgroup in every hierarchy of this machine, version 1, version 2 or both.
pub(super) fn create(name: &str) -> anyhow::Result<()> {
    if Path::new(ROOT).join("cgroup.controllers").exists() {
        delegate_controllers()?;
    }
    for hierarchy in hierarchies()? {
        let group = hierarchy.join(name);
        fs::create_dir(&group).with_context(|| format!("failed to create the cgroup {}", group.display()))?;
        for file in ["cpuset.cpus", "cpuset.mems"] {
            // In version 1 a new group has no CPU and no memory node until it is told.
            let (from, to) = (hierarchy.join(file), group.join(file));
            if from.exists() && fs::read_to_string(&to).is_ok_and(|text| text.trim().is_empty()) {
                let text = fs::read(&from).with_context(|| format!("failed to read {}", from.display()))?;
                fs::write(&to, text).with_context(|| format!("failed to write {}", to.display()))?;
            }
        }
    }
    Ok(())
}

/// In version 2 a group has the controllers that its parent passes on.
fn delegate_controllers() -> anyhow::Result<()> {
    let root = Path::new(ROOT);
    let controllers = fs::read_to_string(root.join("cgroup.controllers"))
        .context("failed to read the cgroup controllers")?;
    for controller in controllers.split_whitespace() {
        fs::write(root.join("cgroup.subtree_control"), format!("+{controller}"))
            .with_context(|| format!("failed to pass the cgroup controller {controller} on"))?;
    }
    Ok(())
}

fn hierarchies() -> anyhow::Result<Vec<PathBuf>> {
    let root = PathBuf::from(ROOT);
    if root.join("cgroup.procs").exists() {
        return Ok(vec![root]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(&root).with_context(|| format!("failed to list {ROOT}"))? {
        let path = entry.with_context(|| format!("failed to list {ROOT}"))?.path();
        // `cpu,cpuacct` often has links beside it, one for each of its names.
        if !path.is_symlink() && path.join("cgroup.procs").exists() {
            found.push(path);
        }
    }
    anyhow::ensure!(!found.is_empty(), "no cgroup hierarchy is mounted under {ROOT}");
    Ok(found)
}
