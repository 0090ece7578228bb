//! Which Rust files the compiler reads: those that a chain of `mod` lines leads to.

use std::collections::{BTreeMap, BTreeSet};

use super::Source;

/// Returns the files that no root of a crate reaches, so that nobody notices that they are dead.
pub(super) fn unreached(files: &[&Source]) -> Vec<String> {
    let texts: BTreeMap<&str, &str> =
        files.iter().map(|file| (file.path.as_str(), file.text.as_str())).collect();
    let mut waiting: Vec<String> =
        texts.keys().filter(|path| is_root(path)).map(|path| (*path).to_owned()).collect();
    let mut reached = BTreeSet::new();
    while let Some(path) = waiting.pop() {
        let Some(text) = texts.get(path.as_str()) else { continue };
        let folder = folder_of_children(&path);
        for name in text.lines().filter_map(declared) {
            waiting.push(format!("{folder}/{name}.rs"));
            waiting.push(format!("{folder}/{name}/mod.rs"));
        }
        // Such a path starts at the folder of the file itself.
        let own_folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        waiting.extend(text.lines().filter_map(given_path).map(|given| format!("{own_folder}/{given}")));
        reached.insert(path);
    }
    texts.keys().filter(|path| !reached.contains(**path)).map(|path| (*path).to_owned()).collect()
}

/// Says whether cargo itself finds the file.
fn is_root(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    matches!(
        parts.as_slice(),
        [.., "src", "lib.rs" | "main.rs"]
            | [.., "src", "bin", _]
            | [.., "tests" | "bin", _, "main.rs"]
            | [_, "tests" | "benches" | "examples", _]
            | [_, "build.rs"]
    )
}

fn folder_of_children(path: &str) -> String {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    let own_folder = is_root(path) || file == "mod.rs";
    if own_folder { folder.to_owned() } else { path.trim_end_matches(".rs").to_owned() }
}

/// Returns the name that a line such as `pub(crate) mod name;` declares.
fn declared(line: &str) -> Option<&str> {
    let line = line.trim();
    let line = match line.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(')')?.1.trim_start(),
        Some(rest) => rest.trim_start(),
        None => line,
    };
    line.strip_prefix("mod ")?.strip_suffix(';').map(str::trim)
}

/// Returns the path that a line such as `#[path = "deep/name.rs"]` gives to the module after it.
fn given_path(line: &str) -> Option<&str> {
    line.trim().strip_prefix("#[path = \"")?.strip_suffix("\"]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_mod_line_is_found() {
        let files = [
            ("a/src/lib.rs", "mod one;\npub(crate) mod two;\n"),
            ("a/src/one.rs", "pub mod deep;\n"),
            ("a/src/one/deep.rs", ""),
            ("a/src/two.rs", ""),
            ("a/src/three.rs", ""),
            ("a/tests/it/main.rs", "mod part;\n"),
            ("a/tests/it/part.rs", ""),
            ("a/tests/other.rs", "#[path = \"deep/client.rs\"]\nmod client;\n"),
            ("a/tests/deep/client.rs", ""),
        ];
        let files: Vec<Source> =
            files.iter().map(|(path, text)| Source { path: (*path).into(), text: (*text).into() }).collect();
        assert_eq!(unreached(&files.iter().collect::<Vec<_>>()), ["a/src/three.rs"]);
    }
}
