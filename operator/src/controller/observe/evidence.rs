//! Asks ClickHouse when old users were last used, once their overlap is over.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use weir_crds::AnalyticsStack;

use crate::access::{Logged, fetch_last_use};
use crate::clickhouse::Connection;
use crate::controller::Context;
use crate::controller::credential::credentials;
use crate::controller::observed::{Generations, Observed};
use crate::controller::rotation::{Evidence, assess};
use crate::controller::validate::{Found, validate};

/// Time that reading the logs of every endpoint may take.
const READ_TIMEOUT: Duration = Duration::from_secs(20);

/// The use of every old user whose end depends on it.
pub(super) async fn evidence(
    ctx: &Context,
    stack: &AnalyticsStack,
    connection: &Connection,
    observed: &Observed,
) -> BTreeMap<String, Evidence> {
    let users = undecided(ctx, stack, observed);
    if users.is_empty() {
        return BTreeMap::new();
    }
    let read = tokio::time::timeout(READ_TIMEOUT, fetch_last_use(connection, &users)).await;
    let judge: Box<dyn Fn(&String) -> Evidence + Send> = match read {
        Ok(Ok(logged)) => Box::new(move |user| judge(logged.get(user))),
        Ok(Err(error)) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "failed to read the use of old users");
            unknown("system.query_log and system.session_log cannot be read")
        }
        Err(_elapsed) => unknown("system.query_log and system.session_log could not be read in time"),
    };
    users.into_iter().map(|user| (user.clone(), judge(&user))).collect()
}

fn judge(logged: Option<&Logged>) -> Evidence {
    match logged {
        Some(Logged { last_use, is_logged: true }) => {
            Evidence::LastUse(last_use.and_then(|at| Timestamp::from_second(at).ok()))
        }
        Some(_) | None => Evidence::Unknown(
            "system.query_log holds none of its queries, not even those of the operator's proof".into(),
        ),
    }
}

fn unknown(why: &'static str) -> Box<dyn Fn(&String) -> Evidence + Send> {
    Box::new(move |_| Evidence::Unknown(why.into()))
}

/// Old users of which nothing but their use decides whether they stay.
fn undecided(ctx: &Context, stack: &AnalyticsStack, observed: &Observed) -> Vec<String> {
    let Ok(checked) = validate(stack, &ctx.settings.rules, Found::default()) else { return Vec::new() };
    let generations = Generations { stack: &checked, observed };
    let credentials = credentials(&checked, &observed.secrets, &observed.supplied, &generations);
    let retirements = assess(&checked, observed, &credentials);
    let mut users = Vec::new();
    for credential in credentials.iter().filter(|credential| credential.is_login()) {
        let undecided = retirements.undecided(credential);
        users.extend(undecided.filter_map(|generation| credential.user_of(&checked, generation)));
    }
    users
}
