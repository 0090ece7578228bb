//! Consumers that go on with what was replaced: they hold it, status names it, and it ends at its cap without an operator.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use weir_crds::AnalyticsStack;

use super::{annotate, clients::sender, ground::Ground, wait_until};
use crate::{
    load::Sender,
    stack::Stack,
    stage::{KilledOperator, Stage, TEAM},
};

/// Name of the key and of the reader whose consumers are stuck.
pub(super) const NAME: &str = "stuck";
/// Seconds for which old and new are valid in any case.
pub(super) const OVERLAP: u64 = 3;
/// Seconds without use after which the old one ends.
pub(super) const QUIET: u64 = 2;
/// Seconds after which it ends in any case.
const CAP: i64 = 60;
/// Seconds after which an unused one would be gone: the operator adds the time that ClickHouse takes to log a use.
const UNUSED: u64 = OVERLAP + QUIET + 10 + 5;
/// How much later than its cap an end may be seen.
const SLACK: Duration = Duration::from_secs(4);

/// What was replaced while somebody used it.
pub(super) struct Stuck {
    key: Sender,
    login: (String, String),
    unlogged: (String, String),
    /// When they were all replaced.
    switched: Instant,
}

/// The cap of a rotation, as the spec writes it.
pub(super) fn cap() -> String {
    format!("{CAP}s")
}

impl Stuck {
    /// Replaces a key and two logins and waits until that is published; whoever has the old ones goes on with them.
    pub(super) async fn begin(stage: &Stage, ground: &Ground) -> anyhow::Result<Self> {
        let url = ground.stack.service_url().await?;
        let key = sender(&url, &ground.stack.secret("turning-key-stuck").await?["key"], "stuck");
        let before = login(&ground.stack, "turning-user-stuck").await?;
        let unlogged = login(&ground.unlogged, "unlogged-user-bi").await?;
        let stuck = Self { key, login: before, unlogged, switched: Instant::now() };
        let replacing = async {
            tokio::try_join!(
                replace(&ground.stack, "key/stuck,user/stuck=stuck"),
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
        let login = ["reader_stuck_g1, ", "it is still used, last at "];
        check_named(&ground.stack, "Secret/turning-user-stuck", &login).await?;
        let unlogged = ["reader_bi_g1, ", "cannot be read, so it stays until its cap at "];
        check_named(&ground.unlogged, "Secret/unlogged-user-bi", &unlogged).await
    }

    /// Kills the operator and sees that servers and pods end the old ones at their caps, and no earlier.
    pub(super) async fn outlive(&self, stage: &Stage, ground: &Ground) -> anyhow::Result<String> {
        let operator = KilledOperator::kill(stage).await?;
        self.use_all(stage).await.context("it ended with the operator")?;
        let published: jiff::Timestamp = noted(stage, "turning-key-stuck-g2", "published-at")?;
        let key_end = published + jiff::SignedDuration::from_secs(CAP);
        let (login, unlogged, key) = tokio::try_join!(
            end("the login", noted(stage, "turning-user-stuck-g1", "expires-at")?, || is_denied(
                stage,
                &self.login
            )),
            end("the unlogged login", noted(stage, "unlogged-user-bi-g1", "expires-at")?, || {
                is_denied(stage, &self.unlogged)
            }),
            end("the key", key_end, || self.key.is_refused()),
        )?;
        operator.restore()?;
        check_successors(stage, ground).await?;
        Ok(format!(
            "with somebody stuck on them a login and a key were held and named, as was a login without a query log; with the operator killed \
             they ended {login:+.1}, {key:+.1} and {unlogged:+.1} s from their caps of {CAP} s"
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
        for (user, password) in [&self.login, &self.unlogged] {
            stage.query_as(user, password, "SELECT 1").await.with_context(|| user.clone())?;
        }
        Ok(())
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

async fn is_denied(stage: &Stage, (user, password): &(String, String)) -> anyhow::Result<bool> {
    Ok(stage.query_as(user, password, "SELECT 1").await.is_err())
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

async fn login(stack: &Stack, secret: &str) -> anyhow::Result<(String, String)> {
    let secret = stack.secret(secret).await?;
    Ok((secret["username"].clone(), secret["password"].clone()))
}

/// Whether what was asked for is published.
fn has_turned(stack: &AnalyticsStack) -> bool {
    let Some(status) = &stack.status else { return false };
    let is_handled = status.last_handled_rotate.as_ref().is_some_and(|value| value.ends_with("=stuck"));
    let concerned =
        status.keys.iter().chain(&status.users).filter(|one| one.name == NAME || one.name == "bi");
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

/// What replaced them still works, and the operator that is back takes the old users away.
async fn check_successors(stage: &Stage, ground: &Ground) -> anyhow::Result<()> {
    let url = ground.stack.service_url().await?;
    let key = ground.stack.secret("turning-key-stuck").await?["key"].clone();
    sender(&url, &key, "stuck").once().await.context("the new key is refused")?;
    for (stack, secret) in [(&ground.stack, "turning-user-stuck"), (&ground.unlogged, "unlogged-user-bi")] {
        let (user, password) = login(stack, secret).await?;
        stage.query_as(&user, &password, "SELECT 1").await.with_context(|| user.clone())?;
        let old = user.replace("_g2", "_g1");
        let left = format!("SELECT count() FROM system.users WHERE name = '{old}'");
        wait_until(super::RETIREMENT, || async { Ok(stage.query(&left).await?.trim() == "0") })
            .await
            .with_context(|| format!("{old} is left"))?;
    }
    Ok(())
}
