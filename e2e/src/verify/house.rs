//! The rules of the house that can be read off the files: what lies where, how long it is, what it must not hold.

mod modules;
mod sources;
mod wiring;

use std::{collections::BTreeSet, fs, path::PathBuf};

use anyhow::Context;

use super::place::Place;
use crate::{
    report::Report,
    tool::{Hint, run as run_tool},
};

/// What is visible at the top of the repository, and nothing else.
const TOP: [&str; 10] = [
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "charts",
    "crds",
    "e2e",
    "examples",
    "ingest",
    "operator",
];
/// Lines of a file before its tests.
const MAX_LINES: usize = 600;
/// What is left in unfinished code; split, so that this list does not find itself.
const UNFINISHED: [&str; 5] = [
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("#[", "ignore"),
];

/// A text file of the repository.
struct Source {
    /// From the root of the workspace.
    path: String,
    text: String,
}

impl Source {
    fn has_extension(&self, extensions: &[&str]) -> bool {
        let found = self.path.rsplit_once('.').map(|(_, extension)| extension);
        found.is_some_and(|found| extensions.contains(&found))
    }
}

/// Checks every rule.
pub(super) fn run(place: &Place, report: &mut Report) -> anyhow::Result<()> {
    let files = sources(place)?;
    let rust: Vec<&Source> = files.iter().filter(|file| file.has_extension(&["rs"])).collect();
    let code: Vec<&Source> =
        files.iter().filter(|file| file.has_extension(&["rs", "go", "ts", "js", "mjs"])).collect();
    report.check("house: the top shows the eight rooms, the lock file and the licence", || top(&files));
    report.check("house: every Rust file begins by saying what it is for", || {
        none(rust.iter().filter(|file| !file.text.starts_with("//!")).map(|file| file.path.clone()))
    });
    report.check("house: no file is longer than 600 lines before its tests", || {
        none(code.iter().filter_map(|file| long(file)))
    });
    report.check("house: nothing is unfinished, no test is switched off", || {
        none(code.iter().flat_map(|file| unfinished(file)))
    });
    report.check("house: every Rust file is reached by a `mod`", || none(modules::unreached(&rust)));
    report.check("house: clocks, environment and tasks stay where the product is wired", || {
        none(wiring::strays(&rust))
    });
    report.check("house: no path of a checkout", || none(sources::checkout_paths(&files, place.workspace())));
    report.check("house: packages come from the public registries", || sources::registries(&files));
    Ok(())
}

/// Reads what git knows or would take; a file that is no text is left out.
fn sources(place: &Place) -> anyhow::Result<Vec<Source>> {
    let args = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let listed = run_tool(
        &mut place.command("git", args),
        &Hint::new("install git", "this must be a checkout made with git"),
    )?;
    let paths: BTreeSet<&str> = listed.split('\0').filter(|path| !path.is_empty()).collect();
    let mut found = Vec::new();
    for path in paths {
        let full: PathBuf = place.workspace().join(path);
        if !full.is_file() {
            // Deleted, and not yet committed.
            continue;
        }
        let bytes = fs::read(&full).with_context(|| format!("failed to read {path}"))?;
        if let Ok(text) = String::from_utf8(bytes) {
            found.push(Source { path: path.to_owned(), text });
        }
    }
    Ok(found)
}

fn top(files: &[Source]) -> anyhow::Result<String> {
    let seen: BTreeSet<&str> = files
        .iter()
        .filter_map(|file| file.path.split('/').next())
        .filter(|name| !name.starts_with('.'))
        .collect();
    let wanted = BTreeSet::from(TOP);
    let (extra, missing): (Vec<_>, Vec<_>) =
        (seen.difference(&wanted).collect(), wanted.difference(&seen).collect());
    anyhow::ensure!(
        extra.is_empty() && missing.is_empty(),
        "not in the design: {extra:?}; missing: {missing:?}; move or add them"
    );
    Ok(String::new())
}

fn long(file: &Source) -> Option<String> {
    let lines = file.text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).count();
    (lines > MAX_LINES)
        .then(|| format!("{} has {lines} lines, split it by what it is responsible for", file.path))
}

fn unfinished(file: &Source) -> Vec<String> {
    let marked = |line: &str| UNFINISHED.iter().any(|mark| line.contains(mark));
    let lines = file.text.lines().enumerate().filter(|(_, line)| marked(line));
    lines.map(|(number, line)| format!("{}:{}: {}", file.path, number + 1, line.trim())).collect()
}

/// Holds when there is nothing to complain about.
fn none(complaints: impl IntoIterator<Item = String>) -> anyhow::Result<String> {
    let complaints: Vec<String> = complaints.into_iter().collect();
    anyhow::ensure!(complaints.is_empty(), "{}", complaints.join("\n      "));
    Ok(String::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn tests_at_the_end_do_not_make_a_file_long() {
        let code = "//! x\n".repeat(MAX_LINES);
        assert!(long(&source("a.rs", &format!("{code}#[cfg(test)]\nmod tests {{}}\n"))).is_none());
        assert!(long(&source("a.rs", &format!("{code}fn one_more() {{}}\n"))).is_some());
    }

    #[test]
    fn a_switched_off_test_is_named_with_its_line() {
        let text = format!("//! x\n{} = \"slow\"]\nfn a() {{}}\n", concat!("#[", "ignore"));
        assert_eq!(unfinished(&source("a.rs", &text)).len(), 1);
    }

    #[test]
    fn an_entry_too_many_at_the_top_is_named() {
        let mut files: Vec<Source> = TOP.iter().map(|name| source(name, "")).collect();
        files.push(source(".ci/run", ""));
        assert!(top(&files).is_ok());
        files.push(source("docs/a.md", ""));
        assert!(top(&files).expect_err("docs is no room").to_string().contains("docs"));
    }
}
