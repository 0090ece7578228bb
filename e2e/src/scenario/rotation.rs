//! Keys and logins turn under load without one refused request, old ones end by themselves, and revoked ones at once.

pub(super) mod clients;
mod ground;
mod revoke;
mod stuck;

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::json;
use weir_crds::{AnalyticsStack, CredentialStatus, CredentialStep};

use self::{clients::Clients, ground::Ground, stuck::Stuck};
use super::Plan;
use crate::{stack::Stack, stage::Stage};

/// How long a new generation of everything may take until it is published.
const TURN: Duration = Duration::from_mins(5);
/// How long the old generations may take until they are gone, once nobody uses them.
const RETIREMENT: Duration = Duration::from_mins(5);

pub(super) async fn run(stage: &Stage, plan: Plan) -> anyhow::Result<String> {
    let [short, long] = stuck::CAPS;
    let ground = ground::prepare(stage, plan.pick(short, long)).await?;
    let clients =
        Clients::start(stage, &ground.stack, (ground::keys().collect(), ground::users().collect())).await?;
    let rounds = plan.pick(1, 48);
    let turned = turn_all(stage, &ground, rounds).await;
    // Before what went wrong otherwise: a refusal is what this is about.
    let counted = clients.stop(stage).await?;
    let turned = turned.with_context(|| {
        format!("{} requests and {} queries were answered, none refused; then", counted.sent, counted.queries)
    })?;
    let stored = stage.count_events(&ground.stack, clients::EVENT).await?;
    ensure!(stored == counted.sent, "{stored} events are stored, {} were acknowledged", counted.sent);
    let revoked = revoke::revoke(stage, &ground.stack, plan.pick(1, 20)).await.context("revocation")?;
    ground.leave().await?;
    Ok(format!(
        "{turned}: 0 of {} requests and 0 of {} queries refused, {} events acknowledged and stored; {revoked}",
        counted.sent, counted.queries, counted.sent,
    ))
}

/// Turns everything again and again, and then what somebody is stuck on.
async fn turn_all(stage: &Stage, ground: &Ground, rounds: i64) -> anyhow::Result<String> {
    let first = Published::read(&ground.stack).await?;
    let started = Instant::now();
    for round in 1..=rounds {
        turn(&ground.stack, round).await.with_context(|| format!("round {round} of {rounds}"))?;
    }
    let turning = started.elapsed();
    let retired = retire(stage, &ground.stack, rounds).await.context("retirement")?;
    // Each cap counts from the moment when that one was replaced, the last of them just before the turns were over.
    ensure!(
        retired < ground::CAP / 2,
        "the last old ones ended after {retired:?}, by their cap and not for lack of use"
    );
    first.check_ended(stage, &ground.stack).await?;
    // Behind the retirements: what holds up the operator would take its time from caps that run already.
    let stuck = stuck(stage, ground).await.context("stuck consumers")?;
    let (keys, logins) = (rounds * ground::KEYS, rounds * (ground::USERS + 1));
    Ok(format!(
        "{} rotations in {:.0} s, {keys} of keys and {logins} of ClickHouse users, the last old ones gone {:.0} s later; {stuck}",
        keys + logins,
        turning.as_secs_f64(),
        retired.as_secs_f64(),
    ))
}

/// What is published of one key and one reader.
struct Published {
    key: String,
    user: String,
    password: String,
}

impl Published {
    async fn read(stack: &Stack) -> anyhow::Result<Self> {
        let key = stack.secret("turning-key-k0").await?["key"].clone();
        let login = stack.secret("turning-user-u0").await?;
        Ok(Self { key, user: login["username"].clone(), password: login["password"].clone() })
    }

    /// Nobody lets them in any more, whatever status says.
    async fn check_ended(&self, stage: &Stage, stack: &Stack) -> anyhow::Result<()> {
        ensure!(stage.is_denied(&self.user, &self.password).await?, "the first login is let in");
        for pod in stack.pod_urls().await? {
            let is_refused = clients::sender(&pod, &self.key, "late").is_refused().await?;
            ensure!(is_refused, "{pod} lets the first key in");
        }
        Ok(())
    }
}

/// Asks for a new generation of everything and waits until consumers have it.
async fn turn(stack: &Stack, round: i64) -> anyhow::Result<()> {
    let value = format!("{},ingest=round-{round}", ground::targets());
    annotate(stack, "weir.dev/rotate", &value).await?;
    let is_done = |credential: &CredentialStatus| {
        !ground::turns(&credential.name) || credential.generation == round + 1
    };
    let is_turned = |stack: &AnalyticsStack| {
        let Some(status) = &stack.status else { return false };
        status.last_handled_rotate.as_deref() == Some(value.as_str())
            && status.keys.iter().chain(&status.users).all(is_done)
    };
    stack.wait("turned", TURN, is_turned).await?;
    let user = format!("_ingest_g{}", round + 1);
    wait_until(TURN, || async {
        Ok(stack.secret("turning-ingest-clickhouse").await?["username"].ends_with(&user))
    })
    .await
    .context("the ingest login does not turn")
    .map(drop)
}

/// Goes on with replaced credentials until they end.
async fn stuck(stage: &Stage, ground: &Ground) -> anyhow::Result<String> {
    let stuck = Stuck::begin(stage, ground).await?;
    stuck.hold(stage, ground).await?;
    stuck.outlive(stage, ground).await
}

/// Waits until nothing is left of the generations before the last; returns how long that took.
async fn retire(stage: &Stage, stack: &Stack, rounds: i64) -> anyhow::Result<Duration> {
    let started = Instant::now();
    let is_done = |credential: &CredentialStatus| {
        !ground::turns(&credential.name) || credential.step == Some(CredentialStep::Current)
    };
    let is_retired = |stack: &AnalyticsStack| {
        let status = stack.status.as_ref();
        status.is_some_and(|status| status.keys.iter().chain(&status.users).all(is_done))
    };
    stack.wait("without old generations", RETIREMENT, is_retired).await?;
    let last = rounds + 1;
    let old = format!(
        "SELECT count() FROM system.users WHERE match(name, '^weir_shop__turning_(ingest|reader_u[0-9])_g[0-9]+$') \
         AND NOT endsWith(name, '_g{last}')"
    );
    wait_until(RETIREMENT, || async { Ok(stage.query(&old).await?.trim() == "0") })
        .await
        .context("old users are left")?;
    Ok(started.elapsed())
}

pub(super) async fn annotate(stack: &Stack, key: &str, value: &str) -> anyhow::Result<()> {
    stack.patch(json!({ "metadata": { "annotations": { key: value } } })).await
}

/// Asks until the answer is yes; returns how long that took.
pub(super) async fn wait_until<F>(
    deadline: Duration,
    mut asked: impl FnMut() -> F,
) -> anyhow::Result<Duration>
where
    F: Future<Output = anyhow::Result<bool>>,
{
    let started = Instant::now();
    while !asked().await? {
        ensure!(started.elapsed() < deadline, "it is not so after {deadline:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(started.elapsed())
}
