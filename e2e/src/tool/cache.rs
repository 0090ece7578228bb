//! The folder of installed tools: complete entries only, filled once.

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};

use anyhow::Context;

use super::progress;

/// Returns the entry `<name>-<version>`, after `fill` has written it into an empty folder when it is missing.
pub(super) fn entry(
    name: &str,
    version: &str,
    fill: impl FnOnce(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<PathBuf> {
    let root = root()?;
    let entry = root.join(format!("{name}-{version}"));
    if entry.is_dir() {
        return Ok(entry);
    }
    fs::create_dir_all(&root).with_context(|| format!("failed to create {}", root.display()))?;
    let _lock = lock(&root.join(format!(".{name}-{version}.lock")), name)?;
    // Another run may have filled it while this one waited.
    if entry.is_dir() {
        return Ok(entry);
    }
    progress(format_args!("installing {name} {version} (once)"));
    let partial = root.join(format!(".{name}-{version}.partial"));
    remove(&partial)?;
    fs::create_dir(&partial).with_context(|| format!("failed to create {}", partial.display()))?;
    if let Err(error) = fill(&partial) {
        remove(&partial)?;
        return Err(error.context(format!("failed to install {name} {version}")));
    }
    fs::rename(&partial, &entry).with_context(|| format!("failed to create {}", entry.display()))?;
    Ok(entry)
}

fn root() -> anyhow::Result<PathBuf> {
    let cache = match (std::env::var_os("XDG_CACHE_HOME"), std::env::var_os("HOME")) {
        (Some(cache), _) if !cache.is_empty() => PathBuf::from(cache),
        (_, Some(home)) => PathBuf::from(home).join(".cache"),
        _ => anyhow::bail!("neither XDG_CACHE_HOME nor HOME is set: set one, tools are kept there"),
    };
    Ok(cache.join("weir/tools"))
}

fn lock(path: &Path, name: &str) -> anyhow::Result<File> {
    let file = File::create(path).with_context(|| format!("failed to create {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => {
            progress(format_args!("waiting for another run that installs {name}"));
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("failed to lock {}", path.display()));
        }
    }
    file.lock().with_context(|| format!("failed to lock {}", path.display()))?;
    Ok(file)
}

fn remove(folder: &Path) -> anyhow::Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("failed to remove {}", folder.display()))?;
    }
    Ok(())
}
