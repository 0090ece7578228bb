//! Rows and quotas of readers, on a real ClickHouse.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use super::super::super::rows::Form;
use super::client::{Client, UNLOGGED, status};
use super::*;

/// Code with which ClickHouse refuses a query beyond a quota.
const QUOTA_EXCEEDED: &str = "201";
/// Rounds in which other tests may restart the engine, which forgets what was counted.
const ROUNDS: usize = 50;

/// A stack with a table behind a view, as the migrations make them, and rows of three tenants.
async fn with_rows(connection: &Connection, name: &str) -> Stack {
    let stack = stack(name);
    pass(connection, &stack.desired(&stack.logins())).await;
    let root = root();
    let (database, definer) = (identifier(&stack.names.database), identifier(&stack.names.definer()));
    for statement in [
        format!(
            "CREATE TABLE {database}.events_data (id Int64, tenant String) ENGINE = MergeTree ORDER BY id"
        ),
        format!(
            "CREATE VIEW {database}.events DEFINER = {definer} SQL SECURITY DEFINER AS SELECT id, tenant FROM {database}.events_data"
        ),
        format!("INSERT INTO {database}.events_data VALUES (1, 'eu'), (2, 'us'), (3, 'eu'), (4, 'asia')"),
    ] {
        root.execute(&statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    stack
}

/// The access of a stack with a reader of all, and another one; what the server makes of its conditions is asked first.
async fn desired_of(connection: &Connection, stack: &mut Stack, reader_of: Reader) -> Desired {
    let wanted: Wanted = reader_of.rows.clone().into_iter().collect();
    stack.forms = fetch_forms(connection, &stack.names.database, &wanted).await.unwrap();
    let user = stack.names.reader_user(&reader_of.name, 1);
    let login =
        Login { passwords: passwords_of(&user), user, purpose: Purpose::Reader(reader_of.name.clone()) };
    stack.desired_with(&[reader("bi"), reader_of], &[stack.logins(), vec![login]].concat())
}

impl Stack {
    fn ids(&self) -> String {
        format!(
            "SELECT toString(groupArray(id)) FROM (SELECT id FROM {}.events ORDER BY id)",
            identifier(&self.names.database)
        )
    }
}

#[tokio::test]
async fn a_reader_sees_its_rows_everybody_else_sees_all_and_a_second_pass_sends_nothing() {
    let connection = administrator().await;
    let mut stack = with_rows(&connection, "rows").await;
    let of = |condition| filtered("eu", "events", Some(condition));
    let desired = desired_of(&connection, &mut stack, of("tenant='eu' and id<100")).await;
    pass(&connection, &desired).await;
    assert_eq!(pass(&connection, &desired).await, [], "a second pass");
    let [eu, bi] = ["eu", "bi"].map(|reader| stack.names.reader_user(reader, 1));
    prove(&connection, &eu, &password_of(&eu).into(), &desired.required(&eu)).await.unwrap();
    let ids = stack.ids();
    let [as_eu, as_bi] = [&eu, &bi].map(|user| Client::new(user));
    assert_eq!(as_eu.query("", &ids).await.as_deref(), Ok("[1,3]"));
    assert_eq!(as_bi.query("", &ids).await.as_deref(), Ok("[1,2,3,4]"), "another reader");
    assert_eq!(root().value(&ids).await.unwrap(), "[1,2,3,4]", "a person with rights");
    let ingest = login(&connection, &stack.names.ingest_user(1));
    let database = identifier(&stack.names.database);
    ingest.execute(&format!("INSERT INTO {database}.events_data VALUES (5, 'eu')")).await.unwrap();
    assert_eq!(as_eu.query("", &ids).await.as_deref(), Ok("[1,3,5]"), "the view still reads its table");

    // While the condition is edited, the reader sees what one of both says, at every moment.
    let next = desired_of(&connection, &mut stack, of("tenant IN ('us', 'asia')")).await;
    let hammer = tokio::spawn({
        let (client, ids) = (as_eu.clone(), ids.clone());
        async move {
            let mut seen = std::collections::BTreeSet::new();
            while seen.len() < 2 {
                seen.insert(client.query(UNLOGGED, &ids).await);
            }
            seen
        }
    });
    tokio::task::yield_now().await;
    let done = pass(&connection, &next).await;
    assert_eq!(done.len(), 1, "{done:?}");
    let seen = tokio::time::timeout(Duration::from_mins(1), hammer).await;
    let answers: Vec<_> = seen.expect("both conditions are seen").unwrap().into_iter().collect();
    assert_eq!(answers, [Ok("[1,3,5]".to_owned()), Ok("[2,4]".to_owned())]);
    assert_eq!(as_bi.query("", &ids).await.as_deref(), Ok("[1,2,3,4,5]"));
}

#[tokio::test]
async fn a_hand_on_rows_or_quota_is_found_others_policies_stay_and_a_deletion_leaves_nothing_of_its_own() {
    let connection = administrator().await;
    let mut stack = with_rows(&connection, "rowhands").await;
    let reader = Reader {
        quota: hourly(&[("queries", "1000000")]),
        ..filtered("eu", "events", Some("tenant = 'eu'"))
    };
    let desired = desired_of(&connection, &mut stack, reader).await;
    pass(&connection, &desired).await;
    let (database, role) = (identifier(&stack.names.database), identifier(&stack.names.reader_role("eu")));
    let ids = stack.ids();
    let as_eu = Client::new(&stack.names.reader_user("eu", 1));
    for hand in [
        format!("ALTER ROW POLICY {role} ON {database}.events AS RESTRICTIVE FOR SELECT USING 1 TO {role}"),
        format!("DROP ROW POLICY {role} ON {database}.events"),
        format!(
            "ALTER QUOTA {role} NOT KEYED FOR INTERVAL 3600 second MAX queries = 5, errors = 1 TO {role}"
        ),
        format!("DROP QUOTA {role}"),
    ] {
        root().execute(&hand).await.unwrap_or_else(|error| panic!("{hand}: {error}"));
        let repaired = pass(&connection, &desired).await;
        assert_eq!(repaired.len(), 1, "{hand}: {repaired:?}");
        assert_eq!(as_eu.query("", &ids).await.as_deref(), Ok("[1,3]"), "{hand}");
    }
    let theirs =
        format!("CREATE ROW POLICY theirs ON {database}.events AS PERMISSIVE FOR SELECT USING id < 3 TO ALL");
    root().execute(&theirs).await.unwrap();
    assert_eq!(pass(&connection, &desired).await.len(), 2, "the policy that admits everybody gives way");
    assert_eq!(pass(&connection, &desired).await, []);
    assert_eq!(as_eu.query("", &ids).await.as_deref(), Ok("[1]"), "both conditions hold");
    assert_eq!(root().value(&ids).await.unwrap(), "[1,2]", "theirs is not widened");

    let catalogue = fetch_catalogue(&connection).await.unwrap();
    for action in deletion(&stack.owner, &catalogue) {
        apply(&connection, &stack.owner, &action).await.unwrap_or_else(|error| panic!("{action}: {error:?}"));
    }
    let left = fetch_catalogue(&connection).await.unwrap();
    let mut policies = left.policies.keys().filter(|name| name.database == stack.names.database);
    assert_eq!((policies.next().map(|name| name.name.as_str()), policies.next()), (Some("theirs"), None));
    assert!(!left.quotas.keys().any(|name| name.starts_with(&stack.names.prefix)), "{:?}", left.quotas);
    assert_eq!(deletion(&stack.owner, &left), []);
}

#[tokio::test]
async fn a_quota_refuses_what_goes_beyond_it_and_a_used_up_one_is_no_failed_proof() {
    let (connection, mut stack) = (administrator().await, stack("quota"));
    let limited = Reader { quota: hourly(&[("queries", "3"), ("execution_time", "600")]), ..reader("few") };
    let desired = desired_of(&connection, &mut stack, limited.clone()).await;
    pass(&connection, &desired).await;
    assert_eq!(pass(&connection, &desired).await, [], "a second pass");
    let user = stack.names.reader_user("few", 1);
    let [few, bi] = [&user, &stack.names.reader_user("bi", 1)].map(|user| Client::new(user));
    for round in 0.. {
        assert!(round < ROUNDS, "no engine lived through a round");
        // A change of access starts the engine anew, which counts from nothing then.
        let fresh = format!("CREATE ROLE {}", identifier(&format!("{}_round_{round}", stack.names.prefix)));
        root().execute(&fresh).await.unwrap();
        let engine = status().await;
        let mut answers = Vec::new();
        for _ in 0..4 {
            answers.push(few.query("", "SELECT 1 FROM numbers(1)").await);
        }
        let proof = prove(&connection, &user, &password_of(&user).into(), &desired.required(&user)).await;
        let other = bi.query("", "SELECT 1 FROM numbers(1)").await;
        let name = few.query("", "SELECT currentUser()").await;
        if status().await != engine {
            continue;
        }
        let one = || Ok("1".to_owned());
        assert_eq!(answers, [one(), one(), one(), Err(QUOTA_EXCEEDED.to_owned())]);
        assert_eq!((proof, other, name), (Ok(()), one(), Ok(user.clone())));
        break;
    }
    let more = Reader { quota: hourly(&[("queries", "1000000")]), ..limited };
    let desired = desired_of(&connection, &mut stack, more).await;
    assert_eq!(pass(&connection, &desired).await.len(), 1);
    assert_eq!(pass(&connection, &desired).await, []);
    assert_eq!(few.query("", "SELECT 1 FROM numbers(1)").await.as_deref(), Ok("1"));
}

#[tokio::test]
async fn a_condition_that_clickhouse_cannot_use_is_named_and_the_rest_goes_on() {
    let connection = administrator().await;
    let mut stack = with_rows(&connection, "conditions").await;
    let refused = [
        ("tenant = ", "cannot read it"),
        ("tenant = 'eu' AS x", "cannot read it"),
        ("nope = 1", "a column that the table does not have"),
        ("nofunction(id)", "a function that ClickHouse does not have"),
        ("tenant", "a value of type String"),
        ("id + tenant = 1", "refuses it on this table with code"),
        ("1) TO ALL", "balance the brackets"),
        ("1) OR (1", "balance the brackets"),
        ("1 -- x", "comments are not kept"),
    ];
    let usable = [
        "tenant = 'eu'",
        "id IN (SELECT id FROM system.one)",
        "id > 1 OR NULL",
        "lower(tenant) LIKE 'e%'",
        "tenant = 'it''s; --'",
    ];
    let on = |condition: &str| ("events".to_owned(), condition.to_owned());
    let missing = ("not_made_yet".to_owned(), "anything = 1".to_owned());
    let conditions =
        refused.iter().map(|(condition, _)| on(condition)).chain(usable.iter().map(|one| on(one)));
    let wanted: Wanted = conditions.chain([missing.clone()]).collect();
    let forms = fetch_forms(&connection, &stack.names.database, &wanted).await.unwrap();
    for (condition, why) in refused {
        let form = forms.of("events", condition);
        assert!(matches!(form, Some(Form::Refused(hint)) if hint.contains(why)), "{condition}: {form:?}");
    }
    for condition in usable {
        assert!(matches!(forms.of("events", condition), Some(Form::Known(_))), "{condition}");
    }
    assert!(matches!(forms.of(&missing.0, &missing.1), Some(Form::Known(_))), "a table need not exist yet");

    let desired = desired_of(&connection, &mut stack, filtered("eu", "events", Some("nope = 1"))).await;
    pass(&connection, &desired).await;
    assert_eq!(pass(&connection, &desired).await, []);
    let user = stack.names.reader_user("eu", 1);
    prove(&connection, &user, &password_of(&user).into(), &desired.required(&user)).await.unwrap();
    assert_eq!(Client::new(&user).query("", &stack.ids()).await, Err("497".to_owned()));
    let mended = desired_of(&connection, &mut stack, filtered("eu", "events", Some("tenant = 'us'"))).await;
    pass(&connection, &mended).await;
    assert_eq!(Client::new(&user).query("", &stack.ids()).await.as_deref(), Ok("[2]"));
}

/// Ways to write a condition that ClickHouse rewrites.
const CONDITIONS: [&str; 8] = [
    "not (id=1 or id = 2) and tenant!='x'",
    "id between 1 and 3",
    "tenant in ('eu','us') and id not in (2)",
    "toDate('2026-01-01') < now() - interval 1 day",
    "tenant = 'it''s \\' `quoted` \"text\"' or 1",
    "`id` = -1 OR \"id\" = 3",
    "(id, tenant) = (1, 'eu') or [id][1] > 2",
    "id IN (SELECT 1)",
];

/// A condition that is put together from others.
fn random_condition(random: &mut StdRng, depth: usize) -> String {
    if depth == 0 {
        return format!("({})", CONDITIONS.choose(random).unwrap());
    }
    let words = [" and ", " OR ", "\n\tAnd not ", " or NOT\r\n "];
    let word = words.choose(random).unwrap();
    let [left, right] = [(); 2].map(|()| random_condition(random, depth - 1));
    if random.random() { format!("{left}{word}{right}") } else { format!("not({left}{word}{right})") }
}

#[tokio::test]
async fn every_accepted_condition_is_the_servers_own_in_a_second_pass() {
    let connection = administrator().await;
    let mut stack = with_rows(&connection, "forms").await;
    let mut random = StdRng::seed_from_u64(seed());
    let drawn = (0..count("WEIR_TEST_CONDITIONS", 2)).map(|_| random_condition(&mut random, 2));
    let conditions: Vec<_> = CONDITIONS.map(str::to_owned).into_iter().chain(drawn).collect();
    for condition in &conditions {
        let desired = desired_of(&connection, &mut stack, filtered("eu", "events", Some(condition))).await;
        assert_eq!(desired.refused_conditions(), [], "{condition}");
        assert!(!pass(&connection, &desired).await.is_empty(), "{condition}");
        assert_eq!(pass(&connection, &desired).await, [], "{condition}");
    }
    println!("figure: {} conditions, each unchanged in a second pass", conditions.len());
}

#[tokio::test]
async fn a_ledger_of_an_older_operator_takes_the_new_kinds() {
    use super::super::super::ledger::widen_statement;
    let (connection, stack) = (administrator().await, stack("older"));
    pass(&connection, &stack.desired(&stack.logins())).await;
    let table = format!("intents_{}", stack.owner.name);
    let qualified = format!("weir_ledger.{}", identifier(&table));
    let older = format!(
        "CREATE TABLE {qualified} (nonce UUID, kind Enum8('database' = 1, 'role' = 2, 'user' = 3), name String) \
         ENGINE = MergeTree ORDER BY (kind, name, nonce) SETTINGS enable_block_number_column = 1"
    );
    connection.execute(&older).await.unwrap();
    connection
        .execute(&format!("INSERT INTO {qualified} VALUES (generateUUIDv4(), 'role', 'a')"))
        .await
        .unwrap();
    assert_eq!(widen_statement(&table, [&Entity::role("a")]), None);
    let widen = widen_statement(&table, [&super::super::super::quota::entity("b")]).unwrap();
    for statement in [
        widen.clone(),
        widen,
        format!(
            "INSERT INTO {qualified} VALUES (generateUUIDv4(), 'row policy', 'b'), (generateUUIDv4(), 'quota', 'c')"
        ),
    ] {
        connection.execute(&statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    let kinds =
        format!("SELECT toString(groupArray(kind)) FROM (SELECT kind FROM {qualified} ORDER BY kind)");
    assert_eq!(connection.value(&kinds).await.unwrap(), "['role','row policy','quota']");
    root().execute(&format!("DROP TABLE {qualified}")).await.unwrap();
}
