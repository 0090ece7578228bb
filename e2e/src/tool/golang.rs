//! The cluster binary: every program of Kubernetes in one, built from the Go module in `e2e/cluster`.

use std::{fs, path::PathBuf, process::Command};

use anyhow::Context;
use sha2::{Digest, Sha256};

use super::{Hint, cache, progress, run};

const KUBERNETES_VERSION: &str = "1.35.4";
/// Compiled in, so that the binary that runs and the sources that it builds cannot differ.
const SOURCES: [(&str, &str); 3] = [
    ("go.mod", include_str!("../../cluster/go.mod")),
    ("go.sum", include_str!("../../cluster/go.sum")),
    ("main.go", include_str!("../../cluster/main.go")),
];

/// Returns the path of the cluster binary; the first build takes minutes, and is done once per content of its sources.
pub fn cluster_binary() -> anyhow::Result<PathBuf> {
    let mut hash = Sha256::new();
    for (_, text) in SOURCES {
        hash.update(text);
    }
    let version = format!("{KUBERNETES_VERSION}-{}", hex::encode(&hash.finalize()[..6]));
    let entry = cache::entry("cluster", &version, |folder| {
        progress(
            "building Kubernetes from its Go modules: about 7 minutes on two cores, when Go's cache is empty",
        );
        let sources = folder.join("sources");
        fs::create_dir(&sources).context("failed to create the folder of sources")?;
        for (name, text) in SOURCES {
            fs::write(sources.join(name), text).with_context(|| format!("failed to write {name}"))?;
        }
        let mut go = Command::new("go");
        // The flags decide what Go can take from its build cache.
        go.args(["build", "-trimpath", "-ldflags", &linker_flags(), "-o", "../cluster", "."]);
        go.current_dir(&sources).env("CGO_ENABLED", "0");
        // The compiler spends a fifth of its time on collecting garbage otherwise; memory is there for it.
        go.env("GOGC", "400");
        run(
            &mut go,
            &Hint::new("install Go 1.26 or newer (https://go.dev/dl)", "can Go reach its module proxy?"),
        )?;
        fs::remove_dir_all(&sources).context("failed to remove the folder of sources")
    })?;
    Ok(entry.join("cluster"))
}

/// Without a version `kubectl version` cannot parse what the server says.
fn linker_flags() -> String {
    let package = "k8s.io/component-base/version";
    let mut parts = KUBERNETES_VERSION.split('.');
    let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    format!(
        "-s -w -X {package}.gitVersion=v{KUBERNETES_VERSION} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}"
    )
}
