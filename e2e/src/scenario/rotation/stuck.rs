//! Consumers that go on with what was replaced: they hold it, status names it, and it ends at its cap without an operator.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use futures::future::try_join_all;
use weir_crds::AnalyticsStack;

use super::{annotate, clients::sender, ground::Ground, wait_until};
use crate::{
    load::Sender,
    stack::Stack,
    stage::{KilledOperator, Stage, TEAM},
};

/// Name of the key and of the reader whose consumers are stuck.
pub(super) const NAME: &str = "stuck";
/// Name of the stuck reader whose queries ClickHouse does not log.
pub(super) const SILENT: &str = "silent";
/// Name of the stuck reader of the stack whose administrator sees no query log.
pub(super) const UNLOGGED: &str = "bi";
/// Seconds for which old and new are valid in any case.
pub(super) const OVERLAP: u64 = 3;
/// Seconds without use after which the old one ends.
pub(super) const QUIET: u64 = 2;
/// Seconds after which an unused one would be gone: the operator adds the time that ClickHouse takes to log a use.
const UNUSED: u64 = OVERLAP + QUIET + 10 + 5;
/// Seconds after which an old one ends that somebody is stuck on, in a sample and at full count: the moment at which an
/// unused one would be gone has to come first, and the end of the operator.
pub(super) const CAPS: [i64; 2] = [45, 60];
/// How much later than its cap an end may be seen.
const SLACK: Duration = Duration::from_secs(4);

/// What was replaced while somebody used it.
pub(super) struct Stuck {
    key: Sender,
    logins: Vec<Login>,
    /// When they were all replaced.
    switched: Instant,
}

/// A login that somebody goes on with.
struct Login {
    stack: Stack,
    reader: &'static str,
    /// What status has to say of it.
    says: &'static str,
    user: String,
    password: String,
}

impl Stuck {
    /// Replaces a key and the logins and waits until that is published; whoever has the old ones goes on with them.
    pub(super) async fn begin(stage: &Stage, ground: &Ground) -> anyhow::Result<Self> {
        let url = ground.stack.service_url().await?;
        let key = sender(&url, &ground.stack.secret("turning-key-stuck").await?["key"], "stuck");
        let logins = [
            (&ground.stack, NAME, "it is still used, last at "),
            (
                &ground.stack,
                SILENT,
                "holds none of its queries, not even those of the operator's proof, so it stays until its cap at ",
            ),
            (&ground.unlogged, UNLOGGED, "cannot be read, so it stays until its cap at "),
        ];
        let logins = logins.map(|(stack, reader, says)| Login::read(stack, reader, says));
        let stuck = Self { key, logins: try_join_all(logins).await?, switched: Instant::now() };
        let replacing = async {
            tokio::try_join!(
                replace(&ground.stack, "key/stuck,user/stuck,user/silent=stuck"),
                replace(&ground.unlogged, "user/bi=stuck"),
            )
        };
        tokio::select! {
            replaced = replacing => replaced.map(drop)?,
            ended = stuck.go_on(stage) => ended.context("it ended although it is used")?,
        }
        Ok(Self { switched: Instant::now(), ..stuck })
    }

    /// Goes on with the old ones past the moment at which unused ones end, and sees them named.
    pub(super) async fn hold(&self, stage: &Stage, ground: &Ground) -> anyhow::Result<()> {
        let unused = Duration::from_secs(UNUSED).saturating_sub(self.switched.elapsed());
        if let Ok(ended) = tokio::time::timeout(unused, self.go_on(stage)).await {
            ended.context("it ended although it is used")?;
        }
        let key = ["generation 1 ", "it is still used, last at "];
        check_named(&ground.stack, "Secret/turning-key-stuck", &key).await?;
        for login in &self.logins {
            let named = format!("reader_{}_g1, ", login.reader);
            check_named(&login.stack, &format!("Secret/{}", login.secret()), &[&named, login.says]).await?;
        }
        Ok(())
    }

    /// Kills the operator and sees that servers and pods end the old ones at their caps, and no earlier.
    pub(super) async fn outlive(&self, stage: &Stage, ground: &Ground) -> anyhow::Result<String> {
        let operator = KilledOperator::kill(stage).await?;
        self.use_all(stage).await.context("it ended with the operator")?;
        let published: jiff::Timestamp = noted(stage, "turning-key-stuck-g2", "published-at")?;
        let cap = ground.stuck_cap;
        let key_end = published + jiff::SignedDuration::from_secs(cap);
        let logins = self.logins.iter().map(|login| async move {
            let expires = noted(stage, &format!("{}-g1", login.secret()), "expires-at")?;
            end(&login.user, expires, || stage.is_denied(&login.user, &login.password)).await
        });
        let key = end("the key", key_end, || self.key.is_refused());
        let (logins, key) = tokio::try_join!(try_join_all(logins), key)?;
        operator.restore()?;
        self.check_successors(stage, ground).await?;
        let late =
            logins.iter().chain([&key]).map(|late| format!("{late:+.1}")).collect::<Vec<_>>().join(", ");
        Ok(format!(
            "a login and a key that somebody was stuck on, a login whose queries are not logged, and one whose log cannot be read, were held and \
             named; with the operator killed they ended {late} s from their caps of {cap} s"
        ))
    }

    /// Goes on with all of them until one is refused.
    async fn go_on(&self, stage: &Stage) -> anyhow::Result<()> {
        loop {
            self.use_all(stage).await?;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn use_all(&self, stage: &Stage) -> anyhow::Result<()> {
        self.key.once().await.context("the stuck key")?;
        for login in &self.logins {
            login.ask(stage).await?;
        }
        Ok(())
    }

    /// What replaced them still works, and the operator that is back takes the old users away.
    async fn check_successors(&self, stage: &Stage, ground: &Ground) -> anyhow::Result<()> {
        let url = ground.stack.service_url().await?;
        let key = ground.stack.secret("turning-key-stuck").await?["key"].clone();
        sender(&url, &key, "stuck").once().await.context("the new key is refused")?;
        for old in &self.logins {
            Login::read(&old.stack, old.reader, old.says).await?.ask(stage).await?;
            let left = format!("SELECT count() FROM system.users WHERE name = '{}'", old.user);
            wait_until(super::RETIREMENT, || async { Ok(stage.query(&left).await?.trim() == "0") })
                .await
                .with_context(|| format!("{} is left", old.user))?;
        }
        Ok(())
    }
}

impl Login {
    /// The login that is published now.
    async fn read(stack: &Stack, reader: &'static str, says: &'static str) -> anyhow::Result<Self> {
        let mut secret = stack.secret(&format!("{}-user-{reader}", stack.name)).await?;
        let mut part = |name: &str| secret.remove(name).with_context(|| format!("the login has no {name}"));
        Ok(Self { stack: stack.clone(), reader, says, user: part("username")?, password: part("password")? })
    }

    /// Secret that it is published in.
    fn secret(&self) -> String {
        format!("{}-user-{}", self.stack.name, self.reader)
    }

    async fn ask(&self, stage: &Stage) -> anyhow::Result<()> {
        let answer = stage.query_as(&self.user, &self.password, "SELECT 1").await;
        answer.with_context(|| self.user.clone()).map(drop)
    }
}

/// Asks for new generations and waits until they are published.
async fn replace(stack: &Stack, request: &str) -> anyhow::Result<()> {
    annotate(stack, "weir.dev/rotate", request).await?;
    stack.wait("turned", super::TURN, has_turned).await.map(drop)
}

/// A moment that the operator noted on the Secret of a generation.
fn noted(stage: &Stage, secret: &str, what: &str) -> anyhow::Result<jiff::Timestamp> {
    let path = format!("jsonpath={{.metadata.annotations.weir\\.dev/{what}}}");
    let noted = stage.kubectl(&["get", "secret", secret, "-n", TEAM, "-o", &path])?;
    noted.trim().parse().with_context(|| format!("{secret} does not note {what}"))
}

/// Waits for an end and compares it with the moment at which it was to be; returns the seconds between.
async fn end<F>(what: &str, expected: jiff::Timestamp, asked: impl FnMut() -> F) -> anyhow::Result<f64>
where
    F: Future<Output = anyhow::Result<bool>>,
{
    let left = Duration::try_from(expected.duration_since(jiff::Timestamp::now())).unwrap_or_default();
    ensure!(!left.is_zero(), "the operator was killed too late to tell: {what} had its end at {expected}");
    wait_until(left + SLACK, asked).await.with_context(|| format!("{what} after its end at {expected}"))?;
    let late = jiff::Timestamp::now().duration_since(expected).as_secs_f64();
    ensure!(late > -1.5, "{what} ended {:.1} s before its cap", -late);
    Ok(late)
}

/// Whether what was asked for is published.
fn has_turned(stack: &AnalyticsStack) -> bool {
    let Some(status) = &stack.status else { return false };
    let is_handled = status.last_handled_rotate.as_ref().is_some_and(|value| value.ends_with("=stuck"));
    let concerned = status
        .keys
        .iter()
        .chain(&status.users)
        .filter(|one| [NAME, SILENT, UNLOGGED].contains(&one.name.as_str()));
    is_handled && concerned.clone().count() > 0 && concerned.into_iter().all(|one| one.generation == 2)
}

/// Waits until status names what is held, with every text.
async fn check_named(stack: &Stack, object: &str, texts: &[&str]) -> anyhow::Result<()> {
    let is_named = |stack: &AnalyticsStack| {
        let blocked = stack.status.iter().flat_map(|status| &status.blocked_by);
        let mut of_object = blocked.filter(|wait| wait.object == object);
        of_object.any(|wait| texts.iter().all(|text| wait.hint.contains(text)))
    };
    stack.wait(&format!("saying {texts:?} of {object}"), Duration::from_secs(10), is_named).await.map(drop)
}
