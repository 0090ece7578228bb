//! The gates that are one command each: the machine, format, lints, documentation, each crate alone.

use std::process::Command;

use super::place::Place;
use crate::{
    report::Report,
    tool::{Hint, run},
};

/// The crates that are shipped, the one that others depend on first.
const SHIPPED: [&str; 3] = ["weir-crds", "weir-ingest", "weir-operator"];

const CARGO: &str = "install Rust (https://rustup.rs)";

/// Checks that this is root on a machine with cargo, go and node.
pub(super) fn machine(_: &Place, report: &mut Report) {
    report.check("machine: this is root", || {
        let root = nix::unistd::geteuid().is_root();
        anyhow::ensure!(root, "namespaces, mounts and containers need root: run `sudo cargo verify`");
        Ok(String::new())
    });
    let programs = [
        ("cargo", "--version", CARGO),
        (
            "go",
            "version",
            "install Go 1.26 or newer (https://go.dev/dl): the cluster is built from Go modules",
        ),
        (
            "node",
            "--version",
            "install Node.js 20 or newer (https://nodejs.org): a real SDK sends the events",
        ),
        (
            "npm",
            "--version",
            "install npm (Debian: apt-get install npm): the ClickHouse engine comes from npm",
        ),
        ("python3", "--version", "install Python 3: kubectl and Helm come from PyPI"),
        ("git", "--version", "install git: the rules of the house read the list of files from it"),
        ("setpriv", "--version", "install util-linux: what a run starts must end with it"),
    ];
    for (program, argument, missing) in programs {
        report.check(&format!("machine: {program} is here"), || {
            let version = run(Command::new(program).arg(argument), &Hint::new(missing, missing))?;
            anyhow::Ok(version.lines().next().unwrap_or_default().to_owned())
        });
    }
}

/// Checks the format of every Rust file, and of the Go ones.
pub(super) fn format(place: &Place, report: &mut Report) {
    let hint = Hint::new(CARGO, "run `cargo fmt`; these files differ");
    let args = ["fmt", "--all", "--check", "--", "--files-with-diff", "--color", "never"];
    gate(report, "format: Rust", &mut place.command("cargo", args), &hint);
    report.check("format: Go", || {
        let listed = run(&mut place.command("gofmt", ["-l", "e2e"]), &Hint::new("install Go", ""))?;
        anyhow::ensure!(listed.trim().is_empty(), "run `gofmt -w` on: {}", listed.trim().replace('\n', ", "));
        Ok(String::new())
    });
}

/// Checks that clippy, and with it the compiler, has nothing to say about any target.
pub(super) fn lint(place: &Place, report: &mut Report) {
    // Flags after the dashes reach workspace crates only, so that no dependency is built again.
    let args = ["clippy", "--quiet", "--workspace", "--all-targets", "--keep-going", "--", "-D", "warnings"];
    let hint = Hint::new(CARGO, "mend each place, or `expect` the lint on the smallest item with a reason");
    gate(report, "lint: clippy", &mut place.command("cargo", args), &hint);
}

/// Checks that the documentation builds without a warning.
pub(super) fn docs(place: &Place, report: &mut Report) {
    let args = ["doc", "--quiet", "--no-deps", "--workspace", "--document-private-items", "--keep-going"];
    let mut command = place.command("cargo", args);
    command.env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private_intra_doc_links");
    let hint = Hint::new(CARGO, "mend the links and the markup that are named");
    gate(report, "docs: rustdoc", &mut command, &hint);
}

/// Checks that each shipped crate asks for the features that it needs, instead of living on those of its neighbours.
pub(super) fn alone(place: &Place, report: &mut Report) {
    let hint = Hint::new(CARGO, "a feature or a dependency is missing in its Cargo.toml");
    for package in SHIPPED {
        let mut command = place.command("cargo", ["check", "--quiet", "--package", package]);
        gate(report, &format!("alone: {package}"), &mut command, &hint);
    }
}

/// Runs a command that says by its exit code whether the check holds.
pub(super) fn gate(report: &mut Report, name: &str, command: &mut Command, hint: &Hint) -> bool {
    report.check(name, || run(command, hint).map(|_| String::new()))
}
