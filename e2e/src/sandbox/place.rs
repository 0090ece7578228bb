//! What the sandbox looks like from inside: mounts, names, network.

use std::{fs, path::Path, process::Command};

use anyhow::Context;
use nix::mount::{MsFlags, mount};

use super::{NODE_ADDRESS, NODE_NAMES, Sandbox};
use crate::tool::{Hint, run};

/// Makes the namespaces of this process usable; runs once, as their first process.
pub(super) fn make(sandbox: &Sandbox) -> anyhow::Result<()> {
    let folder = sandbox.folder();
    make_network(folder)?;
    make_names(folder)?;
    hide_var(folder)?;
    Ok(())
}

/// Bind-mounts `source` over `target`, for this sandbox only.
pub(crate) fn bind(source: &Path, target: &Path) -> anyhow::Result<()> {
    mount(Some(source), target, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .with_context(|| format!("failed to mount {} on {}", source.display(), target.display()))
}

/// A bridge, since a kernel may have no dummy device; kubelet and API server look for a default route.
fn make_network(folder: &Path) -> anyhow::Result<()> {
    let batch = folder.join("network");
    let lines = format!(
        "link set lo up\nlink add node0 type bridge\naddress add {NODE_ADDRESS}/24 dev node0\nlink set node0 up\n\
         route add default dev node0\n"
    );
    fs::write(&batch, lines).with_context(|| format!("failed to write {}", batch.display()))?;
    run(Command::new("ip").arg("-batch").arg(&batch), &Hint::new("install the package iproute2", ""))?;
    fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("failed to switch forwarding on")
}

fn make_names(folder: &Path) -> anyhow::Result<()> {
    let hosts = folder.join("hosts");
    fs::write(&hosts, format!("127.0.0.1 localhost\n{NODE_ADDRESS} {}\n", NODE_NAMES.join(" ")))
        .with_context(|| format!("failed to write {}", hosts.display()))?;
    bind(&hosts, Path::new("/etc/hosts"))?;
    // CoreDNS answers here once it runs, so that a process beside the cluster resolves its services too.
    let resolver = folder.join("resolv.conf");
    fs::write(&resolver, format!("nameserver {NODE_ADDRESS}\n"))
        .with_context(|| format!("failed to write {}", resolver.display()))?;
    let path = Path::new("/etc/resolv.conf");
    let target = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    hide_run()?;
    if !target.exists() {
        // A link into /run, which is empty now.
        let parent = target.parent().context("/etc/resolv.conf links to the root")?;
        fs::create_dir_all(parent).with_context(|| format!("failed to create {}", parent.display()))?;
        fs::write(&target, "").with_context(|| format!("failed to write {}", target.display()))?;
    }
    bind(&resolver, &target)
}

fn hide_run() -> anyhow::Result<()> {
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), Some("mode=755"))
        .context("failed to mount an empty /run")?;
    fs::create_dir("/run/lock").context("failed to create /run/lock")
}

/// Container runtimes write below /var whatever they are told; the writes end up in the folder of the run.
fn hide_var(folder: &Path) -> anyhow::Result<()> {
    let (upper, work) = (folder.join("var"), folder.join("var.work"));
    for path in [&upper, &work] {
        fs::create_dir(path).with_context(|| format!("failed to create {}", path.display()))?;
    }
    let options = format!("lowerdir=/var,upperdir={},workdir={}", upper.display(), work.display());
    mount(Some("overlay"), "/var", Some("overlay"), MsFlags::empty(), Some(options.as_str())).with_context(
        || format!("failed to mount an overlay on /var: is {} on an overlay itself?", folder.display()),
    )
}
