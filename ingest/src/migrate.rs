//! Migrations.

use std::process::ExitCode;

use crate::args::MigrateArgs;
use crate::settings::Settings;

/// Runs `migrate`.
#[expect(clippy::unused_async, reason = "the real one awaits ClickHouse")]
pub async fn run(_settings: &Settings, _args: MigrateArgs) -> ExitCode {
    ExitCode::SUCCESS
}
