//! Packages of Debian and Ubuntu, installed by name when missing.

use std::{path::PathBuf, process::Command};

use super::{Hint, progress, run};

/// The packages that the sandbox, the cluster and the image builds need.
pub const CLUSTER_PACKAGES: &[&str] = &[
    "apache2-utils",
    "buildah",
    "busybox-static",
    "conntrack",
    "containerd",
    "containernetworking-plugins",
    "docker-registry",
    "iproute2",
    "iptables",
    "nftables",
    "runc",
    "skopeo",
    "util-linux",
];

/// Hides systemd from the installation, so that Debian does not start containerd and the registry on the machine itself;
/// the environment variable RUNLEVEL does the same where there is no systemd.
const WITHOUT_SERVICES: &str = r#"[ ! -d /run/systemd ] || mount -t tmpfs tmpfs /run/systemd; exec "$@""#;

/// Installs those of the packages that are missing; does nothing, and needs no network, when all are there.
pub fn debian_packages(packages: &[&str]) -> anyhow::Result<()> {
    let missing = missing(packages)?;
    if missing.is_empty() {
        return Ok(());
    }
    anyhow::ensure!(
        nix::unistd::geteuid().is_root(),
        "Debian packages are missing and only root can install them: run as root, or `apt-get install {}`",
        missing.join(" ")
    );
    progress(format_args!("installing Debian packages: {}", missing.join(" ")));
    let hint = Hint::new(
        "this machine is no Debian or Ubuntu: install the named packages by hand",
        "is there a network, and does no other apt-get run?",
    );
    if run(apt_get().arg("--download-only").args(&missing), &hint).is_err() {
        // The package lists are stale or were never fetched.
        run(Command::new("apt-get").args(["update", "--quiet"]), &hint)?;
        run(apt_get().arg("--download-only").args(&missing), &hint)?;
    }
    let mut install = Command::new("unshare");
    install.args(["--mount", "--propagation", "private", "sh", "-c", WITHOUT_SERVICES, "sh"]);
    let apt = apt_get();
    install.arg(apt.get_program()).args(apt.get_args()).arg("--no-download").args(&missing);
    run(install.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1"), &hint)?;
    Ok(())
}

/// Returns the path of Chromium, after installing it when it is missing.
pub fn chromium() -> anyhow::Result<PathBuf> {
    debian_packages(&["chromium"])?;
    Ok(PathBuf::from("/usr/bin/chromium"))
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.args(["install", "--yes", "--quiet", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300"]);
    command
}

fn missing<'a>(packages: &[&'a str]) -> anyhow::Result<Vec<&'a str>> {
    let listed = run(
        Command::new("dpkg-query").args(["--show", "--showformat=${Package} ${db:Status-Status}\\n"]),
        &Hint::new("this machine is no Debian or Ubuntu: install by hand what the README lists", ""),
    )?;
    let installed: std::collections::BTreeSet<&str> =
        listed.lines().filter_map(|line| line.strip_suffix(" installed")).collect();
    Ok(packages.iter().copied().filter(|package| !installed.contains(package)).collect())
}
