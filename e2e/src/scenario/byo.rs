//! A key and a reader whose values are kept in Secrets of their owners: they follow every change under load, what cannot
//! be used is named while the old value serves, what was revoked stays out, and the owners' Secrets are never written.

mod own;

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::json;
use weir_crds::{AnalyticsStack, ConditionType, CredentialStep, Reason};

use self::own::Own;
use super::{
    Plan,
    rotation::{
        annotate,
        clients::{self, Clients, sender},
        wait_until,
    },
};
use crate::{
    stack::Stack,
    stage::{Stage, TEAM},
};

/// Key and reader, as the spec names them.
const NAMES: (&str, &str) = ("own", "bi");
/// How long a change may take until consumers have it.
const TURN: Duration = Duration::from_mins(3);
/// How long an old value may take to be refused once nobody uses it.
const RETIREMENT: Duration = Duration::from_mins(2);
/// How long a revocation may take until nobody is let in.
const REVOCATION: Duration = Duration::from_secs(10);

pub(super) async fn run(stage: &Stage, plan: Plan) -> anyhow::Result<String> {
    let mut own = Own::write(stage).await?;
    let stack = make_stack(stage)?;
    stack.wait_current(Duration::from_mins(5)).await?;
    check_published(&stack, &own).await?;

    let clients = Clients::start(stage, &stack, (vec![NAMES.0.into()], vec![NAMES.1.into()])).await?;
    let count = plan.pick(2, 20);
    let changed = change_under_load(stage, &stack, (&mut own, count)).await;
    let counted = clients.stop(stage).await?;
    let (turned, old) = changed?;
    let stored = stage.count_events(&stack, clients::EVENT).await?;
    ensure!(stored == counted.sent, "{stored} events are stored, {} were acknowledged", counted.sent);

    let retired = retire(stage, &stack, &old).await.context("the old values are let in")?;
    let revoked = revoke(stage, &stack, &mut own).await.context("revocation")?;
    own.check_untouched(stage).await?;
    stack.delete(Duration::from_mins(2)).await?;
    own.check_untouched(stage).await.context("after the stack was deleted")?;
    Ok(format!(
        "{count} changes of a key and of a password in {:.0} s, an invalid value named meanwhile: 0 of {} requests and 0 of {} queries refused, \
         the old ones refused {:.0} s later; revoked ones refused after {:.1} s and until they changed; the owners' Secrets were never written",
        turned.as_secs_f64(),
        counted.sent,
        counted.queries,
        retired.as_secs_f64(),
        revoked.as_secs_f64(),
    ))
}

fn make_stack(stage: &Stage) -> anyhow::Result<Stack> {
    let rotation = json!({ "overlap": "8s", "quietPeriod": "3s", "cap": "5m" });
    stage.make_stack_with("owned", |stack| {
        let from = |secret: &str| json!({ "secretKeyRef": { "name": secret, "key": own::FIELD } });
        stack["spec"]["ingest"]["replicas"] = 1.into();
        stack["spec"]["keys"] = json!([
            { "name": NAMES.0, "type": "Secret", "valueFrom": from(own::KEY), "rotation": rotation }
        ]);
        stack["spec"]["users"] = json!([
            { "name": NAMES.1, "profile": "HyperDX", "valueFrom": from(own::PASSWORD), "rotation": rotation }
        ]);
    })
}

/// The published Secrets hold the owners' values and nothing else of their Secrets.
async fn check_published(stack: &Stack, own: &Own) -> anyhow::Result<()> {
    let (key, login) = (stack.secret("owned-key-own").await?, stack.secret("owned-user-bi").await?);
    ensure!(key.keys().eq(["key", "url"]), "the key's Secret holds {:?}", key.keys());
    let fields = ["ca.crt", "database", "host", "password", "port", "url", "username"];
    ensure!(login.keys().eq(fields), "the login's Secret holds {:?}", login.keys());
    ensure!(own.is(&key["key"], &login["password"]), "another value was published");
    ensure!(login["username"] == "weir_shop__owned_login_bi", "the user is {}", login["username"]);
    Ok(())
}

/// Changes both values again and again, and then to some that cannot be used; returns how long the changes took, and the
/// values before the last.
async fn change_under_load(
    stage: &Stage,
    stack: &Stack,
    (own, changes): (&mut Own, usize),
) -> anyhow::Result<(Duration, Own)> {
    let started = Instant::now();
    let mut old = own.clone();
    for change in 1..=changes {
        old = own.clone();
        own.change(stage).await?;
        wait_published(stack, own).await.with_context(|| format!("change {change} of {changes}"))?;
    }
    let turned = started.elapsed();
    spoil(stage, stack, own).await.context("a value that cannot be used")?;
    Ok((turned, old))
}

async fn wait_published(stack: &Stack, own: &Own) -> anyhow::Result<Duration> {
    let is_published = || async {
        let (key, login) = (stack.secret("owned-key-own").await?, stack.secret("owned-user-bi").await?);
        Ok(own.is(&key["key"], &login["password"]))
    };
    wait_until(TURN, is_published).await.context("the values in the owners' Secrets are not published")
}

/// Writes a password that is too short: it is named, the old one serves, and the stack is well again behind a good one.
async fn spoil(stage: &Stage, stack: &Stack, own: &mut Own) -> anyhow::Result<()> {
    let old = own.clone();
    own.spoil(stage).await?;
    let invalid = (ConditionType::CredentialsReady, "False", Reason::SecretInvalid);
    let named = stack.wait_condition(invalid, TURN).await?;
    let said = serde_json::to_string(&named.status)?;
    for words in [&format!("Secret/{}", own::PASSWORD), "spec.users[bi].valueFrom", "ends with a line break"]
    {
        ensure!(said.contains(words), "status does not say `{words}`: {said}");
    }
    ensure!(!own.shows_in(&said), "status shows a value");
    let (key, login) = (stack.secret("owned-key-own").await?, stack.secret("owned-user-bi").await?);
    ensure!(old.is(&key["key"], &login["password"]), "the old values are not published any more");
    stage.query_as(&login["username"], &login["password"], "SELECT 1").await.context("the old password")?;
    own.change(stage).await?;
    wait_published(stack, own).await?;
    stack.wait_current(TURN).await.map(drop)
}

/// Waits until the password before the last is refused, for its overlap is over, and nothing is left of the old values.
async fn retire(stage: &Stage, stack: &Stack, old: &Own) -> anyhow::Result<Duration> {
    let (user, url) = (stack.secret("owned-user-bi").await?["username"].clone(), stack.service_url().await?);
    let took = wait_until(RETIREMENT, || stage.is_denied(&user, old.password())).await?;
    let is_alone = |stack: &AnalyticsStack| steps(stack) == [Some(CredentialStep::Current); 2];
    stack.wait("without old values", RETIREMENT, is_alone).await?;
    // Not before: to ask with a key that is let in is a use, for which it stays.
    ensure!(sender(&url, old.key(), "late").is_refused().await?, "the old key is let in");
    Ok(took)
}

fn steps(stack: &AnalyticsStack) -> Vec<Option<CredentialStep>> {
    let status = stack.status.as_ref();
    status.map_or_else(Vec::new, |status| {
        status.keys.iter().chain(&status.users).map(|credential| credential.step).collect()
    })
}

/// Revokes both: they are refused until their owners write others.
async fn revoke(stage: &Stage, stack: &Stack, own: &mut Own) -> anyhow::Result<Duration> {
    let (user, url) = (stack.secret("owned-user-bi").await?["username"].clone(), stack.service_url().await?);
    let old = own.clone();
    let key = sender(&url, old.key(), "revoked");
    key.once().await.context("the key was refused before it was revoked")?;
    let started = Instant::now();
    let request = "key/own,user/bi=INC-1";
    annotate(stack, "weir.dev/revoke", request).await?;
    let is_refused =
        || async { Ok(stage.is_denied(&user, old.password()).await? && key.is_refused().await?) };
    wait_until(REVOCATION, is_refused).await?;
    let took = started.elapsed();
    let is_handled = |stack: &AnalyticsStack| {
        let handled = stack.status.as_ref().and_then(|status| status.last_handled_revoke.as_deref());
        handled == Some(request) && steps(stack) == [Some(CredentialStep::Revoked); 2]
    };
    let told = stack.wait("revoked", TURN, is_handled).await?;
    let told = serde_json::to_string(&told.status)?;
    for words in [own::KEY, own::PASSWORD, "was revoked by the annotation weir.dev/revoke"] {
        ensure!(told.contains(words), "status does not say `{words}`: {told}");
    }
    ensure!(!own.shows_in(&told), "status shows a value");
    // The same value written again is another version of the Secret and no other value.
    own.write_again(stage).await?;
    stage.kubectl(&["annotate", "secret", own::KEY, "-n", TEAM, "story=again", "--overwrite"])?;
    own.note(stage).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    ensure!(is_refused().await?, "what was revoked is let in again");
    own.change(stage).await?;
    wait_published(stack, own).await?;
    stack.wait_current(TURN).await?;
    let login = stack.secret("owned-user-bi").await?;
    stage.query_as(&login["username"], &login["password"], "SELECT 1").await.context("the new password")?;
    sender(&url, own.key(), "replaced").once().await.context("the new key")?;
    Ok(took)
}
