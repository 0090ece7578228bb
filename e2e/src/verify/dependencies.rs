//! Who depends on whom: the arrows between the crates, the banned crates, licences and sources.

use std::collections::BTreeSet;

use super::{gates::gate, place::Place};
use crate::{
    report::Report,
    tool::{self, Hint, run},
};

const HINT: Hint =
    Hint::new("install Rust (https://rustup.rs)", "is Cargo.lock current? `cargo metadata` says");

/// A crate that must not be in the tree of another.
struct Ban {
    package: &'static str,
    banned: &'static [&'static str],
    why: &'static str,
}

const BANS: [Ban; 6] = [
    Ban {
        package: "weir-ingest",
        banned: &["kube", "kube-core", "kube-client", "kube-runtime", "k8s-openapi"],
        why: "ingest knows nothing of Kubernetes",
    },
    Ban {
        package: "weir-ingest",
        banned: &["weir-crds", "weir-operator", "weir-e2e"],
        why: "ingest depends on no other crate of the workspace",
    },
    Ban {
        package: "weir-operator",
        banned: &["weir-ingest", "weir-e2e"],
        why: "the operator knows ingest by the environment of its container only",
    },
    Ban {
        package: "weir-crds",
        banned: &["kube-client", "kube-runtime", "tokio", "weir-operator", "weir-ingest", "weir-e2e"],
        why: "the API is types only",
    },
    Ban {
        package: "weir-e2e",
        banned: &["weir-operator", "weir-ingest"],
        why: "the scenarios take images and charts as black boxes",
    },
    Ban {
        package: "--workspace",
        banned: &["ring", "openssl", "openssl-sys", "native-tls"],
        why: "one binary carries one TLS provider, aws-lc-rs",
    },
];

/// Checks that the lock file is current and that every arrow between crates is an allowed one.
pub(super) fn tree(place: &Place, report: &mut Report) {
    let locked = ["metadata", "--quiet", "--locked", "--format-version", "1"];
    let hint = Hint::new(HINT.missing, "run `cargo check` and commit Cargo.lock");
    gate(report, "tree: Cargo.lock is current", &mut place.command("cargo", locked), &hint);
    for Ban { package, banned, why } in &BANS {
        report.check(&format!("tree: {why}"), || {
            let names = packages(place, package)?;
            let found: Vec<&str> = banned.iter().copied().filter(|name| names.contains(*name)).collect();
            let path = found.first().map(|name| format!("`cargo tree --edges normal,build --invert {name}`"));
            anyhow::ensure!(
                found.is_empty(),
                "{package} depends on {}: see {}",
                found.join(", "),
                path.unwrap_or_default()
            );
            Ok(format!("{} crates", names.len()))
        });
    }
}

/// Checks licences, bans and sources of the whole tree, tests included.
pub(super) fn deny(place: &Place, report: &mut Report) -> anyhow::Result<()> {
    let program = tool::cargo_deny()?;
    let hint =
        Hint::new("run again", "judge the crate, then drop it or name it in .deny.toml with the reason");
    for check in ["licenses", "bans", "sources"] {
        // Advisories would need a database that no package registry carries.
        let args = ["--log-level", "error", "--config", ".deny.toml", "check", "--hide-inclusion-graph"];
        let mut command = place.command(&program, args);
        gate(report, &format!("deny: {check}"), command.arg(check), &hint);
    }
    Ok(())
}

/// Returns the names of what ships with a package, development dependencies left out.
fn packages(place: &Place, package: &str) -> anyhow::Result<BTreeSet<String>> {
    let mut command =
        place.command("cargo", ["tree", "--quiet", "--edges", "normal,build", "--prefix", "none"]);
    command.args(["--format", "{p}"]);
    match package {
        "--workspace" => command.arg(package),
        _ => command.args(["--package", package]),
    };
    let listed = run(&mut command, &HINT)?;
    Ok(listed.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect())
}
