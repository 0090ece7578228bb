//! The program that drives the browsers, which stay open until their events have been looked for.

use std::{collections::BTreeMap, fs::File, path::Path, process::Stdio, time::Duration};

use anyhow::{Context as _, ensure};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use super::Said;

/// How long the visits may take, and closing the browsers.
const PATIENCE: Duration = Duration::from_mins(10);

/// Browsers on their visits, or after them.
#[derive(Debug)]
pub(super) struct Browsers {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Browsers {
    /// Starts the program; what it complains of goes to the log.
    pub(super) fn start(mut command: Command, log: &Path) -> anyhow::Result<Self> {
        let log = File::create(log).with_context(|| format!("failed to create {}", log.display()))?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true);
        let mut child = command.spawn().context("failed to start the browsers")?;
        let questions = child.stdin.take().context("the browsers have no standard input")?;
        let answers = child.stdout.take().context("the browsers have no standard output")?;
        Ok(Self { child, questions, answers: BufReader::new(answers) })
    }

    /// What each SDK says by now, by the key that it used, once all visits are over.
    pub(super) async fn said(&mut self) -> anyhow::Result<BTreeMap<String, Said>> {
        let mut line = String::new();
        let answer = async {
            self.questions.write_all(b"\n").await?;
            self.answers.read_line(&mut line).await
        };
        tokio::time::timeout(PATIENCE, answer).await.context("the visits did not end")??;
        ensure!(!line.is_empty(), "the browsers ended early, see browser.log");
        let said: Vec<Said> =
            serde_json::from_str(&line).with_context(|| format!("the browsers said: {line}"))?;
        Ok(said.into_iter().map(|said| (said.key.clone(), said)).collect())
    }

    /// Closes them.
    pub(super) async fn close(self) -> anyhow::Result<()> {
        let Self { mut child, questions, answers: _answers } = self;
        drop(questions);
        let ended = tokio::time::timeout(PATIENCE, child.wait()).await;
        let status = ended.context("the browsers did not close")??;
        ensure!(status.success(), "the browsers ended with {status}, see browser.log");
        Ok(())
    }
}
