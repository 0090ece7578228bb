//! The programs that drive the SDKs, and where their packages lie.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tokio::process::Command;

use super::{
    Captured, Said,
    browsers::Browsers,
    sender::{Kind, Sender},
};
use crate::{target::repository, tool};

/// Programs of `e2e/sdk`.
const PROGRAMS: [&str; 6] = [
    "browser.mjs",
    "browser/pages.mjs",
    "browser/visit.mjs",
    "browser/watch.mjs",
    "server.mjs",
    "python/send.py",
];
/// Generations of posthog (Python), each installed apart from the others.
const PYTHON: [&str; 3] = ["posthog-7.91.1", "posthog-3.7.5", "posthog-2.5.0"];
/// Visits at once, which is what two cores carry without a browser being late.
const VISITS_AT_ONCE: usize = 10;
const PATIENCE: Duration = Duration::from_mins(5);

/// Installed SDKs.
#[derive(Debug)]
pub(crate) struct Sdks {
    npm: PathBuf,
    python: Vec<(&'static str, PathBuf)>,
    chromium: PathBuf,
}

/// The programs with their packages beside them.
#[derive(Debug)]
pub(super) struct LaidOut {
    sdks: Sdks,
    folder: PathBuf,
}

impl Sdks {
    /// Installs what is missing, outside of the sandbox, and finds it inside.
    pub(crate) fn find() -> anyhow::Result<Self> {
        let source = repository()?.join("e2e/sdk");
        let python = |name: &'static str| {
            let packages = tool::python_packages(&source.join(format!("python/{name}.txt")))?;
            anyhow::Ok((name, packages))
        };
        let python = PYTHON.into_iter().map(python).collect::<anyhow::Result<_>>()?;
        Ok(Self { npm: tool::npm_packages(&source)?, python, chromium: tool::chromium()? })
    }

    /// Copies the programs beside their packages, since modules resolve from a program's own folder.
    pub(super) fn lay_out(self, folder: &Path) -> anyhow::Result<LaidOut> {
        let source = repository()?.join("e2e/sdk");
        for program in PROGRAMS {
            let target = folder.join(program);
            fs::create_dir_all(target.parent().context("a program has a folder")?)?;
            fs::copy(source.join(program), &target).with_context(|| format!("failed to copy {program}"))?;
        }
        std::os::unix::fs::symlink(self.npm.join("node_modules"), folder.join("node_modules"))?;
        Ok(LaidOut { sdks: self, folder: folder.to_path_buf() })
    }
}

impl LaidOut {
    /// Starts the visits of all browsers.
    pub(super) fn browse(
        &self,
        server: &str,
        site_port: u16,
        senders: &[Sender],
    ) -> anyhow::Result<Browsers> {
        let visits: Vec<Value> = senders
            .iter()
            .filter_map(|sender| {
                let kind = sender.visit()?;
                Some(json!({ "kind": kind, "package": sender.package, "keys": sender.keys(), "user": sender.user() }))
            })
            .collect();
        let plan = json!({
            "chromium": self.sdks.chromium, "modules": self.folder, "server": server, "port": site_port,
            "visits": visits, "atOnce": VISITS_AT_ONCE,
        });
        let mut command = Command::new("node");
        command.arg("browser.mjs").arg(plan.to_string()).env("HOME", &self.folder).current_dir(&self.folder);
        Browsers::start(command, &self.folder.join("browser.log"))
    }

    /// Sends events with the SDK of a server.
    pub(super) async fn send(&self, server: &str, sender: &Sender, events: u64) -> anyhow::Result<Said> {
        #[derive(serde::Deserialize)]
        struct Sent {
            captured: BTreeMap<String, usize>,
            complaints: Vec<String>,
        }
        let [key, _] = sender.keys();
        let mut plan = json!({
            "package": sender.package, "server": server, "key": key, "user": sender.user(), "count": events,
            "options": {},
        });
        let mut command = match sender.kind {
            Kind::Python { gzip } => {
                plan["options"] = json!({ "gzip": gzip });
                let mut command = Command::new("python3");
                command.arg("python/send.py").env("PYTHONPATH", self.python(sender.package)?);
                command
            }
            Kind::Node | Kind::Shop | Kind::Choices | Kind::React => {
                let mut command = Command::new("node");
                command.arg("server.mjs");
                command
            }
        };
        command.arg(plan.to_string());
        let sent: Sent = self.run(command).await.with_context(|| sender.to_string())?;
        let captured = |(event, count): (String, usize)| vec![Captured { event, uuid: None }; count];
        Ok(Said {
            key,
            captured: sent.captured.into_iter().flat_map(captured).collect(),
            complaints: sent.complaints,
        })
    }

    fn python(&self, name: &str) -> anyhow::Result<&Path> {
        let found = self.sdks.python.iter().find(|(known, _)| *known == name);
        found.map(|(_, folder)| folder.as_path()).with_context(|| format!("{name} is not installed"))
    }

    async fn run<T: serde::de::DeserializeOwned>(&self, mut command: Command) -> anyhow::Result<T> {
        command.current_dir(&self.folder).stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(PATIENCE, command.output()).await;
        let output = output.context("the program of the SDK did not end")?.context("failed to start it")?;
        let (printed, said) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(
            output.status.success(),
            "the program of the SDK ended with {}: {printed}{said}",
            output.status
        );
        serde_json::from_str(printed.trim())
            .with_context(|| format!("the program printed no result: {printed}{said}"))
    }
}
