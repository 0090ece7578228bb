//! Grants, conditions of rows, names and the catalogue at length: the operator's own planning and applying, and the
//! service's own templates, on a real ClickHouse.
//!
//! What is run are tests of those two crates, in which these rooms are visible; `cargo verify` runs them at their sample
//! with all other tests, and this story with a ClickHouse of their own and at any count.

use std::{path::Path, process::Stdio, time::Instant};

use anyhow::{Context as _, ensure};

use super::{Plan, runners};
use crate::{
    clickhouse::{Options, Server},
    target::repository,
    tool,
};

/// A test, where it is, and how often it repeats what it is about.
struct Long {
    /// Folder of the package.
    package: &'static str,
    /// Kind of target, as cargo calls it.
    kind: &'static str,
    test: &'static str,
    /// Variable that says how often.
    count: &'static str,
    sample: usize,
    full: usize,
}

const TESTS: [Long; 6] = [
    Long {
        test: "access::tests::real::edits::edits_never_take_what_is_allowed_before_and_after_and_end_exactly_at_the_spec",
        ..Long::of_operator("WEIR_TEST_GRANT_EDITS", 16, 1_000)
    },
    Long {
        test: "access::tests::real::canonical::canonical_grants_are_those_of_the_server",
        ..Long::of_operator("WEIR_TEST_GRANT_SETS", 200, 5_000)
    },
    Long {
        test: "access::tests::real::shared::the_queries_of_a_drift_pass_do_not_grow_with_the_number_of_stacks",
        ..Long::of_operator("WEIR_TEST_STACKS", 1_000, 1_000)
    },
    Long {
        test: "access::tests::real::narrowing::every_accepted_condition_is_the_servers_own_in_a_second_pass",
        ..Long::of_operator("WEIR_TEST_CONDITIONS", 2, 60)
    },
    Long {
        test: "access::tests::real::quoting::quoted_text_is_what_the_servers_parser_reads",
        ..Long::of_operator("WEIR_TEST_NAMES", 5_000, 100_000)
    },
    Long {
        package: "ingest",
        kind: "test",
        test: "migrate::quoting::a_name_is_what_the_servers_parser_reads_from_a_rendered_statement",
        ..Long::of_operator("WEIR_TEST_NAMES", 5_000, 100_000)
    },
];

/// How the tests print what they measured.
const FIGURE: &str = "figure: ";
/// Lines that say why a test failed.
const CAUSE_LINES: usize = 12;

pub(super) async fn run(folder: &Path, plan: Plan) -> anyhow::Result<String> {
    let launcher = std::env::current_exe().context("failed to find this program's own file")?;
    let password = hex::encode(rand::random::<[u8; 16]>());
    let options = Options::new(tool::clickhouse_engine()?, launcher, folder.join("clickhouse"), &password);
    let server = Server::start(options).await?;
    let mut figures = vec![String::new()];
    for long in &TESTS {
        let count = plan.pick(long.sample, long.full);
        let (started, restarts) = (Instant::now(), server.restarts());
        let figure = long.run(&server, count, plan.seed).await.with_context(|| long.test.to_owned())?;
        let (took, restarts) = (started.elapsed().as_secs(), server.restarts() - restarts);
        figures.push(format!("{figure} (in {took} s, with {restarts} restarts of the engine)"));
    }
    server.stop().await?;
    Ok(figures.join("\n      "))
}

impl Long {
    const fn of_operator(count: &'static str, sample: usize, full: usize) -> Self {
        Self { package: "operator", kind: "lib", test: "", count, sample, full }
    }

    async fn run(&self, server: &Server, count: usize, seed: u64) -> anyhow::Result<String> {
        let (user, password) = server.admin();
        let mut command = tokio::process::Command::new(runners::find(self.package, self.kind)?);
        command.args([self.test, "--exact", "--nocapture"]).env(self.count, count.to_string());
        command.env("WEIR_TEST_SEED", seed.to_string()).env("WEIR_TEST_CLICKHOUSE_URL", server.url());
        command.env("WEIR_TEST_CLICKHOUSE_USER", user).env("WEIR_TEST_CLICKHOUSE_PASSWORD", password);
        command.env("WEIR_TEST_CLICKHOUSE_CONTROL", server.control_url()).env("RUST_BACKTRACE", "0");
        command.current_dir(repository()?).stdin(Stdio::null()).kill_on_drop(true);
        let output = command.output().await.context("failed to start the tests")?;
        let printed =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        let passed = output.status.success() && printed.contains("test result: ok. 1 passed");
        ensure!(passed, "it ended with {}:\n{}", output.status, cause(&printed));
        let figures = printed.lines().filter_map(|line| line.split_once(FIGURE));
        let figures: Vec<&str> = figures.map(|(_, figure)| figure).collect();
        ensure!(!figures.is_empty(), "it printed no figure");
        Ok(figures.join("\n      "))
    }
}

/// What a test that failed says of it: from its panic on, or the end of what it printed.
fn cause(printed: &str) -> String {
    let panicked = printed.lines().skip_while(|line| !line.contains(" panicked at ")).take(CAUSE_LINES);
    let panicked = panicked.collect::<Vec<_>>().join("\n");
    if panicked.is_empty() { tool::tail(printed, CAUSE_LINES) } else { panicked }
}
