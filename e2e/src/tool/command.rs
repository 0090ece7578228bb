//! Runs a program to its end, quiet while it succeeds and telling when it fails.

use std::{
    io::ErrorKind,
    process::{Command, Output},
    sync::mpsc::{RecvTimeoutError, channel},
    time::{Duration, Instant},
};

use anyhow::Context;

use super::progress;

/// How many lines of a failed program's output its error carries.
const TAIL_LINES: usize = 20;
const HEARTBEAT: Duration = Duration::from_secs(15);

/// What the person in front of the machine can do when a program is missing or fails.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hint {
    pub(crate) missing: &'static str,
    pub(crate) failed: &'static str,
}

impl Hint {
    pub(crate) const fn none() -> Self {
        Self { missing: "install it and run again", failed: "" }
    }

    pub(crate) const fn new(missing: &'static str, failed: &'static str) -> Self {
        Self { missing, failed }
    }
}

/// Runs the command and returns its standard output.
///
/// Says every [`HEARTBEAT`] that it still runs; the error carries the command line and the end of both outputs.
pub(crate) fn run(command: &mut Command, hint: &Hint) -> anyhow::Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let line = command_line(command);
    let output = match output_with_heartbeat(command, &program) {
        Ok(output) => output,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            anyhow::bail!("the program `{program}` is missing: {}", hint.missing);
        }
        Err(error) => return Err(error).with_context(|| format!("failed to run `{line}`")),
    };
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let mut both = String::from_utf8_lossy(&output.stdout).into_owned();
    both.push_str(&String::from_utf8_lossy(&output.stderr));
    let advice = if hint.failed.is_empty() { String::new() } else { format!(" ({})", hint.failed) };
    anyhow::bail!("`{line}` ended with {}{advice}:\n{}", output.status, tail(&both, TAIL_LINES));
}

/// Renders a command as a person would type it.
pub(crate) fn command_line(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Returns the last `count` lines of `text`.
pub(crate) fn tail(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

fn output_with_heartbeat(command: &mut Command, program: &str) -> std::io::Result<Output> {
    let started = Instant::now();
    std::thread::scope(|scope| {
        let (sender, receiver) = channel();
        scope.spawn(move || sender.send(command.output()));
        loop {
            match receiver.recv_timeout(HEARTBEAT) {
                Ok(output) => return output,
                Err(RecvTimeoutError::Timeout) => {
                    progress(format_args!("{program} still works ({} s)", started.elapsed().as_secs()));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(std::io::Error::other("the thread that waited for it ended"));
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_carries_the_command_and_its_last_lines() {
        let error = run(Command::new("sh").args(["-c", "seq 1 30 >&2; exit 3"]), &Hint::new("", "try again"))
            .expect_err("exit 3 is a failure")
            .to_string();
        assert!(
            error.starts_with("`sh -c seq 1 30 >&2; exit 3` ended with exit status: 3 (try again):\n11\n")
        );
        assert!(error.ends_with("\n30"));
    }

    #[test]
    fn missing_program_says_what_to_install() {
        let error = run(&mut Command::new("weir-no-such-program"), &Hint::new("install it", ""))
            .expect_err("missing");
        assert_eq!(error.to_string(), "the program `weir-no-such-program` is missing: install it");
    }
}
