//! Emergency revocations: how soon a key and a login are refused, and whose queries end.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use futures::future::try_join_all;
use tokio::task::JoinHandle;

use super::{annotate, clients::sender, ground, wait_until};
use crate::{
    load::Sender,
    query::{ClickhouseAccess, fails_with},
    stack::Stack,
    stage::{QUERY_WAS_CANCELLED, Stage},
};

/// How long a revocation may take until nobody is let in.
const REVOCATION: Duration = Duration::from_secs(10);
/// How long it may take until the operator says that it is over.
const HANDLED: Duration = Duration::from_mins(1);

/// How long it took from the request to each end.
struct Ended {
    login: Duration,
    key: Duration,
    query: Duration,
}

/// Revokes one key and one reader after the other, each with a minute's query running.
pub(super) async fn revoke(stage: &Stage, stack: &Stack, times: usize) -> anyhow::Result<String> {
    let (keys, users): (Vec<_>, Vec<_>) = (ground::keys().collect(), ground::users().collect());
    let mut ended = Vec::new();
    for (time, (key, user)) in keys.iter().cycle().zip(users.iter().cycle()).take(times).enumerate() {
        let one = revoke_one(stage, stack, (key, user), time).await;
        ended.push(one.with_context(|| format!("revocation {} of {times}", time + 1))?);
    }
    let logins = spread(ended.iter().map(|ended| ended.login));
    let keys = spread(ended.iter().map(|ended| ended.key));
    let queries = spread(ended.iter().map(|ended| ended.query));
    Ok(format!(
        "{times} revocations of a key and a reader: first denied login {logins}, key refused by every pod {keys}, a running query of a minute ended {queries}, \
         another user's went on and completed each time"
    ))
}

/// Median and worst: with at most a hundred, the worst is the 99th percentile.
fn spread(durations: impl Iterator<Item = Duration>) -> String {
    let mut seconds: Vec<_> = durations.map(|duration| duration.as_secs_f64()).collect();
    seconds.sort_by(f64::total_cmp);
    let (median, worst) = (seconds.get(seconds.len() / 2), seconds.last());
    format!("after {:.1} s (p50) and {:.1} s (p99)", median.unwrap_or(&0.0), worst.unwrap_or(&0.0))
}

async fn revoke_one(
    stage: &Stage,
    stack: &Stack,
    (key, user): (&str, &str),
    time: usize,
) -> anyhow::Result<Ended> {
    let (key_secret, user_secret) = (format!("turning-key-{key}"), format!("turning-user-{user}"));
    let (old_key, old_login) = (stack.secret(&key_secret).await?, stack.secret(&user_secret).await?);
    // Each pod by itself: the Service would lead a connection to one of them.
    let pods = stack.pod_urls().await?;
    let olds: Vec<_> = pods.iter().map(|pod| sender(pod, &old_key["key"], "revoked")).collect();
    try_join_all(olds.iter().map(Sender::once)).await.context("the key was refused before it was revoked")?;
    let (login, password) = (&old_login["username"], &old_login["password"]);
    let (query, other) = start_queries(stage, &old_login).await?;

    let started = Instant::now();
    let request = format!("key/{key},user/{user}=INC-{time}");
    annotate(stack, "weir.dev/revoke", &request).await?;
    let denied = async {
        wait_until(REVOCATION, || stage.is_denied(login, password)).await?;
        anyhow::Ok(started.elapsed())
    };
    let refused = try_join_all(olds.iter().map(|old| async {
        wait_until(REVOCATION, || old.is_refused()).await?;
        anyhow::Ok(started.elapsed())
    }));
    let ended = async {
        let ended = tokio::time::timeout(REVOCATION, query).await;
        ended.map(|ended| (ended, started.elapsed(), other.is_finished()))
    };
    let (denied, refused, ended) = tokio::join!(denied, refused, ended);
    let (denied, refused) = (denied.context("the login")?, refused.context("the key")?);
    let (query, ended, is_other_over) = ended.context("the query of the revoked user goes on")?;
    let killed = query?.err().context("the query of the revoked user ended well")?;
    ensure!(fails_with(&killed, QUERY_WAS_CANCELLED), "the query of the revoked user ended by: {killed:#}");
    ensure!(!is_other_over, "the other user's query was over before the revoked one's was ended");
    other.await?.context("the query of another user did not complete")?;

    let is_handled = |stack: &weir_crds::AnalyticsStack| {
        let handled = stack.status.as_ref().and_then(|status| status.last_handled_revoke.as_deref());
        handled == Some(request.as_str())
    };
    stack.wait("revoked", HANDLED, is_handled).await?;
    check_replacements(stage, stack, (&key_secret, &old_key), (&user_secret, &old_login)).await?;
    ensure!(stage.is_denied(login, password).await?, "the revoked login is let in again");
    let still = try_join_all(olds.iter().map(Sender::is_refused)).await?;
    ensure!(still.iter().all(|is_refused| *is_refused), "the revoked key is let in again");
    Ok(Ended { login: denied, key: refused.into_iter().max().unwrap_or_default(), query: ended })
}

/// Waits for the replacements, which are published when they are proven, and uses them.
async fn check_replacements(
    stage: &Stage,
    stack: &Stack,
    (key, old_key): (&str, &BTreeMap<String, String>),
    (user, old_login): (&str, &BTreeMap<String, String>),
) -> anyhow::Result<()> {
    let changed = || async {
        let (key, login) = (stack.secret(key).await?, stack.secret(user).await?);
        Ok(key["key"] != old_key["key"] && login["username"] != old_login["username"])
    };
    wait_until(HANDLED, changed).await.context("key and login were not replaced")?;
    let (key, login) = (stack.secret(key).await?, stack.secret(user).await?);
    let url = stack.service_url().await?;
    sender(&url, &key["key"], "replaced").once().await.context("the new key is refused")?;
    let answered = stage.query_as(&login["username"], &login["password"], "SELECT 1").await;
    answered.context("the new login is denied").map(drop)
}

type Query = JoinHandle<anyhow::Result<String>>;

/// Starts a query of a minute as the reader and a shorter one as the administrator, and waits until the first runs.
async fn start_queries(stage: &Stage, login: &BTreeMap<String, String>) -> anyhow::Result<(Query, Query)> {
    let admin = &stage.target.clickhouse;
    let (user, password) = (&login["username"], &login["password"]);
    let query = long_query(admin, (user, password), 1_300_000);
    let other = long_query(admin, (&admin.user, &admin.password), 200_000);
    let running = format!("SELECT count() FROM system.processes WHERE user = '{user}'");
    wait_until(Duration::from_secs(20), || async { Ok(stage.query(&running).await?.trim() != "0") })
        .await
        .context("the long query does not run")?;
    Ok((query, other))
}

/// Starts a query that sleeps three seconds for every 65,000 rows; a read-only user may change no setting for it.
fn long_query(access: &ClickhouseAccess, (user, password): (&str, &str), rows: u64) -> Query {
    let (access, user, password) = (access.clone(), user.to_owned(), password.to_owned());
    let sql = format!("SELECT max(sleep(3)) FROM numbers({rows})");
    tokio::spawn(async move { access.query_as(&user, &password, &sql).await })
}
