//! The subcommand: options in, text out, and an exit code that a Job understands.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;

use super::Error;
use super::Options;
use super::apply;
use super::observe;
use super::render::render;
use crate::args::MigrateArgs;
use crate::clickhouse::Client;
use crate::settings::Settings;

/// The failure stays until something is changed.
const PERMANENT: u8 = 1;
/// The failure may be gone at the next try, as `EX_TEMPFAIL` of `sysexits.h`.
const TEMPORARY: u8 = 75;

/// Where Kubernetes looks for the last words of a container.
const TERMINATION_LOG: &str = "/dev/termination-log";

/// Runs `migrate` and says on standard output what it did, on standard error why it could not.
pub async fn run(settings: &Settings, args: MigrateArgs) -> ExitCode {
    let answered = tokio::select! {
        answered = answer(settings, &args) => answered,
        () = terminated() => {
            complain("stopped before the end; what has run so far is recorded", None);
            return ExitCode::from(TEMPORARY);
        }
    };
    match answered {
        Ok(text) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&error.paragraph(), error.detail().as_deref());
            ExitCode::from(if error.is_temporary() { TEMPORARY } else { PERMANENT })
        }
    }
}

async fn answer(settings: &Settings, args: &MigrateArgs) -> Result<String, Error> {
    let client = Client::new(&settings.clickhouse)?;
    let options = Options::from_settings(settings, args.target)?;
    if args.status {
        return status(&client, &options).await;
    }
    if args.dry_run {
        let state = observe(&client, &options).await?;
        let sql = |template: &str| format!("{};\n", render(template, &options.rendering));
        return Ok(state.pending.iter().map(|step| sql(&step.template)).collect::<Vec<_>>().join("\n"));
    }
    let report = apply(&client, &options).await?;
    Ok(format!("schema version {}, {} statements run\n", report.version, report.statements))
}

async fn status(client: &Client, options: &Options) -> Result<String, Error> {
    let state = observe(client, options).await?;
    let mut lines =
        vec![format!("schema version {}, {} statements pending", state.version, state.pending.len())];
    for step in options.steps.iter().filter(|step| step.statement == 1) {
        let left = state.pending.iter().filter(|pending| pending.version == step.version).count();
        lines.push(format!(
            "{:04} {}: {left} of {} statements pending",
            step.version, step.name, step.statements
        ));
    }
    Ok(lines.join("\n") + "\n")
}

/// Ends at SIGTERM, which a first process of a container would not notice otherwise.
async fn terminated() {
    match signal(SignalKind::terminate()) {
        Ok(mut signal) => {
            signal.recv().await;
        }
        Err(_) => std::future::pending().await,
    }
}

#[expect(clippy::print_stdout, reason = "the output is the answer of this subcommand")]
fn print(text: &str) {
    print!("{text}");
}

/// Says why, for people and for the Job's status; the detail is for the log only.
fn complain(paragraph: &str, detail: Option<&str>) {
    let detail = detail.map(|detail| format!(": {detail}")).unwrap_or_default();
    let said = writeln!(std::io::stderr(), "weir-ingest: {paragraph}{detail}");
    // Outside of Kubernetes the file does not exist, and is not made.
    let noted = OpenOptions::new()
        .write(true)
        .open(Path::new(TERMINATION_LOG))
        .and_then(|mut file| file.write_all(paragraph.as_bytes()));
    // Nobody is left to tell when even these two fail; the exit code still says it.
    drop((said, noted));
}
