//! Rules of the house for this crate, kept by reading its sources.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

/// Rooms without effects: no runtime, no network, no clock, no log.
const PURE: [&str; 48] = [
    "admin/report.rs",
    "admission/addresses.rs",
    "admission/look.rs",
    "admission/pace.rs",
    "args.rs",
    "authenticate.rs",
    "batch.rs",
    "decode.rs",
    "decode/analytics.rs",
    "decode/base64.rs",
    "decode/batch.rs",
    "decode/codec.rs",
    "decode/events.rs",
    "decode/expand.rs",
    "decode/form.rs",
    "decode/gzip.rs",
    "decode/lz.rs",
    "decode/number.rs",
    "decode/posthog.rs",
    "decode/properties.rs",
    "decode/repair.rs",
    "decode/text.rs",
    "decode/unpack.rs",
    "encode.rs",
    "event.rs",
    "event/properties.rs",
    "identity.rs",
    "identity/entries.rs",
    "identity/nobody.rs",
    "keys/file.rs",
    "keys/snapshot.rs",
    "normalize.rs",
    "normalize/clock.rs",
    "normalize/distinct_id.rs",
    "normalize/members.rs",
    "normalize/properties.rs",
    "normalize/timestamp.rs",
    "pieces.rs",
    "policy.rs",
    "policy/address.rs",
    "policy/properties.rs",
    "reload.rs",
    "settings.rs",
    "settings/paths.rs",
    "settings/policy.rs",
    "settings/reader.rs",
    "spool/format.rs",
    "table.rs",
];

const EFFECTS: [&str; 8] =
    ["tokio", "hyper", "axum", "tower", "tracing", "futures", "rand::", "std::time::SystemTime"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The source before its tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    text.split("#[cfg(test)]").next().unwrap_or_default().to_owned()
}

#[test]
fn the_crate_knows_nothing_of_kubernetes() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    for name in ["kube", "k8s-openapi", "weir-crds", "weir-operator"] {
        let named = |line: &str| line.split(['.', ' ', '=']).next() == Some(name);
        assert!(!manifest.lines().any(named), "{name} in ingest/Cargo.toml");
    }
}

#[test]
fn pure_rooms_import_no_effects() {
    for room in PURE {
        let path = root().join("src").join(room);
        let imports = code(&path);
        let imports = imports.lines().filter(|line| line.trim_start().starts_with("use "));
        for line in imports {
            assert!(!EFFECTS.iter().any(|effect| line.contains(effect)), "{room}: {line}");
        }
    }
}

#[test]
fn every_source_is_reached_by_a_mod() {
    for path in sources(&root().join("src")) {
        let name = path.file_stem().unwrap().to_str().unwrap();
        if matches!(name, "main" | "lib") {
            continue;
        }
        let folder = path.parent().unwrap();
        let parent =
            if folder == root().join("src") { folder.join("lib.rs") } else { folder.with_extension("rs") };
        let declared = fs::read_to_string(&parent).unwrap();
        let reaches = |line: &str| line.trim_end().ends_with(&format!("mod {name};"));
        assert!(declared.lines().any(reaches), "{} is not reached from {}", path.display(), parent.display());
    }
}

#[test]
fn every_source_says_what_it_is_for_and_stays_short() {
    for path in sources(&root().join("src")) {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//! "), "{} has no head", path.display());
        assert!(code(&path).lines().count() <= 400, "{} is too long", path.display());
    }
}
