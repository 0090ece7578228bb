//! Wiring of the subcommands: settings, telemetry, runtime, exit code.

use std::process::ExitCode;

use crate::args::Args;
use crate::args::Command;
use crate::migrate;
use crate::schema;
use crate::settings::Settings;
use crate::telemetry;

/// Exit code for settings that cannot work, as of `sysexits.h`.
const USAGE: u8 = 64;

/// Runs one subcommand to its end.
pub fn run(args: Args) -> ExitCode {
    let command = args.command.unwrap_or(Command::Serve);
    if matches!(command, Command::Schema) {
        return schema::run();
    }
    let settings = match Settings::from_args(&args.settings) {
        Ok(settings) => settings,
        Err(invalid) => {
            telemetry::complain(&invalid);
            return ExitCode::from(USAGE);
        }
    };
    telemetry::install(settings.log_level);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            telemetry::complain(&error);
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(dispatch(command, settings))
}

async fn dispatch(command: Command, settings: Settings) -> ExitCode {
    match command {
        Command::Migrate(args) => migrate::run(&settings, args).await,
        Command::Schema => schema::run(),
        Command::Serve | Command::Check => ExitCode::SUCCESS,
    }
}
