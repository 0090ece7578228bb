//! Random edits of readers while their clients go on: what is allowed before and after is never refused between, what
//! remains is exactly what the spec says, and a second pass has nothing to do.

mod hammer;
mod spec;

use std::collections::BTreeSet;

use futures::stream::{self, StreamExt as _};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::super::super::statement::statements;
use super::client::Client;
use super::*;
use hammer::Hammer;
use spec::{COLUMNS, Spec, TABLES};

/// Stacks that are edited at once, at most: they share the development server's restarts, and the statements of each stay
/// in order.
const MAX_LANES: usize = 32;
/// Codes with which ClickHouse refuses a missing right, and a setting beyond its limits.
const ACCESS_DENIED: &str = "497";
const SETTING_CONSTRAINT_VIOLATION: &str = "452";

/// One stack with a reader that is used and one whose hosts are edited as well.
struct Lane {
    stack: Stack,
    random: StdRng,
    hammer: Hammer,
    used: Spec,
    hosted: Spec,
    statements: usize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edits_never_take_what_is_allowed_before_and_after_and_end_exactly_at_the_spec() {
    let (edits, seed) = (count("WEIR_TEST_GRANT_EDITS", 16), seed());
    let lanes = MAX_LANES.min(edits.div_ceil(2));
    let edits_of_each = edits.div_ceil(lanes);
    let running = stream::iter(0..lanes as u64)
        .map(|lane| async move {
            let mut lane = Lane::new(seed.wrapping_add(lane)).await;
            for _ in 0..edits_of_each {
                lane.edit().await;
            }
            lane.finish().await
        })
        .buffer_unordered(lanes);
    let done: Vec<(usize, u64)> = running.collect().await;
    let statements: usize = done.iter().map(|(statements, _)| statements).sum();
    let queries: u64 = done.iter().map(|(_, queries)| queries).sum();
    // The figures are part of the result.
    eprintln!(
        "figure: {} grant edits (seed {seed}): {statements} statements, {queries} queries of clients meanwhile, 0 denied; \
         effective rights = spec after each, 0 statements in each second pass",
        edits_of_each * lanes
    );
    assert!(queries > edits as u64, "the clients hardly ran: {queries}");
}

impl Lane {
    async fn new(seed: u64) -> Self {
        let (connection, stack) = (administrator(), stack("edits"));
        let mut random = StdRng::seed_from_u64(seed);
        let used = Spec::random(&mut random).without_hosts();
        let hosted = Spec::random(&mut random);
        let desired = desired_of(&stack, &used, &hosted);
        pass(&connection, &desired).await;
        let database = &stack.names.database;
        for table in TABLES {
            let columns = COLUMNS.map(|column| format!("{column} Int8")).join(", ");
            let create = format!("CREATE TABLE {database}.{table} ({columns}) ENGINE = MergeTree ORDER BY a");
            connection.execute(&create).await.unwrap();
        }
        let hammer = Hammer::start(Client::new(&stack.names.reader_user("bi", 1)));
        Self { stack, random, hammer, used, hosted, statements: 0 }
    }

    /// Edits both readers, as the controller does: adds, proves, and takes the surplus away last.
    async fn edit(&mut self) {
        let used = self.used.edited(&mut self.random).without_hosts();
        let hosted = self.hosted.edited(&mut self.random);
        let desired = desired_of(&self.stack, &used, &hosted);
        let context = || format!("from {:?} to {used:?}", self.used);
        self.hammer.strike(self.used.common_queries(&used, &self.stack.names.database)).await;
        let connection = self.connection();
        let Plan { actions, conflicts } = plan(&desired, &fetch_catalogue(&connection).await.unwrap());
        assert_eq!(conflicts, []);
        self.statements += carry_out(&connection, &desired, &actions).await;
        let bi = self.stack.names.reader_user("bi", 1);
        let proven = prove(&connection, &bi, &password_of(&bi).into(), &desired.required(&bi)).await;
        assert_eq!(proven, Ok(()), "{}", context());
        let surplus = surplus(&desired, &fetch_catalogue(&connection).await.unwrap());
        self.statements += carry_out(&connection, &desired, &surplus).await;
        assert_eq!(self.hammer.refusals(), Vec::<String>::new(), "{}", context());

        self.hammer.strike(used.common_queries(&used, &self.stack.names.database)).await;
        assert_eq!(pass(&connection, &desired).await, [], "a second pass {}", context());
        check_effect(&self.stack, &used).await;
        check_rows(&connection, &self.stack, "bi", &used).await;
        check_rows(&connection, &self.stack, "office", &hosted).await;
        (self.used, self.hosted) = (used, hosted);
    }

    fn connection(&self) -> Connection {
        let owner = &self.stack.owner;
        administrator().with_comment(&Comment {
            stack: format!("{}/{}", owner.namespace, owner.name),
            uid: owner.uid.clone(),
            generation: 1,
            reason: "access".into(),
        })
    }

    /// Compares what was sent with the server's own log; a statement that a second pass sent would be one too many.
    async fn finish(self) -> (usize, u64) {
        let queries = self.hammer.stop().await;
        let connection = administrator();
        connection.execute("SYSTEM FLUSH LOGS").await.unwrap();
        let stack = format!("%\"{}/{}\"%", self.stack.owner.namespace, self.stack.owner.name);
        let logged = format!(
            "SELECT uniqExact(query_id) FROM system.query_log WHERE log_comment LIKE {} \
             AND match(query, '^(CREATE|ALTER|DROP|GRANT|REVOKE|INSERT|KILL) ')",
            literal(&stack)
        );
        let logged: usize = connection.value(&logged).await.unwrap().parse().unwrap();
        assert_eq!(logged, self.statements, "statements that change access, in the server's log and as sent");
        (self.statements, queries)
    }
}

fn desired_of(stack: &Stack, used: &Spec, hosted: &Spec) -> Desired {
    let readers = [used.reader("bi"), hosted.reader("office")];
    stack.desired_with(&readers, &["bi", "office"].map(|reader| reader_login(stack, reader)))
}

fn reader_login(stack: &Stack, reader: &str) -> Login {
    let user = stack.names.reader_user(reader, 1);
    let password = Some(PasswordHash::of(&password_of(&user)));
    Login { user, purpose: Purpose::Reader(reader.into()), password }
}

async fn carry_out(connection: &Connection, desired: &Desired, actions: &[Action]) -> usize {
    let mut sent = 0;
    for action in actions {
        sent += statements(action, &PasswordHash::of("unknown")).len();
        apply(connection, &desired.owner, action).await.unwrap_or_else(|error| panic!("{action}: {error:?}"));
    }
    sent
}

/// Asks the server, as the reader, for everything that the spec could say.
async fn check_effect(stack: &Stack, spec: &Spec) {
    let client = Client::new(&stack.names.reader_user("bi", 1));
    let database = &stack.names.database;
    let judge = |allowed: bool, code: &str| if allowed { None } else { Some(code.to_owned()) };
    for (table, column, allowed) in spec.reads_of() {
        let refusal = client.query("", &format!("SELECT {column} FROM {database}.{table}")).await.err();
        assert_eq!(refusal, judge(allowed, ACCESS_DENIED), "{table}.{column} of {spec:?}");
    }
    for (name, value, allowed) in spec.choices() {
        let refusal = client.query("", &format!("SELECT 1 SETTINGS {name} = {value}")).await.err();
        assert_eq!(refusal, judge(allowed, SETTING_CONSTRAINT_VIOLATION), "{name} = {value} of {spec:?}");
    }
    for (name, value) in spec.values() {
        let shown = client.query("", &format!("SELECT getSetting('{name}')")).await;
        assert_eq!(shown, Ok(value.to_string()), "{name} of {spec:?}");
    }
}

/// Compares the server's tables row by row.
async fn check_rows(connection: &Connection, stack: &Stack, reader: &str, spec: &Spec) {
    let (role, user) = (stack.names.reader_role(reader), stack.names.reader_user(reader, 1));
    let (role, user) = (literal(&role), literal(&user));
    let lines = |text: String| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    let grants = format!(
        "SELECT concat(access_type, ' ', table, ' ', coalesce(column, '')) FROM system.grants WHERE role_name = {role} \
         AND database = {} AND NOT is_partial_revoke AND NOT grant_option",
        literal(&stack.names.database)
    );
    assert_eq!(lines(connection.value(&grants).await.unwrap()), spec.grant_rows(), "{spec:?}");
    let held = format!(
        "SELECT (SELECT count() FROM system.grants WHERE role_name = {role}), \
         (SELECT count() FROM system.grants WHERE user_name = {user}), \
         (SELECT groupArray(granted_role_name) FROM system.role_grants WHERE user_name = {user})"
    );
    let expected = format!("{}\t0\t[{role}]", spec.grant_rows().len());
    assert_eq!(connection.value(&held).await.unwrap(), expected, "{spec:?}");
    let hosts = format!("SELECT arrayJoin(host_ip) FROM system.users WHERE name = {user}");
    let shown = |network: &&str| network.trim_end_matches("/32").trim_end_matches("/128").to_owned();
    let networks: BTreeSet<String> = spec.networks().iter().map(shown).collect();
    let anywhere = BTreeSet::from(["::/0".to_owned()]);
    let expected = if networks.is_empty() { anywhere } else { networks };
    assert_eq!(lines(connection.value(&hosts).await.unwrap()), expected, "{spec:?}");
}
