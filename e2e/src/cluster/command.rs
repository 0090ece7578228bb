//! `cargo cluster`: a cluster that stays after the command that made it.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{
    Cluster, Part, Parts, RegistryAccess,
    process::POLL_INTERVAL,
    registry::PULL_SECRET_FILE,
    state::{State, start_time},
};
use crate::{
    image::{self, Binaries, Image},
    sandbox::{self, Keep, Sandbox},
    tool::{self, progress},
};

/// How long `up` waits; the parts have deadlines of their own, which come first.
const UP_TIMEOUT: Duration = Duration::from_mins(5);
const DOWN_TIMEOUT: Duration = Duration::from_secs(30);

/// Arguments of `cluster`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
    /// Tells clusters apart when there is more than one.
    #[arg(long, global = true, default_value = "default")]
    name: String,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Install what is missing, and nothing else.
    Install,
    /// Bring a cluster up and leave it running.
    Up(UpArgs),
    /// Open a shell inside a running cluster, or run a command there.
    Enter {
        /// The command and its arguments; by default a shell.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Run kubectl as an administrator of a running cluster.
    Kubectl {
        /// The arguments of kubectl.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Build the two images and push them into the registry of a running cluster.
    Push {
        /// The tag that they get.
        #[arg(long, default_value = "dev")]
        tag: String,
    },
    /// What `push` does inside.
    #[command(hide = true)]
    PushInside {
        #[arg(long)]
        tag: String,
        #[arg(long)]
        folder: PathBuf,
        #[arg(long)]
        ingest: PathBuf,
        #[arg(long)]
        operator: PathBuf,
    },
    /// End a running cluster; nothing of it stays.
    Down,
    /// Be the cluster: what `up` leaves in the background.
    #[command(hide = true)]
    Hold {
        /// The folder of the run.
        #[arg(long)]
        folder: PathBuf,
        /// The parts to start.
        #[arg(long)]
        parts: Parts,
    },
}

#[derive(Debug, clap::Args)]
struct UpArgs {
    /// Only the API server and its store: ready in about 2 s, runs no pods.
    #[arg(long, conflicts_with = "parts")]
    api_only: bool,
    /// Only these parts and those that they need, such as kubelet,coredns.
    #[arg(long, value_name = "PART,...")]
    parts: Option<Parts>,
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let name = args.name;
    match args.verb {
        Verb::Install => install(),
        Verb::Up(arguments) => up(&name, &arguments),
        Verb::Enter { command } => enter(&running(&name)?, command),
        Verb::Kubectl { arguments } => {
            let kubectl = tool::kubectl()?.to_string_lossy().into_owned();
            enter(&running(&name)?, [kubectl].into_iter().chain(arguments).collect())
        }
        Verb::Push { tag } => push(&running(&name)?, tag),
        Verb::PushInside { tag, folder, ingest, operator } => {
            push_inside(&tag, &folder, &Binaries { ingest, operator })
        }
        Verb::Down => down(&name),
        Verb::Hold { folder, parts } => hold(folder, &parts),
    }
}

fn install() -> anyhow::Result<ExitCode> {
    super::install()?;
    for path in [tool::cluster_binary()?, tool::kubectl()?, tool::helm()?, tool::clickhouse_engine()?] {
        progress(path.display());
    }
    Ok(ExitCode::SUCCESS)
}

fn up(name: &str, arguments: &UpArgs) -> anyhow::Result<ExitCode> {
    if let Some(state) = State::read(name)? {
        progress(format_args!("cluster {name} is up already, with {}", state.parts));
        print_usage(name, &state);
        return Ok(ExitCode::SUCCESS);
    }
    anyhow::ensure!(
        nix::unistd::geteuid().is_root(),
        "namespaces, mounts and containers need root: run as root"
    );
    super::install()?;
    let parts = match (&arguments.parts, arguments.api_only) {
        (Some(parts), _) => parts.clone(),
        (None, true) => Parts::api_only(),
        (None, false) => Parts::all(),
    };
    let started = Instant::now();
    let folder = std::env::temp_dir().join(format!("weir-cluster-{name}-{:08x}", rand::random::<u32>()));
    let log = folder.with_extension("log");
    let mut holder = start_holder(&folder, &parts, &log)?;
    let state = State {
        pid: holder.id(),
        started: start_time(holder.id()).context("the cluster ended at once")?,
        folder,
        parts: parts.to_string(),
    };
    state.write(name)?;
    let outcome = wait_until_up(&mut holder, &state.folder);
    if let Err(error) = outcome {
        State::remove(name)?;
        stop_holder(&mut holder)?;
        let told = fs::read_to_string(&log).unwrap_or_default();
        fs::remove_file(&log).with_context(|| format!("failed to remove {}", log.display()))?;
        return Err(error.context(told.trim_end().to_owned()));
    }
    fs::remove_file(&log).with_context(|| format!("failed to remove {}", log.display()))?;
    progress(format_args!(
        "cluster {name} is up after {:.1} s, with {parts}",
        started.elapsed().as_secs_f32()
    ));
    print_usage(name, &state);
    Ok(ExitCode::SUCCESS)
}

/// Starts this program again as the process that the cluster lives with, in a session without a terminal.
fn start_holder(folder: &Path, parts: &Parts, log: &Path) -> anyhow::Result<Child> {
    let file = fs::File::create(log).with_context(|| format!("failed to create {}", log.display()))?;
    let program = std::env::current_exe().context("failed to find this program's own file")?;
    let mut command = Command::new("setsid");
    command.arg(program).args(["cluster", "hold", "--parts", &parts.to_string(), "--folder"]).arg(folder);
    command.stdin(Stdio::null()).stdout(file.try_clone().context("failed to share a log")?).stderr(file);
    command.spawn().context("failed to start `setsid`: install the package util-linux")
}

fn wait_until_up(holder: &mut Child, folder: &Path) -> anyhow::Result<()> {
    let deadline = Instant::now() + UP_TIMEOUT;
    let ready = State::ready_file(folder);
    while !ready.exists() {
        if let Some(status) = holder.try_wait().context("failed to look after the cluster")? {
            anyhow::bail!("the cluster did not come up: {status}");
        }
        anyhow::ensure!(Instant::now() < deadline, "the cluster is not up after {} s", UP_TIMEOUT.as_secs());
        std::thread::sleep(POLL_INTERVAL);
    }
    Ok(())
}

fn stop_holder(holder: &mut Child) -> anyhow::Result<()> {
    holder.kill().context("failed to end the cluster")?;
    holder.wait().context("failed to wait for the end of the cluster")?;
    Ok(())
}

/// Starts the parts in a sandbox and stays until it is killed.
fn hold(folder: PathBuf, parts: &Parts) -> anyhow::Result<ExitCode> {
    let options = sandbox::Options { folder: Some(folder), keep: Keep::OnFailure };
    sandbox::run(
        &options,
        || Ok(()),
        |sandbox| {
            let runtime = tokio::runtime::Runtime::new().context("failed to start the runtime")?;
            runtime.block_on(hold_inside(sandbox, parts))
        },
    )
}

async fn hold_inside(sandbox: &Sandbox, parts: &Parts) -> anyhow::Result<ExitCode> {
    let _cluster = Cluster::start(sandbox, parts.clone()).await?;
    fs::write(State::ready_file(sandbox.folder()), "").context("failed to say that the cluster is up")?;
    std::future::pending().await
}

fn push(state: &State, tag: String) -> anyhow::Result<ExitCode> {
    let Binaries { ingest, operator } = image::build_binaries()?;
    let program = std::env::current_exe().context("failed to find this program's own file")?;
    let paths = [("--folder", &state.folder), ("--ingest", &ingest), ("--operator", &operator)];
    let mut command = vec![program.to_string_lossy().into_owned()];
    command.extend(["cluster", "push-inside", "--tag"].map(str::to_owned));
    command.push(tag);
    for (flag, path) in paths {
        command.extend([flag.to_owned(), path.to_string_lossy().into_owned()]);
    }
    enter(state, command)
}

fn push_inside(tag: &str, folder: &Path, binaries: &Binaries) -> anyhow::Result<ExitCode> {
    let registry = RegistryAccess::read(folder)?;
    for image in [Image::operator(&binaries.operator)?, Image::ingest(&binaries.ingest)?] {
        let pushed = image::build_and_push(&image, tag, &registry, folder)?;
        progress(format_args!("pushed {} = {}", pushed.tag_reference, pushed.digest));
    }
    Ok(ExitCode::SUCCESS)
}

fn down(name: &str) -> anyhow::Result<ExitCode> {
    let Some(state) = State::read(name)? else {
        progress(format_args!("no cluster {name} is up"));
        return Ok(ExitCode::SUCCESS);
    };
    let pid = i32::try_from(state.pid).context("a process id out of range")?;
    kill(Pid::from_raw(pid), Signal::SIGTERM).context("failed to end the cluster")?;
    let deadline = Instant::now() + DOWN_TIMEOUT;
    // The folder is the last thing to go.
    while start_time(state.pid) == Some(state.started) || state.folder.exists() {
        anyhow::ensure!(Instant::now() < deadline, "{} is still there", state.folder.display());
        std::thread::sleep(POLL_INTERVAL);
    }
    State::remove(name)?;
    progress(format_args!("cluster {name} is down"));
    Ok(ExitCode::SUCCESS)
}

fn running(name: &str) -> anyhow::Result<State> {
    State::read(name)?
        .with_context(|| format!("no cluster {name} is up: run `cargo cluster up --name {name}`"))
}

/// Replaces this process by the command, inside the namespaces of the cluster and in the same working folder.
fn enter(state: &State, command: Vec<String>) -> anyhow::Result<ExitCode> {
    let shell = || vec![std::env::var("SHELL").unwrap_or_else(|_| "/bin/sh".to_owned())];
    let command = if command.is_empty() { shell() } else { command };
    let here = std::env::current_dir().context("failed to find the working folder")?;
    let mut nsenter = Command::new("nsenter");
    nsenter.arg("--target").arg(state.process_inside()?.to_string()).args(["--net", "--mount", "--pid"]);
    nsenter.arg(format!("--wdns={}", here.display())).arg("--").args(command);
    let error = nsenter.env("KUBECONFIG", state.kubeconfig()).exec();
    Err(error).context("failed to start `nsenter`: install the package util-linux")
}

fn print_usage(name: &str, state: &State) {
    let option = if name == "default" { String::new() } else { format!(" --name {name}") };
    progress(format_args!("  cargo cluster{option} kubectl get nodes"));
    progress(format_args!("  cargo cluster{option} enter        (a shell, KUBECONFIG is set)"));
    progress(format_args!("  cargo cluster{option} down"));
    if state.parts.contains(Part::Registry.name()) {
        let secret = state.folder.join(PULL_SECRET_FILE);
        progress(format_args!(
            "  registry: registry.test:5000, content of a pull secret: {}",
            secret.display()
        ));
    }
    progress(format_args!("  logs: {}", state.folder.join("logs").display()));
}
