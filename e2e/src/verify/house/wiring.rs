//! Where the product may read clocks and the environment and start tasks: in the few files that wire it together.
//!
//! Everything else gets the time, a setting or a handle as a value, and so can be tested with any.

use super::Source;

/// Something that only wiring may do.
struct Rule {
    what: &'static str,
    calls: &'static [&'static str],
    files: &'static [&'static str],
}

const RULES: [Rule; 3] = [
    Rule {
        what: "reads the wall clock, take the time as an argument",
        calls: &["SystemTime::now(", "Timestamp::now(", "Zoned::now("],
        files: &[
            "operator/src/lease.rs",
            "operator/src/controller/observe.rs",
            "ingest/src/admin.rs",
            "ingest/src/api/analytics.rs",
            "ingest/src/api/flags.rs",
            "ingest/src/api/receive.rs",
            "ingest/src/check.rs",
            "ingest/src/service.rs",
        ],
    },
    Rule {
        what: "reads the environment, add an argument to args.rs",
        calls: &["env::var(", "env::var_os("],
        files: &["operator/src/run.rs"],
    },
    Rule {
        what: "starts a task that nobody waits for, keep it in a JoinSet",
        calls: &["tokio::spawn("],
        // What it starts has a deadline, holds nothing that must be stored, and belongs to a connection that may be gone.
        files: &["ingest/src/server/leftover.rs"],
    },
];

/// Returns the lines that do what their file may not.
pub(super) fn strays(files: &[&Source]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files.iter().filter(|file| is_product(&file.path)) {
        let code = file.text.lines().take_while(|line| !line.starts_with("#[cfg(test)]"));
        for (number, line) in code.enumerate() {
            for Rule { what, calls, files } in &RULES {
                let stray =
                    calls.iter().any(|call| line.contains(call)) && !files.contains(&file.path.as_str());
                if stray {
                    found.push(format!("{}:{}: {what}", file.path, number + 1));
                }
            }
        }
    }
    found
}

fn is_product(path: &str) -> bool {
    let crates = ["crds/src/", "operator/src/", "ingest/src/"];
    let is_test = path.ends_with("/tests.rs") || path.contains("/tests/");
    crates.iter().any(|folder| path.starts_with(folder)) && !is_test
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_read_where_it_is_wired_and_in_tests() {
        let read = "let now = Timestamp::now();\n";
        let strays_in = |path: &str, text: &str| {
            strays(&[&Source { path: path.to_owned(), text: text.to_owned() }]).len()
        };
        assert_eq!(strays_in("operator/src/controller/observe.rs", read), 0);
        assert_eq!(strays_in("operator/src/controller/plan.rs", read), 1);
        assert_eq!(strays_in("operator/src/controller/plan.rs", &format!("#[cfg(test)]\n{read}")), 0);
        assert_eq!(strays_in("e2e/src/demo.rs", read), 0);
    }
}
