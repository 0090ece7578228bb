//! What ties a repository to one machine: paths of a checkout, and registries that only this machine reaches.

use std::path::Path;

use serde_json::Value;

use super::{Source, none};

/// Folders that hold checkouts; split, so that this list does not find itself.
const HOMES: [&str; 3] = [concat!("/ho", "me/"), concat!("/Use", "rs/"), concat!("/wo", "rk/")];
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";
const NPM: &str = "https://registry.npmjs.org/";
/// Settings that point a package manager somewhere else; split like the above.
const REDIRECTIONS: [&str; 7] = [
    concat!("index", "-url"),
    concat!("replace", "-with"),
    concat!("[regis", "tries"),
    concat!("GO", "PROXY"),
    concat!("npm_config_", "registry"),
    concat!("extra", "-index"),
    concat!("[source", "."),
];

/// Returns the lines that hold a path of a checkout, of this one or of anybody's.
pub(super) fn checkout_paths(files: &[Source], workspace: &Path) -> Vec<String> {
    let own = format!("{}/", workspace.display());
    let marked = |line: &str| line.contains(&own) || HOMES.iter().any(|home| holds_path(line, home));
    lines_where(files, marked)
}

/// Checks that lock files name public registries and that nothing redirects a package manager.
pub(super) fn registries(files: &[Source]) -> anyhow::Result<String> {
    let mut complaints = lines_where(files, |line| REDIRECTIONS.iter().any(|setting| line.contains(setting)));
    for file in files {
        let name = file.path.rsplit('/').next().unwrap_or_default();
        let foreign: Vec<String> = match name {
            "Cargo.lock" => foreign_crates(&file.text),
            "package-lock.json" => foreign_packages(&serde_json::from_str(&file.text)?),
            _ => Vec::new(),
        };
        complaints.extend(foreign.into_iter().map(|source| format!("{}: {source}", file.path)));
    }
    none(complaints)
}

fn foreign_crates(lock: &str) -> Vec<String> {
    let sources = lock.lines().filter_map(|line| line.strip_prefix("source = "));
    sources.map(|source| source.trim_matches('"').to_owned()).filter(|source| source != CRATES_IO).collect()
}

fn foreign_packages(lock: &Value) -> Vec<String> {
    let packages = lock.get("packages").and_then(Value::as_object).into_iter().flatten();
    packages
        .filter_map(|(_, package)| package.get("resolved").and_then(Value::as_str))
        .filter(|resolved| !resolved.starts_with(NPM))
        .map(str::to_owned)
        .collect()
}

/// Says whether the line holds the folder as the start of an absolute path, not inside a longer one or a URL.
fn holds_path(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|before| !before.is_alphanumeric() && !"/._-$}~".contains(before))
    })
}

fn lines_where(files: &[Source], marked: impl Fn(&str) -> bool) -> Vec<String> {
    let lines = files.iter().flat_map(|file| file.text.lines().enumerate().map(move |line| (file, line)));
    lines
        .filter(|(_, (_, line))| marked(line))
        .map(|(file, (number, line))| format!("{}:{}: {}", file.path, number + 1, line.trim()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_absolute_paths_count() {
        let home = HOMES[0];
        assert!(holds_path(&format!("cd {home}me/weir"), home));
        assert!(!holds_path(&format!("https://example.com{home}page"), home));
    }

    #[test]
    fn a_lock_file_with_another_registry_is_named() {
        let lock = format!("source = \"{CRATES_IO}\"\nsource = \"sparse+https://mirror.example.com/\"\n");
        assert_eq!(foreign_crates(&lock), ["sparse+https://mirror.example.com/"]);
        let lock = serde_json::json!({"packages": {"": {}, "a": {"resolved": format!("{NPM}a.tgz")}, "b": {"resolved": "http://other/b.tgz"}}});
        assert_eq!(foreign_packages(&lock), ["http://other/b.tgz"]);
    }
}
