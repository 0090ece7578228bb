//! Keys and logins turn under load without one refused request, old ones end by themselves, and revoked ones at once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use serde_json::json;
use tokio::task::JoinSet;

use super::Plan;
use crate::{load::Load, query::ClickhouseAccess, stack::Stack, stage::Stage};

/// How long one rotation may take until the old generation is gone.
const TURN: Duration = Duration::from_mins(3);
/// How long a revocation may take until nobody is let in.
const REVOCATION: Duration = Duration::from_secs(10);
/// How often a client reads its Secret, as a mounted one is refreshed.
const READ_EVERY: Duration = Duration::from_secs(1);

pub(super) async fn run(stage: &Stage, plan: Plan) -> anyhow::Result<String> {
    let stack = make(stage).await?;
    let clients = Clients::start(stage, &stack).await?;
    let rounds = plan.pick(2, 10);
    let mut slowest = Duration::ZERO;
    for round in 1..=rounds {
        slowest = slowest.max(turn(stage, &stack, round).await.with_context(|| format!("rotation {round}"))?);
    }
    let counted = clients.stop().await?;
    ensure!(counted.refused == 0, "{} requests were refused: {}", counted.refused, counted.first_refusal);
    let stored = stage.count_events(&stack, "rotation").await?;
    ensure!(stored == counted.sent, "{stored} events are stored, {} were acknowledged", counted.sent);
    let revoked = revoke(stage, &stack).await.context("revocation")?;
    Ok(format!(
        "{rounds} rotations of a key, a reader and the ingest login, the slowest in {:.1} s: 0 of {} requests and 0 of {} queries refused, {stored} events stored; {revoked}",
        slowest.as_secs_f64(),
        counted.sent,
        counted.queries
    ))
}

/// A stack whose credentials overlap for seconds.
async fn make(stage: &Stage) -> anyhow::Result<Stack> {
    let stack = stage.make_stack("turning")?;
    let rotation = json!({ "overlap": "3s", "quietPeriod": "2s", "cap": "120s" });
    stack
        .patch(json!({ "spec": {
            "keys": [{ "name": "web", "rotation": rotation }],
            "users": [{ "name": "bi", "profile": "HyperDX", "rotation": rotation }],
            "policy": { "rotation": rotation },
        } }))
        .await?;
    stack.wait_current(Duration::from_mins(2)).await?;
    Ok(stack)
}

/// Asks for a rotation of everything and waits until the old generations are gone.
async fn turn(stage: &Stage, stack: &Stack, round: i64) -> anyhow::Result<Duration> {
    let started = Instant::now();
    let value = format!("key/web,user/bi,ingest=round-{round}");
    annotate(stack, "weir.dev/rotate", &value).await?;
    let turned = |stack: &weir_crds::AnalyticsStack| {
        let Some(status) = &stack.status else { return false };
        let is_done = |credential: &weir_crds::CredentialStatus| {
            credential.generation == round + 1 && credential.step == Some(weir_crds::CredentialStep::Current)
        };
        status.last_handled_rotate.as_deref() == Some(value.as_str())
            && status.keys.iter().all(is_done)
            && status.users.iter().all(is_done)
            && status.blocked_by.is_empty()
    };
    stack.wait("turned", TURN, turned).await?;
    let old = format!("weir_shop__turning_%_g{round}");
    let left = stage.query(&format!("SELECT count() FROM system.users WHERE name LIKE '{old}'")).await?;
    ensure!(left.trim() == "0", "{} users of generation {round} are left", left.trim());
    Ok(started.elapsed())
}

async fn annotate(stack: &Stack, key: &str, value: &str) -> anyhow::Result<()> {
    stack.patch(json!({ "metadata": { "annotations": { key: value } } })).await
}

/// Revokes the key and the reader, with a long query of the reader running and another of the administrator.
async fn revoke(stage: &Stage, stack: &Stack) -> anyhow::Result<String> {
    let (key, login) = (stack.secret("turning-key-web").await?, stack.secret("turning-user-bi").await?);
    let load = Load {
        urls: vec![stack.service_url().await?],
        key: key["key"].clone(),
        event: "revoked".into(),
        connections: 1,
        events_per_request: 1,
        pause: Duration::ZERO,
        attempts: 1,
    };
    load.once().await.context("the key was refused before it was revoked")?;
    let (user, password) = (login["username"].clone(), login["password"].clone());
    let query = long_query(&stage.target.clickhouse, (&user, &password), 1_300_000);
    let admin = &stage.target.clickhouse;
    let other = long_query(admin, (&admin.user, &admin.password), 200_000);
    wait_until(Duration::from_secs(20), || async {
        let running = format!("SELECT count() FROM system.processes WHERE user = '{user}'");
        Ok(stage.query(&running).await?.trim() != "0")
    })
    .await
    .context("the long query does not run")?;

    let started = Instant::now();
    annotate(stack, "weir.dev/revoke", "key/web,user/bi=INC-7").await?;
    let denied =
        wait_until(REVOCATION, || async { Ok(stage.query_as(&user, &password, "SELECT 1").await.is_err()) });
    let refused = wait_until(REVOCATION, || load.is_refused());
    let ended =
        async { tokio::time::timeout(REVOCATION, query).await.map(|ended| (ended, started.elapsed())) };
    let (denied, refused, ended) = tokio::join!(denied, refused, ended);
    let (denied, refused) = (denied.context("the login")?, refused.context("the key")?);
    let (query, ended) = ended.context("the query of the revoked user goes on")?;
    ensure!(query?.is_err(), "the query of the revoked user ended well");
    other.await?.context("the query of another user did not complete")?;
    stack
        .wait("revoked", Duration::from_mins(1), |stack| {
            let handled = stack.status.as_ref().and_then(|status| status.last_handled_revoke.as_deref());
            handled == Some("key/web,user/bi=INC-7")
        })
        .await?;
    let replacement = Load { key: stack.secret("turning-key-web").await?["key"].clone(), ..load };
    ensure!(replacement.key != key["key"], "the key was not replaced");
    replacement.once().await.context("the replacement is refused")?;
    Ok(format!(
        "revoked: first denied login after {:.1} s, first refused key after {:.1} s, a running query ended after {:.1} s, another user's completed",
        denied.as_secs_f64(),
        refused.as_secs_f64(),
        ended.as_secs_f64()
    ))
}

/// Starts a query that sleeps three seconds for every 65,000 rows; a read-only user may change no setting for it.
fn long_query(
    access: &ClickhouseAccess,
    (user, password): (&str, &str),
    rows: u64,
) -> tokio::task::JoinHandle<anyhow::Result<String>> {
    let (access, user, password) = (access.clone(), user.to_owned(), password.to_owned());
    let sql = format!("SELECT max(sleep(3)) FROM numbers({rows})");
    tokio::spawn(async move { access.query_as(&user, &password, &sql).await })
}

/// Asks until the answer is yes; returns how long that took.
async fn wait_until<F>(deadline: Duration, mut asked: impl FnMut() -> F) -> anyhow::Result<Duration>
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

/// Clients that read their Secret again and again, as mounted ones are, and use what it holds without a retry.
struct Clients {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<anyhow::Result<Counted>>,
}

#[derive(Default)]
struct Counted {
    sent: u64,
    queries: u64,
    refused: u64,
    first_refusal: String,
}

impl Clients {
    async fn start(stage: &Stage, stack: &Stack) -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        let url = stack.service_url().await?;
        for _ in 0..3 {
            tasks.spawn(send(stack.clone(), url.clone(), Arc::clone(&stop)));
        }
        tasks.spawn(ask(stack.clone(), stage.target.clickhouse.clone(), Arc::clone(&stop)));
        Ok(Self { stop, tasks })
    }

    async fn stop(mut self) -> anyhow::Result<Counted> {
        self.stop.store(true, Ordering::Relaxed);
        let mut total = Counted::default();
        while let Some(counted) = self.tasks.join_next().await {
            let Counted { sent, queries, refused, first_refusal } = counted??;
            total.sent += sent;
            total.queries += queries;
            total.refused += refused;
            if total.first_refusal.is_empty() {
                total.first_refusal = first_refusal;
            }
        }
        Ok(total)
    }
}

/// Sends events with the key of the Secret, one a request.
async fn send(stack: Stack, url: String, stop: Arc<AtomicBool>) -> anyhow::Result<Counted> {
    let mut counted = Counted::default();
    while !stop.load(Ordering::Relaxed) {
        let key = stack.secret("turning-key-web").await?["key"].clone();
        let load = Load {
            urls: vec![url.clone()],
            key,
            event: "rotation".into(),
            connections: 1,
            events_per_request: 1,
            pause: Duration::ZERO,
            attempts: 1,
        };
        let read_at = Instant::now();
        while read_at.elapsed() < READ_EVERY {
            match load.once().await {
                Ok(()) => counted.sent += 1,
                Err(error) => counted.refuse(&error),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    Ok(counted)
}

/// Asks with the login of the Secret.
async fn ask(stack: Stack, access: ClickhouseAccess, stop: Arc<AtomicBool>) -> anyhow::Result<Counted> {
    let mut counted = Counted::default();
    while !stop.load(Ordering::Relaxed) {
        let login = stack.secret("turning-user-bi").await?;
        let sql = format!("SELECT count() FROM {}.events", login["database"]);
        let read_at = Instant::now();
        while read_at.elapsed() < READ_EVERY {
            match access.query_as(&login["username"], &login["password"], &sql).await {
                Ok(_) => counted.queries += 1,
                Err(error) => counted.refuse(&error),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(counted)
}

impl Counted {
    fn refuse(&mut self, error: &anyhow::Error) {
        self.refused += 1;
        if self.first_refusal.is_empty() {
            self.first_refusal = format!("{error:#}");
        }
    }
}
