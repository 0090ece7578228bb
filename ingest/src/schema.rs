//! The range of schema versions that this binary serves.

use std::process::ExitCode;

/// Lowest migration version that can be served.
pub const MINIMUM: u32 = 2;
/// Highest migration version that can be served; the target of `migrate`.
pub const MAXIMUM: u32 = 2;

/// Whether this binary serves a schema of this version.
pub fn serves(version: u32) -> bool {
    (MINIMUM..=MAXIMUM).contains(&version)
}

/// Prints the range as JSON.
#[expect(clippy::print_stdout, reason = "the output is the answer of this subcommand")]
pub fn run() -> ExitCode {
    println!("{{\"minimum\":{MINIMUM},\"maximum\":{MAXIMUM}}}");
    ExitCode::SUCCESS
}
