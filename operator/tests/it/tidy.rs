//! Rules of the house that the compiler does not know: import classes, modules that are reached, no stray prints.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Files that decide and must not act: no client, no runtime, no clock, no randomness, no log.
const PURE: [&str; 31] = [
    "args.rs",
    "names.rs",
    "quote.rs",
    "controller/child.rs",
    "controller/credential.rs",
    "controller/desired.rs",
    "controller/desired/",
    "controller/observed.rs",
    "controller/plan.rs",
    "controller/pod_report.rs",
    "controller/plan/",
    "controller/stack.rs",
    "controller/status.rs",
    "controller/status/",
    "controller/validate.rs",
    "controller/watch/mark.rs",
    "controller/watch/seen.rs",
    "controller/workload.rs",
    "access/adoption.rs",
    "access/adoption/",
    "access/handover.rs",
    "access/ledger/",
    "access/plan.rs",
    "access/deletion.rs",
    "access/desired.rs",
    "access/narrowing.rs",
    "access/quota.rs",
    "access/right.rs",
    "access/rows.rs",
    "access/rows/change.rs",
    "access/rows/difference.rs",
];
/// What pure files must not name.
const EFFECTS: [&str; 8] = [
    "kube::Client",
    "kube::Api",
    "tokio::",
    "tracing::",
    "Timestamp::now",
    "Instant::now",
    "SystemTime::now",
    "std::env",
];
/// Files that speak HTTP to others than the API server.
const CONNECTIONS: &[&str] = &[
    "clickhouse/transport.rs",
    "controller/observe/consumers.rs",
    "dialer.rs",
    "image/registry.rs",
    "tls.rs",
];
/// Effects that only these files may have.
const ONLY: [(&str, &[&str]); 6] = [
    ("axum::", &["admin.rs", "run.rs"]),
    ("hyper::", CONNECTIONS),
    ("hyper_util::", CONNECTIONS),
    ("hyper_rustls::", CONNECTIONS),
    ("std::env::", &["run.rs"]),
    ("Patch::", &["kubernetes.rs"]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every source file by its path below `src`, without its tests.
fn sources() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned();
                found.insert(name, code);
            }
        }
    }
    found
}

fn is_test(name: &str) -> bool {
    name.ends_with("tests.rs") || name.ends_with("fixture.rs") || name.contains("/tests/")
}

/// Lines of code, without comments.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim_start().starts_with("//"))
}

#[test]
fn pure_files_name_no_effect() {
    let sources = sources();
    for class in PURE {
        assert!(sources.keys().any(|name| name.starts_with(class)), "no file is {class}; correct the list");
    }
    for (name, text) in sources.iter().filter(|(name, _)| !is_test(name)) {
        if PURE.iter().any(|class| name == class || class.ends_with('/') && name.starts_with(class)) {
            for effect in EFFECTS {
                assert!(!code(text).any(|line| line.contains(effect)), "{name} is pure and names {effect}");
            }
        }
    }
}

#[test]
fn effects_stay_in_their_rooms() {
    for (name, text) in sources().iter().filter(|(name, _)| !is_test(name)) {
        for (effect, rooms) in ONLY {
            let allowed = rooms.contains(&name.as_str());
            assert!(allowed || !code(text).any(|line| line.contains(effect)), "{name} names {effect}");
        }
    }
}

#[test]
fn every_file_is_reached_and_has_a_head() {
    let sources = sources();
    for (name, text) in &sources {
        assert!(text.starts_with("//! "), "{name} does not say what it is for");
        if name == "main.rs" || name == "lib.rs" {
            continue;
        }
        let stem = name.trim_end_matches(".rs");
        let (folder, module) = stem.rsplit_once('/').unwrap_or(("", stem));
        let parent = if folder.is_empty() { "lib.rs".to_owned() } else { format!("{folder}.rs") };
        let parent_text = fs::read_to_string(root().join(&parent)).unwrap_or_default();
        assert!(
            parent_text.lines().any(|line| line.trim_end().ends_with(&format!("mod {module};"))),
            "{parent} does not reach {name}"
        );
    }
}

#[test]
fn nothing_prints_and_logs_begin_in_lower_case() {
    for (name, text) in &sources() {
        for line in code(text) {
            for stray in ["println!", "eprintln!", "print!(", "dbg!("] {
                // A test may print what it measured.
                assert!(is_test(name) || !line.contains(stray), "{name} prints: {line}");
            }
            let logs = ["tracing::info!(\"", "tracing::warn!(\"", "tracing::error!(\"", "tracing::debug!(\""];
            for macro_ in logs {
                let message = line.split(macro_).nth(1).and_then(|rest| rest.split('"').next());
                if let Some(message) = message {
                    let lower = message.chars().next().is_some_and(|first| !first.is_uppercase());
                    assert!(lower && !message.ends_with('.'), "{name} logs in another form: {message}");
                }
            }
        }
    }
}

#[test]
fn files_stay_readable() {
    for (name, text) in sources().iter().filter(|(name, _)| !is_test(name)) {
        let lines = text.lines().count();
        assert!(lines <= 400, "{name} has {lines} lines; split it");
    }
}
