//! The subcommands: settings, telemetry, runtime, exit code.

use std::process::ExitCode;

use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;

use crate::args::Args;
use crate::args::Command;
use crate::args::MigrateArgs;
use crate::check;
use crate::dead_letter;
use crate::migrate;
use crate::schema;
use crate::service::Ended;
use crate::service::Service;
use crate::settings::Settings;
use crate::spool;
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
            if matches!(command, Command::Check) {
                check::refuse(invalid);
            } else {
                telemetry::complain(invalid);
            }
            return ExitCode::from(USAGE);
        }
    };
    telemetry::install(settings.log_level);
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(dispatch(command, &settings)),
        Err(error) => {
            telemetry::complain(error);
            ExitCode::FAILURE
        }
    }
}

async fn dispatch(command: Command, settings: &Settings) -> ExitCode {
    match command {
        Command::Migrate(args) => migrate::run(settings, args).await,
        Command::Schema => schema::run(),
        Command::Serve => serve(settings).await,
        Command::Spool(action) => spool::run(settings, action).await,
        Command::DeadLetters(action) => dead_letter::run(settings, action).await,
        Command::Check => check::run(settings).await,
    }
}

async fn serve(settings: &Settings) -> ExitCode {
    if settings.migrate_on_start {
        let migrated = migrate::run(settings, MigrateArgs::default()).await;
        if migrated != ExitCode::SUCCESS {
            return migrated;
        }
    }
    report(serve_until_terminated(settings).await)
}

async fn serve_until_terminated(settings: &Settings) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let service = Service::bind(settings).await?;
    tracing::info!(
        server.address = %settings.listen,
        weir.schema.minimum = schema::MINIMUM,
        weir.schema.maximum = schema::MAXIMUM,
        "serving"
    );
    let asked = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    match service.run(asked).await {
        Ended::Drained => Ok(()),
        Ended::Overdue => anyhow::bail!("the drain took too long; unanswered requests were cut"),
    }
}

/// Says what went wrong in one line, with its causes, and turns it into an exit code.
fn report(outcome: anyhow::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            telemetry::complain(format_args!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}
