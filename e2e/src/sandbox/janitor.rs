//! The process that cleans up after a sandbox, even after one whose outer process was killed.
//!
//! It waits for the end of its standard input, which the kernel closes when the outer process is gone, so there is one way
//! to clean up and it is used every time.

use std::{
    io::Write,
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::Context;

/// Arguments: name of the cgroup, folder, `keep` or `remove` for the case that nobody says otherwise.
///
/// Processes of the sandbox may need a moment to die, so both removals are repeated until nothing comes back.
const SCRIPT: &str = r#"
verdict=$(cat)
verdict=${verdict:-$3}
attempts=0
while [ "$attempts" -lt 200 ]; do
  attempts=$((attempts + 1))
  groups=$(find /sys/fs/cgroup -maxdepth 2 -type d -name "$1" 2>/dev/null)
  [ -z "$groups" ] || find $groups -depth -type d -exec rmdir {} + 2>/dev/null
  [ "$verdict" = keep ] || rm -rf -- "$2" 2>/dev/null
  sleep 0.05
  left=$(find /sys/fs/cgroup -maxdepth 2 -type d -name "$1" 2>/dev/null)
  if [ -z "$left" ] && { [ "$verdict" = keep ] || [ ! -e "$2" ]; }; then
    exit 0
  fi
done
echo "weir: could not remove all of: $left $2" >&2
exit 1
"#;

#[derive(Debug)]
pub(super) struct Janitor(Child);

impl Janitor {
    /// Starts it; `keep_when_killed` decides about the folder when this process does not live to say.
    pub(super) fn start(folder: &Path, cgroup: &str, keep_when_killed: bool) -> anyhow::Result<Self> {
        let verdict = if keep_when_killed { "keep" } else { "remove" };
        // A session of its own: the interrupt key of a terminal must not reach it.
        Command::new("setsid")
            .args(["sh", "-c", SCRIPT, "janitor", cgroup])
            .arg(folder)
            .arg(verdict)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .map(Self)
            .context("failed to start `setsid`: install the package util-linux")
    }

    /// Lets it clean up now and waits for the end of it.
    pub(super) fn finish(mut self, keep: bool) -> anyhow::Result<()> {
        let mut stdin = self.0.stdin.take().context("the janitor has no standard input")?;
        let verdict: &[u8] = if keep { b"keep" } else { b"remove" };
        stdin.write_all(verdict).context("failed to tell the janitor what to keep")?;
        drop(stdin);
        let status = self.0.wait().context("failed to wait for the janitor")?;
        anyhow::ensure!(status.success(), "the sandbox could not be cleaned up");
        Ok(())
    }
}
