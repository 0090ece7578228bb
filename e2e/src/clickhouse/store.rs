//! The files that survive a restart: access entities, users.xml and config.xml, each replaced whole.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use sha2::{Digest, Sha256};

use super::{
    Options,
    access::{
        Access,
        render::{Admin, render_users},
    },
    config,
};

/// Creates the data folder and the engine's configuration.
pub(crate) fn prepare(options: &Options) -> anyhow::Result<()> {
    for folder in ["engine", "engine/tmp", "engine/user_files", "engine/format_schemas", "backups"] {
        let folder = options.data.join(folder);
        std::fs::create_dir_all(&folder).with_context(|| format!("failed to create {}", folder.display()))?;
    }
    replace(&options.data.join("config.xml"), &config::render_config(&options.data, None))
}

/// Makes the engine write its text log to a file, from its next start on, and returns the file.
pub(crate) fn keep_text_log(options: &Options) -> anyhow::Result<PathBuf> {
    let log = options.data.join("text.log");
    let config = config::render_config(&options.data, Some(&log));
    replace(&options.data.join("config.xml"), &config)?;
    Ok(log)
}

/// Reads the entities; none when there is no file yet.
pub(crate) fn load(options: &Options) -> anyhow::Result<Access> {
    let path = access_file(options);
    match std::fs::read(&path) {
        Ok(bytes) => {
            serde_json::from_slice(&bytes).with_context(|| format!("failed to read {}", path.display()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Access::default()),
        Err(error) => Err(error).with_context(|| format!("failed to read {}", path.display())),
    }
}

/// Keeps the entities; on disk when this returns.
pub(crate) fn save(options: &Options, access: &Access) -> anyhow::Result<()> {
    replace(&access_file(options), &serde_json::to_string_pretty(access)?)
}

/// Writes the engine's form of the entities.
pub(crate) fn write_users(options: &Options, access: &Access) -> anyhow::Result<()> {
    let sha256 = hex::encode(Sha256::digest(options.admin_password.as_bytes()));
    let admin = Admin { user: &options.admin_user, sha256: &sha256 };
    replace(&options.data.join("users.xml"), &render_users(access, &admin))
}

/// Replaces a file as a whole, readable by its owner only.
pub(crate) fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let write = || -> std::io::Result<()> {
        let next = path.with_extension("next");
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&next)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&next, path)?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    write().with_context(|| format!("failed to write {}", path.display()))
}

fn access_file(options: &Options) -> PathBuf {
    options.data.join("access.json")
}
