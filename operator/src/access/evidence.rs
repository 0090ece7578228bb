//! When users were last used, as ClickHouse's own logs and running queries say.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::clickhouse::{Connection, Error};
use crate::quote::literal;

#[derive(Deserialize)]
struct Row {
    user: String,
    at: i64,
}

/// Last use of each user on any endpoint, in seconds since 1970; users that were not used are left out. Fails when one
/// endpoint's logs cannot be read, since a use there would be missed.
pub(crate) async fn fetch_last_use(
    connection: &Connection,
    users: &[String],
) -> Result<BTreeMap<String, i64>, Error> {
    let query = query(users);
    let mut last: BTreeMap<String, i64> = BTreeMap::new();
    for endpoint in connection.because("evidence").each_endpoint() {
        for Row { user, at } in endpoint.rows(&query).await? {
            let latest = last.entry(user).or_insert(at);
            *latest = at.max(*latest);
        }
    }
    Ok(last)
}

// The operator's own proofs are no use; they come over HTTP, where the query log names the client and the session log does
// not. A login over HTTP is always followed by a query. A query that still runs is a use, however long ago it began.
fn query(users: &[String]) -> String {
    let names = users.iter().map(|user| literal(user)).collect::<Vec<_>>().join(", ");
    format!(
        "SELECT user, max(at) AS at FROM (\
         SELECT user, toInt64(toUnixTimestamp(event_time)) AS at FROM system.query_log \
         WHERE user IN ({names}) AND NOT startsWith(http_user_agent, 'weir-operator/') \
         UNION ALL \
         SELECT assumeNotNull(user) AS user, toInt64(toUnixTimestamp(event_time)) AS at FROM system.session_log \
         WHERE user IN ({names}) AND type = 'LoginSuccess' AND toString(interface) != 'HTTP' \
         UNION ALL \
         SELECT user, toInt64(toUnixTimestamp(now())) AS at FROM system.processes WHERE user IN ({names})\
         ) GROUP BY user"
    )
}
