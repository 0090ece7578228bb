//! `check`: whether the service could work with these settings, one line for each finding.
//!
//! ```text
//! ok    settings: every one can be read
//! ok    keys: 3 known, 2 usable now, file generation 3002
//! ok    spool: /spool can be written to
//! ok    clickhouse: http://clickhouse:8123/ answers
//! fail  insert: events_data: ClickHouse refused with code 497 (ACCESS_DENIED)
//! warn  rights: the login may read events, which it does not need
//! ```
//!
//! The exit code is 0 unless a line says `fail`; then it is 1, or 64 when the settings themselves cannot work. Nothing is
//! stored, and no line holds a secret or what ClickHouse wrote.

use std::fmt;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use crate::clickhouse;
use crate::clickhouse::Client;
use crate::keys::Keys;
use crate::metrics::Metrics;
use crate::migrate;
use crate::readiness;
use crate::readiness::Problem;
use crate::schema;
use crate::settings::ClickhouseSettings;
use crate::settings::Invalid;
use crate::settings::Settings;
use crate::settings::SpoolSettings;
use crate::spool;
use crate::table::Table;
use crate::telemetry::Causes;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Ok,
    Warn,
    Fail,
}

/// One line.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    level: Level,
    subject: &'static str,
    text: String,
}

/// Looks at everything that the service needs.
pub async fn run(settings: &Settings) -> ExitCode {
    let mut findings = vec![ok("settings", "every one can be read")];
    findings.push(keys(settings).await);
    findings.extend(settings.spool.as_ref().map(spool_finding));
    findings.extend(clickhouse_findings(settings).await);
    let is_good = findings.iter().all(|finding| finding.level != Level::Fail);
    print(&findings);
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Says what is wrong with settings that cannot work.
pub fn refuse(invalid: Invalid) {
    let Invalid(problems) = invalid;
    print(&problems.into_iter().map(|problem| fail("settings", problem)).collect::<Vec<_>>());
}

fn print(findings: &[Finding]) {
    let mut output = std::io::stdout().lock();
    for finding in findings {
        // Nobody is left to tell when standard output is closed.
        drop(writeln!(output, "{finding}"));
    }
}

async fn keys(settings: &Settings) -> Finding {
    let keys = match Keys::open(&settings.keys, Arc::new(Metrics::default())).await {
        Ok(keys) => keys,
        Err(error) => return fail("keys", Causes(&error)),
    };
    let snapshot = keys.snapshot();
    let now = jiff::Timestamp::now().as_microsecond();
    let known = snapshot.entries().len();
    let usable = snapshot.entries().iter().filter(|entry| entry.key.is_valid(now)).count();
    let text = format!("{known} known, {usable} usable now, file generation {}", snapshot.generation());
    if usable > 0 {
        ok("keys", text)
    } else if settings.origins.is_empty() {
        warn("keys", format!("{text}; without an origin either, every request is refused"))
    } else {
        warn("keys", format!("{text}; only the listed origins can send"))
    }
}

/// A disk with less room than the spool may take is no fault: requests are refused before it is full.
fn spool_finding(spool: &SpoolSettings) -> Finding {
    let dir = spool.dir.display();
    if let Err(error) = spool::try_out(&spool.dir) {
        return fail("spool", Causes(&error));
    }
    match free_bytes(&spool.dir) {
        Some(free) if free < spool.max_bytes => warn(
            "spool",
            format!(
                "{dir} can be written to, but has {free} bytes free, less than WEIR_SPOOL_MAX_BYTES ({})",
                spool.max_bytes
            ),
        ),
        Some(_) | None => ok("spool", format_args!("{dir} can be written to")),
    }
}

/// What the disk of a folder has left for this user; none when the system does not say.
fn free_bytes(dir: &Path) -> Option<u64> {
    let disk = nix::sys::statvfs::statvfs(dir).ok()?;
    Some(disk.blocks_available().saturating_mul(disk.fragment_size()))
}

async fn clickhouse_findings(settings: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut maybe_client = None;
    for endpoint in &settings.clickhouse.endpoints {
        let alone = ClickhouseSettings { endpoints: vec![endpoint.clone()], ..settings.clickhouse.clone() };
        let client = match Client::new(&alone) {
            Ok(client) => client.with_timeout(readiness::CHECK_TIMEOUT),
            Err(error) => return vec![fail("clickhouse", Causes(&error))],
        };
        match client.without_database().query_text("SELECT 1").await {
            Ok(_) => {
                findings.push(ok("clickhouse", format_args!("{endpoint} answers")));
                maybe_client.get_or_insert(client);
            }
            Err(error) => {
                findings.push(fail("clickhouse", format_args!("{endpoint}: {}", Causes(&error))));
            }
        }
    }
    if let Some(client) = maybe_client {
        findings.push(schema_finding(settings, &client).await);
        for (table, columns) in readiness::tables() {
            let tried = readiness::insert_nothing(&client, table, columns).await;
            findings.push(insert_finding(table, &tried));
        }
        findings.push(read_finding(&client).await);
    }
    findings
}

async fn schema_finding(settings: &Settings, client: &Client) -> Finding {
    let options = match migrate::Options::from_settings(settings, None) {
        Ok(options) => options,
        Err(error) => return fail("schema", Causes(&error)),
    };
    match readiness::schema_version(client, &options).await {
        Ok(None) => ok("schema", "not visible to this login; migrations look after it"),
        Ok(Some(version)) if schema::serves(version) => ok("schema", format_args!("version {version}")),
        Ok(Some(version)) => fail("schema", Problem::OutsideRange(version)),
        Err(problem) => fail("schema", Causes(&problem)),
    }
}

fn insert_finding(table: &str, tried: &Result<(), clickhouse::Error>) -> Finding {
    match tried {
        Ok(()) => ok("insert", table),
        Err(error) => fail("insert", format_args!("{table}: {}", Causes(error))),
    }
}

/// A service that is taken over should not give away what it has stored.
async fn read_finding(client: &Client) -> Finding {
    match client.query_text(&format!("SELECT 1 FROM {} LIMIT 0", Table::Events.name())).await {
        Ok(_) => warn("rights", "the login may read events, which it does not need"),
        Err(error) if error.code() == Some(readiness::FORBIDDEN) => {
            ok("rights", "the login cannot read events")
        }
        Err(error) => warn("rights", format_args!("not known: {}", Causes(&error))),
    }
}

fn ok(subject: &'static str, text: impl fmt::Display) -> Finding {
    Finding { level: Level::Ok, subject, text: text.to_string() }
}

fn warn(subject: &'static str, text: impl fmt::Display) -> Finding {
    Finding { level: Level::Warn, subject, text: text.to_string() }
}

fn fail(subject: &'static str, text: impl fmt::Display) -> Finding {
    Finding { level: Level::Fail, subject, text: text.to_string() }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Ok => "ok",
            Level::Warn => "warn",
            Level::Fail => "fail",
        };
        write!(f, "{level:<5} {}: {}", self.subject, self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line() {
        assert_eq!(ok("keys", "1 known").to_string(), "ok    keys: 1 known");
        assert_eq!(fail("insert", "links").to_string(), "fail  insert: links");
    }
}
