//! Random edits of readers while their clients go on: what is allowed before and after is never refused between, what
//! remains is exactly what the spec says, and a second pass has nothing to do.

pub(super) mod hammer;
mod spec;

use std::collections::BTreeSet;

use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::super::super::statement::statements;
use super::client::{Client, UNLOGGED};
use super::*;
use hammer::Hammer;
use spec::{COLUMNS, Spec, TABLES};

/// Stacks that are edited at once, at most.
const MAX_LANES: usize = 50;
/// Codes with which ClickHouse refuses a missing right, and a setting beyond its limits.
const ACCESS_DENIED: &str = "497";
const SETTING_CONSTRAINT_VIOLATION: &str = "452";
/// What the statements of edits are sent for, as the server's log shows it.
const REASON: &str = "edit";

/// One stack with a reader that is used and one whose hosts are edited as well.
struct Lane {
    stack: Stack,
    random: StdRng,
    hammer: Hammer,
    /// What the used reader could do before this edit.
    before: Spec,
    used: Spec,
    hosted: Spec,
    desired: Desired,
    statements: usize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edits_never_take_what_is_allowed_before_and_after_and_end_exactly_at_the_spec() {
    let (edits, seed) = (count("WEIR_TEST_GRANT_EDITS", 16), seed());
    let lanes = MAX_LANES.min(edits.div_ceil(2));
    let rounds = edits.div_ceil(lanes);
    let mut lanes: Vec<_> = (0..lanes as u64).map(|lane| Lane::draw(seed.wrapping_add(lane))).collect();
    make(&mut lanes).await;
    for _ in 0..rounds {
        edit(&mut lanes).await;
        check(&lanes).await;
    }
    let edits = rounds * lanes.len();
    let statements: usize = lanes.iter().map(|lane| lane.statements).sum();
    let mut queries = 0;
    for lane in lanes {
        queries += lane.finish().await;
    }
    // The figures are part of the result.
    eprintln!(
        "figure: {edits} grant edits (seed {seed}): {statements} statements, {queries} queries of clients meanwhile, 0 denied; \
         effective rights = spec after each, 0 statements in each second pass"
    );
    assert!(queries > edits as u64, "the clients hardly ran: {queries}");
}

/// Makes every stack, with the tables that its readers ask for.
async fn make(lanes: &mut [Lane]) {
    let additions = additions(lanes, &fetch_catalogue(&administrator().await).await.unwrap());
    carry_out(lanes, &additions, "setup").await;
    let root = root();
    let tables = lanes.iter().flat_map(|lane| {
        let database = &lane.stack.names.database;
        let columns = COLUMNS.map(|column| format!("{column} Int8")).join(", ");
        TABLES
            .map(|table| format!("CREATE TABLE {database}.{table} ({columns}) ENGINE = MergeTree ORDER BY a"))
    });
    for create in tables {
        root.execute(&create).await.unwrap();
    }
}

/// Edits every stack once, as the controller does: adds, proves, and takes the surplus away last.
async fn edit(lanes: &mut [Lane]) {
    join_all(lanes.iter_mut().map(Lane::edit)).await;
    let additions = additions(lanes, &fetch_catalogue(&administrator().await).await.unwrap());
    count_statements(lanes, &additions);
    carry_out(lanes, &additions, REASON).await;
    join_all(lanes.iter().map(Lane::prove)).await;
    let catalogue = fetch_catalogue(&administrator().await).await.unwrap();
    let removals: Vec<_> = lanes.iter().map(|lane| surplus(&lane.desired, &catalogue)).collect();
    count_statements(lanes, &removals);
    carry_out(lanes, &removals, REASON).await;
}

/// Compares what every stack has now with its spec.
async fn check(lanes: &[Lane]) {
    for lane in lanes {
        assert_eq!(lane.hammer.refusals(), Vec::<String>::new(), "{}", lane.told());
    }
    let catalogue = fetch_catalogue(&administrator().await).await.unwrap();
    for lane in lanes {
        let Plan { actions, conflicts } = plan(&lane.desired, &catalogue);
        let again = (actions, conflicts, surplus(&lane.desired, &catalogue));
        assert_eq!(again, (Vec::new(), Vec::new(), Vec::new()), "a second pass {}", lane.told());
    }
    join_all(lanes.iter().map(Lane::check)).await;
}

fn additions(lanes: &[Lane], catalogue: &Catalogue) -> Vec<Vec<Action>> {
    let planned = lanes.iter().map(|lane| plan(&lane.desired, catalogue));
    planned
        .map(|Plan { actions, conflicts }| {
            assert_eq!(conflicts, []);
            actions
        })
        .collect()
}

fn count_statements(lanes: &mut [Lane], actions: &[Vec<Action>]) {
    let unknown = PasswordHash::of("unknown");
    for (lane, actions) in lanes.iter_mut().zip(actions) {
        lane.statements += actions.iter().map(|action| statements(action, &unknown).len()).sum::<usize>();
    }
}

/// Carries out the actions of each stack in their order, the first ones of all stacks at once, then the second ones:
/// the development server restarts once for what arrives together.
async fn carry_out(lanes: &[Lane], actions: &[Vec<Action>], reason: &str) {
    let longest = actions.iter().map(Vec::len).max().unwrap_or(0);
    for step in 0..longest {
        let due = lanes.iter().zip(actions).filter_map(|(lane, actions)| Some((lane, actions.get(step)?)));
        let applied = due.map(|(lane, action)| async move {
            let applied = apply(&lane.connection(reason).await, &lane.desired.owner, action).await;
            applied.unwrap_or_else(|error| panic!("{action} {}: {error:?}", lane.told()));
        });
        join_all(applied).await;
    }
}

impl Lane {
    /// Draws a stack that is not made yet.
    fn draw(seed: u64) -> Self {
        let stack = stack("edits");
        let mut random = StdRng::seed_from_u64(seed);
        let used = Spec::random(&mut random).without_hosts();
        let hosted = Spec::random(&mut random);
        let hammer = Hammer::new(Client::new(&stack.names.reader_user("bi", 1)));
        let desired = desired_of(&stack, &used, &hosted);
        Self { stack, random, hammer, before: used.clone(), used, hosted, desired, statements: 0 }
    }

    /// Draws what both readers may do next; the client asks for what they may do before and after.
    async fn edit(&mut self) {
        let next = self.used.edited(&mut self.random).without_hosts();
        self.before = std::mem::replace(&mut self.used, next);
        self.hosted = self.hosted.edited(&mut self.random);
        self.desired = desired_of(&self.stack, &self.used, &self.hosted);
        self.hammer.strike(self.before.common_queries(&self.used, &self.stack.names.database)).await;
    }

    async fn prove(&self) {
        let bi = self.stack.names.reader_user("bi", 1);
        let password = password_of(&bi).into();
        let proven = prove(&self.connection(REASON).await, &bi, &password, &self.desired.required(&bi)).await;
        assert_eq!(proven, Ok(()), "{}", self.told());
    }

    async fn check(&self) {
        let root = root();
        check_effect(&self.stack, &self.used).await;
        check_rows(&root, &self.stack, "bi", &self.used).await;
        check_rows(&root, &self.stack, "office", &self.hosted).await;
    }

    async fn connection(&self, reason: &str) -> Connection {
        administrator().await.with_comment(&Comment {
            stack: self.log_name(),
            uid: self.stack.owner.uid.clone(),
            generation: 1,
            reason: reason.to_owned(),
        })
    }

    fn log_name(&self) -> String {
        format!("{}/{}", self.stack.owner.namespace, self.stack.owner.name)
    }

    fn told(&self) -> String {
        format!("from {:?} to {:?}", self.before, self.used)
    }

    /// Compares what was sent with the server's own log; a statement that a second pass sent would be one too many.
    async fn finish(self) -> u64 {
        let comment = format!("%\"{}\"%\"{REASON}\"%", self.log_name());
        let queries = self.hammer.stop().await;
        let root = root();
        root.execute("SYSTEM FLUSH LOGS").await.unwrap();
        let logged = format!(
            "SELECT uniqExact(query_id) FROM system.query_log WHERE log_comment LIKE {} \
             AND match(query, '^(CREATE|ALTER|DROP|GRANT|REVOKE|INSERT|KILL) ')",
            literal(&comment)
        );
        let logged: usize = root.value(&logged).await.unwrap().parse().unwrap();
        assert_eq!(logged, self.statements, "statements that change access, in the server's log and as sent");
        queries
    }
}

fn desired_of(stack: &Stack, used: &Spec, hosted: &Spec) -> Desired {
    let readers = [used.reader("bi"), hosted.reader("office")];
    stack.desired_with(&readers, &["bi", "office"].map(|reader| reader_login(stack, reader)))
}

fn reader_login(stack: &Stack, reader: &str) -> Login {
    let user = stack.names.reader_user(reader, 1);
    let passwords = passwords_of(&user);
    Login { user, purpose: Purpose::Reader(reader.into()), passwords }
}

/// Asks the server, as the reader, for everything that the spec could say.
async fn check_effect(stack: &Stack, spec: &Spec) {
    let client = Client::new(&stack.names.reader_user("bi", 1));
    let database = &stack.names.database;
    let judge = |allowed: bool, code: &str| if allowed { None } else { Some(code.to_owned()) };
    for (table, column, allowed) in spec.reads_of() {
        let refusal = client.query(UNLOGGED, &format!("SELECT {column} FROM {database}.{table}")).await.err();
        assert_eq!(refusal, judge(allowed, ACCESS_DENIED), "{table}.{column} of {spec:?}");
    }
    for (name, value, allowed) in spec.choices() {
        let refusal = client.query(UNLOGGED, &format!("SELECT 1 SETTINGS {name} = {value}")).await.err();
        assert_eq!(refusal, judge(allowed, SETTING_CONSTRAINT_VIOLATION), "{name} = {value} of {spec:?}");
    }
    for (name, value) in spec.values() {
        let shown = client.query(UNLOGGED, &format!("SELECT getSetting('{name}')")).await;
        assert_eq!(shown, Ok(value.to_string()), "{name} of {spec:?}");
    }
}

/// Compares the server's tables row by row.
async fn check_rows(root: &Connection, stack: &Stack, reader: &str, spec: &Spec) {
    let (role, user) = (stack.names.reader_role(reader), stack.names.reader_user(reader, 1));
    let (role, user) = (literal(&role), literal(&user));
    let lines = |text: String| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    let grants = format!(
        "SELECT concat(access_type, ' ', table, ' ', coalesce(column, '')) FROM system.grants WHERE role_name = {role} \
         AND database = {} AND NOT is_partial_revoke AND NOT grant_option",
        literal(&stack.names.database)
    );
    assert_eq!(lines(root.value(&grants).await.unwrap()), spec.grant_rows(), "{spec:?}");
    let held = format!(
        "SELECT (SELECT count() FROM system.grants WHERE role_name = {role}), \
         (SELECT count() FROM system.grants WHERE user_name = {user}), \
         (SELECT groupArray(granted_role_name) FROM system.role_grants WHERE user_name = {user})"
    );
    let expected = format!("{}\t0\t[{role}]", spec.grant_rows().len());
    assert_eq!(root.value(&held).await.unwrap(), expected, "{spec:?}");
    let hosts = format!("SELECT arrayJoin(host_ip) FROM system.users WHERE name = {user}");
    let shown = |network: &&str| network.trim_end_matches("/32").trim_end_matches("/128").to_owned();
    let networks: BTreeSet<String> = spec.networks().iter().map(shown).collect();
    let anywhere = BTreeSet::from(["::/0".to_owned()]);
    let expected = if networks.is_empty() { anywhere } else { networks };
    assert_eq!(lines(root.value(&hosts).await.unwrap()), expected, "{spec:?}");
}
