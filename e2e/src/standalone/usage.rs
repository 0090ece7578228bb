//! What a process has used, as the kernel counts it.

use std::{fs, time::Duration};

use anyhow::Context as _;

/// Ticks of a second in `/proc`; the same on every architecture that Weir is built for.
const TICKS: u64 = 100;

/// What a process has used since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time of all its threads, in user and kernel mode, in steps of 10 ms.
    pub cpu: Duration,
    /// Most memory that was resident at once.
    pub peak_bytes: u64,
}

impl Usage {
    /// Reads what a running process has used.
    pub fn of(pid: u32) -> anyhow::Result<Self> {
        let read = |name: &str| {
            let path = format!("/proc/{pid}/{name}");
            fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))
        };
        let cpu = parse_cpu(&read("stat")?).context("the kernel's stat has another shape")?;
        let peak_bytes = parse_peak(&read("status")?).context("the kernel's status names no peak")?;
        Ok(Self { cpu, peak_bytes })
    }
}

/// Starts the peak of a process over, from what it holds now.
pub(super) fn reset_peak(pid: u32) -> anyhow::Result<()> {
    let path = format!("/proc/{pid}/clear_refs");
    fs::write(&path, "5").with_context(|| format!("failed to write {path}"))
}

/// The name of the program is in parentheses and may hold anything, so fields are counted from behind it.
fn parse_cpu(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis((user + system) * 1000 / TICKS))
}

fn parse_peak(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_is_read_behind_any_program_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0 9 0 0";
        assert_eq!(parse_cpu(stat), Some(Duration::from_secs(3)));
    }

    #[test]
    fn the_peak_is_in_bytes() {
        assert_eq!(parse_peak("Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t 1 kB\n"), Some(2 * 1024 * 1024));
    }

    #[test]
    fn this_process_has_a_usage() {
        assert!(Usage::of(std::process::id()).unwrap().peak_bytes > 0);
    }
}
