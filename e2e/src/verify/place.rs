//! Where one run of `verify` keeps its things, and how its halves find each other.
//!
//! The program runs from a link of its own: the gates build this program again, and a file that is replaced
//! while it runs cannot be started a second time.

use std::{
    ffi::OsStr,
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;

use crate::report::Report;

const PROGRAM: &str = "weir-e2e";
/// Tells every process of a run where its place is.
const PLACE: &str = "WEIR_VERIFY_PLACE";
/// What cargo tells a program that it runs, which must not reach a cargo that the program runs.
const FROM_CARGO: [&str; 3] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_"];

/// The folder `verify/<process id>` beside the build's own folders.
#[derive(Debug)]
pub(super) struct Place {
    folder: PathBuf,
    workspace: PathBuf,
}

impl Place {
    /// Returns the place of this run, after making it and starting over from there.
    pub(super) fn enter() -> anyhow::Result<Self> {
        if let Some(folder) = std::env::var_os(PLACE) {
            return Ok(Self { folder: folder.into(), workspace: workspace()? });
        }
        let program = std::env::current_exe().context("failed to find this program's own file")?;
        let build = program.parent().and_then(Path::parent).context("a build has a folder")?;
        let rooms = build.join("verify");
        remove_dead(&rooms);
        let folder = rooms.join(std::process::id().to_string());
        fs::create_dir_all(&folder).with_context(|| format!("failed to create {}", folder.display()))?;
        let link = folder.join(PROGRAM);
        fs::hard_link(&program, &link)
            .or_else(|_| fs::copy(&program, &link).map(drop))
            .with_context(|| format!("failed to create {}", link.display()))?;
        let mut again = Command::new(&link);
        again.args(std::env::args_os().skip(1)).env(PLACE, &folder);
        for (name, _) in std::env::vars_os() {
            if FROM_CARGO.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
                again.env_remove(name);
            }
        }
        Err(again.exec()).with_context(|| format!("failed to start {}", link.display()))
    }

    /// Returns the root of the workspace.
    pub(super) fn workspace(&self) -> &Path {
        &self.workspace
    }

    /// Returns a program of the workspace as `cargo build` leaves it.
    pub(super) fn built(&self, name: &str) -> anyhow::Result<PathBuf> {
        let build = self.folder.parent().and_then(Path::parent).context("a place lies in a build")?;
        let path = build.join("debug").join(name);
        anyhow::ensure!(path.exists(), "{} is missing: build it first", path.display());
        Ok(path)
    }

    /// Creates a folder for the files of one section.
    pub(super) fn subfolder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.folder.join(name);
        fs::create_dir_all(&path).with_context(|| format!("failed to create {}", path.display()))?;
        Ok(path)
    }

    /// Returns a command that runs in the root of the workspace.
    pub(super) fn command<S: AsRef<OsStr>>(
        &self,
        program: impl AsRef<OsStr>,
        args: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut command = Command::new(program);
        command.args(args).current_dir(&self.workspace);
        command
    }

    /// Runs the half outside of the sandbox to its end.
    ///
    /// It is process 1 of a process namespace: when this process ends, however it ends, so does everything below it.
    pub(super) fn spawn_gates(&self, only: &[String]) -> anyhow::Result<()> {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if nix::unistd::geteuid().is_root() {
            command.args(["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]);
        }
        command.arg(self.folder.join(PROGRAM)).args(["verify", "--gates"]);
        for name in only {
            command.args(["--only", name]);
        }
        let status = command.status().context("failed to start `setpriv`: install the package util-linux")?;
        anyhow::ensure!(status.success(), "they ended with {status}");
        Ok(())
    }

    /// Writes the report of a section, for the outermost process.
    pub(super) fn leave_report(&self, section: &str, report: &Report) -> anyhow::Result<()> {
        let path = self.report_file(section);
        fs::write(&path, serde_json::to_vec(report)?)
            .with_context(|| format!("failed to write {}", path.display()))
    }

    /// Reads the report of a section.
    pub(super) fn take_report(&self, section: &str) -> anyhow::Result<Report> {
        let text = fs::read(self.report_file(section)).context("it ended early and left no report")?;
        serde_json::from_slice(&text).context("it left something else than a report")
    }

    /// Removes the folder.
    pub(super) fn leave(&self) {
        // The next run removes what is left.
        drop(fs::remove_dir_all(&self.folder));
    }

    fn report_file(&self, section: &str) -> PathBuf {
        self.folder.join(format!("{section}.report.json"))
    }
}

fn workspace() -> anyhow::Result<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(own.parent().context("this crate lies in a workspace")?.to_path_buf())
}

/// Removes the folders of runs that were killed.
fn remove_dead(rooms: &Path) {
    for room in fs::read_dir(rooms).into_iter().flatten().flatten() {
        if !Path::new("/proc").join(room.file_name()).exists() {
            // Another run may remove the same one.
            drop(fs::remove_dir_all(room.path()));
        }
    }
}
