//! A network, mount and process namespace of its own, in which everything real runs.
//!
//! [`run`] starts this same program again inside, with the same arguments: the code before the call runs on both sides,
//! `prepare` only outside (where the registries can be reached), `inside` only inside.
//!
//! - Nothing leaks: `/var` is an overlay, `/run` is empty, the network is one bridge at [`NODE_ADDRESS`] and has no way out.
//! - Two sandboxes never collide on a port, a path, a mount or a cgroup.
//! - The end of the outer process, however it comes (SIGKILL too), ends every process inside; a small process outside both,
//!   the janitor, then removes the cgroups and the folder.

mod cgroup;
mod init;
mod janitor;
mod place;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::Context;

use self::janitor::Janitor;
pub(crate) use self::place::bind;
use crate::tool::progress;

/// The address of the only node; every server inside listens here.
pub const NODE_ADDRESS: &str = "192.168.77.1";
/// The names that resolve to [`NODE_ADDRESS`], inside the sandbox and in the pods of its cluster.
pub const NODE_NAMES: [&str; 3] = ["node", "registry.test", "clickhouse.test"];

const STAGE: &str = "WEIR_SANDBOX";
const FOLDER: &str = "WEIR_SANDBOX_FOLDER";
const CGROUP: &str = "WEIR_SANDBOX_CGROUP";

/// What happens to the folder of a run when the run ends; one that is killed leaves none, unless it is always kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keep {
    /// Removed in any case.
    Never,
    /// Kept, and its path printed, when the exit code is not 0.
    #[default]
    OnFailure,
    /// Kept, and its path printed.
    Always,
}

/// How a sandbox is made.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where the run keeps everything; must be absent or empty; by default a new folder in the temporary one.
    pub folder: Option<PathBuf>,
    /// Whether that folder outlives the run.
    pub keep: Keep,
}

/// The view from inside.
#[derive(Debug, Clone)]
pub struct Sandbox {
    folder: PathBuf,
    cgroup: String,
}

impl Sandbox {
    /// The folder of this run; its subfolders belong to the parts that are named like them.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The same sandbox with a folder of its own inside this one, for a cluster that comes after another.
    pub fn room(&self, name: &str) -> anyhow::Result<Self> {
        let folder = self.folder.join(name);
        fs::create_dir_all(&folder).with_context(|| format!("failed to create {}", folder.display()))?;
        Ok(Self { folder, cgroup: self.cgroup.clone() })
    }

    /// The cgroup of this run, the same path in every hierarchy, such as `/weir-1f2e3d4c`.
    pub fn cgroup(&self) -> &str {
        &self.cgroup
    }
}

/// Runs `prepare` here and then `inside` in a new sandbox, and returns what `inside` returned.
///
/// Must be called from the main thread, before anything else is started: the sandbox lives as long as the calling thread.
/// A process that is in a sandbox already runs `inside` where it is.
pub fn run(
    options: &Options,
    prepare: impl FnOnce() -> anyhow::Result<()>,
    inside: impl FnOnce(&Sandbox) -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    match std::env::var(STAGE).as_deref() {
        Ok("init") => init::run(),
        Ok(_) => inside(&current()?),
        Err(_) => {
            let root = nix::unistd::geteuid().is_root();
            anyhow::ensure!(root, "namespaces, mounts and containers need root: run as root");
            prepare()?;
            outside(options)
        }
    }
}

fn current() -> anyhow::Result<Sandbox> {
    let folder = std::env::var_os(FOLDER).with_context(|| format!("{FOLDER} is not set"))?.into();
    let cgroup = std::env::var(CGROUP).with_context(|| format!("{CGROUP} is not set"))?;
    Ok(Sandbox { folder, cgroup })
}

fn outside(options: &Options) -> anyhow::Result<ExitCode> {
    let name = format!("weir-{:08x}", rand::random::<u32>());
    let folder = create_folder(options, &name)?;
    // Before the first thing that it has to clean up.
    let janitor = Janitor::start(&folder, &name, options.keep == Keep::Always)?;
    cgroup::create(&name)?;
    let status = reexec(&folder, &name)?.wait().context("failed to wait for the sandbox")?;
    let keep = match options.keep {
        Keep::Never => false,
        Keep::OnFailure => !status.success(),
        Keep::Always => true,
    };
    janitor.finish(keep)?;
    if keep {
        progress(format_args!("kept {}", folder.display()));
    }
    // A process ended by a signal has no code; shells say 128 + signal, all that matters is that it is not 0.
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

fn create_folder(options: &Options, name: &str) -> anyhow::Result<PathBuf> {
    let folder = options.folder.clone().unwrap_or_else(|| std::env::temp_dir().join(name));
    fs::create_dir_all(&folder).with_context(|| format!("failed to create {}", folder.display()))?;
    let folder = folder.canonicalize().with_context(|| format!("failed to resolve {}", folder.display()))?;
    let mut entries =
        fs::read_dir(&folder).with_context(|| format!("failed to list {}", folder.display()))?;
    anyhow::ensure!(entries.next().is_none(), "{} is not empty: name a new folder", folder.display());
    let hidden = folder.starts_with("/var") || folder.starts_with("/run");
    anyhow::ensure!(!hidden, "{} would be hidden: name a folder outside /var and /run", folder.display());
    Ok(folder)
}

/// Starts this program again as process 1 of new namespaces.
///
/// `setpriv` kills `unshare` when this thread ends, `unshare` kills process 1, and the kernel then kills the rest.
fn reexec(folder: &Path, name: &str) -> anyhow::Result<std::process::Child> {
    // A copy, since a build that runs meanwhile replaces the file that this program was started from.
    let program = folder.join("weir-e2e");
    fs::copy("/proc/self/exe", &program).context("failed to copy this program into the sandbox")?;
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "unshare", "--net", "--mount", "--pid", "--fork", "--kill-child"]);
    command.args(["--mount-proc", "--propagation", "private"]).arg(program).args(std::env::args_os().skip(1));
    command.env(STAGE, "init").env(FOLDER, folder).env(CGROUP, format!("/{name}"));
    for proxy in ["http_proxy", "https_proxy", "all_proxy"] {
        // No proxy can be reached from inside.
        command.env_remove(proxy).env_remove(proxy.to_uppercase());
    }
    command.spawn().context("failed to start `setpriv`: install the package util-linux")
}
