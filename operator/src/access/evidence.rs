//! When users were last used, as ClickHouse's own logs and running queries say.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::clickhouse::{Connection, Error};
use crate::quote::literal;

/// What the logs of every endpoint say of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Logged {
    /// Last use, in seconds since 1970; none when no use was seen.
    pub(crate) last_use: Option<i64>,
    /// Whether every endpoint logs the user's queries at all: each has seen the operator's own proof of the login.
    pub(crate) is_logged: bool,
}

#[derive(Deserialize)]
struct Row {
    user: String,
    at: i64,
    is_logged: u8,
}

/// What the logs say of each user. Fails when one endpoint's logs cannot be read, since a use there would be missed.
pub(crate) async fn fetch_last_use(
    connection: &Connection,
    users: &[String],
) -> Result<BTreeMap<String, Logged>, Error> {
    let query = query(users);
    let unseen = Logged { last_use: None, is_logged: true };
    let mut logged: BTreeMap<_, _> = users.iter().map(|user| (user.clone(), unseen)).collect();
    for endpoint in connection.because("evidence").each_endpoint() {
        let rows: Vec<Row> = endpoint.rows(&query).await?;
        for (user, logged) in &mut logged {
            let row = rows.iter().find(|row| row.user == *user);
            logged.is_logged &= row.is_some_and(|row| row.is_logged != 0);
            logged.last_use = logged.last_use.max(row.map(|row| row.at).filter(|at| *at > 0));
        }
    }
    Ok(logged)
}

// The operator's own proofs are no use, but a log without them is none: queries are logged neither with `log_queries = 0`
// nor in a log that is gone or was begun anew. They come over HTTP, where the query log names the client and the session
// log does not. A login over HTTP is always followed by a query. A query that still runs is a use, however long ago it
// began.
fn query(users: &[String]) -> String {
    let names = users.iter().map(|user| literal(user)).collect::<Vec<_>>().join(", ");
    format!(
        "SELECT user, max(at) AS at, max(is_logged) AS is_logged FROM (\
         SELECT user, if(startsWith(http_user_agent, 'weir-operator/'), 0, toInt64(toUnixTimestamp(event_time))) AS at, \
         toUInt8(1) AS is_logged FROM system.query_log WHERE user IN ({names}) \
         UNION ALL \
         SELECT assumeNotNull(user) AS user, toInt64(toUnixTimestamp(event_time)) AS at, toUInt8(0) AS is_logged \
         FROM system.session_log WHERE user IN ({names}) AND type = 'LoginSuccess' AND toString(interface) != 'HTTP' \
         UNION ALL \
         SELECT user, toInt64(toUnixTimestamp(now())) AS at, toUInt8(0) AS is_logged \
         FROM system.processes WHERE user IN ({names})\
         ) GROUP BY user"
    )
}
