//! Process 1 of the sandbox: makes the place, starts the program proper, and reaps what others leave behind.

use std::process::{Command, ExitCode};

use anyhow::Context;
use nix::{
    errno::Errno,
    sys::wait::{WaitStatus, waitpid},
    unistd::Pid,
};

use super::{STAGE, current, place};

/// Runs the same program once more as a child; returning ends everything that is still running in the sandbox.
pub(super) fn run() -> anyhow::Result<ExitCode> {
    place::make(&current()?).context("failed to make the sandbox")?;
    let program = std::env::current_exe().context("failed to find this program's own file")?;
    let child = Command::new(program)
        .args(std::env::args_os().skip(1))
        .env(STAGE, "work")
        .spawn()
        .context("failed to start inside the sandbox")?;
    let child = Pid::from_raw(i32::try_from(child.id()).context("a process id out of range")?);
    loop {
        match waitpid(None, None) {
            Ok(WaitStatus::Exited(pid, code)) if pid == child => {
                return Ok(u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from));
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == child => {
                anyhow::bail!("the process inside the sandbox was ended by {signal}");
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("failed to wait for the process inside the sandbox"),
        }
    }
}
