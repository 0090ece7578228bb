//! What is known about clusters that were left running: one file each.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// A cluster that was left running.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct State {
    /// The process outside of the sandbox; the cluster lives as long as it.
    pub(super) pid: u32,
    /// When that process was started, in clock ticks since boot, so that a reused id is not taken for it.
    pub(super) started: u64,
    /// The folder of the run.
    pub(super) folder: PathBuf,
    /// The parts that were asked for.
    pub(super) parts: String,
}

impl State {
    /// Reads the state of the named cluster; nothing when it does not run.
    pub(super) fn read(name: &str) -> anyhow::Result<Option<Self>> {
        let path = path(name)?;
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read(&path).with_context(|| format!("failed to read {}", path.display()))?;
        let state: Self =
            serde_json::from_slice(&text).with_context(|| format!("failed to parse {}", path.display()))?;
        if start_time(state.pid) == Some(state.started) {
            return Ok(Some(state));
        }
        Self::remove(name)?;
        Ok(None)
    }

    pub(super) fn write(&self, name: &str) -> anyhow::Result<()> {
        let path = path(name)?;
        let folder = path.parent().context("a state file has a folder")?;
        fs::create_dir_all(folder).with_context(|| format!("failed to create {}", folder.display()))?;
        fs::write(&path, serde_json::to_vec(self)?)
            .with_context(|| format!("failed to write {}", path.display()))
    }

    pub(super) fn remove(name: &str) -> anyhow::Result<()> {
        let path = path(name)?;
        fs::remove_file(&path).with_context(|| format!("failed to remove {}", path.display()))
    }

    pub(super) fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfigs/admin")
    }

    /// Returns the file that says that the cluster is up.
    pub(super) fn ready_file(folder: &Path) -> PathBuf {
        folder.join("ready")
    }

    /// Returns a process inside the namespaces: the first one, as seen from outside.
    pub(super) fn process_inside(&self) -> anyhow::Result<u32> {
        let unshare = child_of(self.pid, "unshare")?;
        child_of(unshare, "")
    }
}

/// Returns when a process was started, in clock ticks since boot; nothing when it is gone.
pub(super) fn start_time(pid: u32) -> Option<u64> {
    stat(pid)?.get(19)?.parse().ok()
}

/// Returns the child of `parent` whose program has the given name, or any child for an empty name.
fn child_of(parent: u32, program: &str) -> anyhow::Result<u32> {
    for entry in fs::read_dir("/proc").context("failed to list /proc")? {
        let name = entry.context("failed to list /proc")?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let is_child =
            stat(pid).is_some_and(|fields| fields.get(1).is_some_and(|ppid| *ppid == parent.to_string()));
        let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        if is_child && (program.is_empty() || comm.trim() == program) {
            return Ok(pid);
        }
    }
    anyhow::bail!("process {parent} has no child {program}: the cluster is going down or coming up")
}

/// Returns the fields of `/proc/<pid>/stat` after the name, which may hold spaces.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

fn path(name: &str) -> anyhow::Result<PathBuf> {
    let plain = !name.is_empty() && name.chars().all(|it| it.is_ascii_alphanumeric() || it == '-');
    anyhow::ensure!(plain, "`{name}` is no name for a cluster: use letters, digits and dashes");
    let state = match (std::env::var_os("XDG_STATE_HOME"), std::env::var_os("HOME")) {
        (Some(state), _) if !state.is_empty() => PathBuf::from(state),
        (_, Some(home)) => PathBuf::from(home).join(".local/state"),
        _ => {
            anyhow::bail!("neither XDG_STATE_HOME nor HOME is set: set one, running clusters are noted there")
        }
    };
    Ok(state.join("weir/clusters").join(format!("{name}.json")))
}
