//! The table of cases of the ClickHouse development server: what each access statement answers, in order, on one server.
//! `note` says where the result differs from what ClickHouse documents; without a note it does not.

#[path = "clickhouse/client.rs"]
mod client;
#[path = "clickhouse/faults.rs"]
mod faults;
#[path = "clickhouse/restarts.rs"]
mod restarts;

use client::{ADMIN, FIRST, Folder, SECOND, address, start, try_ask};

/// One row of the table.
struct Case {
    login: (&'static str, &'static str),
    sql: &'static str,
    expected: Expected,
    note: &'static str,
}

enum Expected {
    /// Success with any text.
    Done,
    /// Success with this text.
    Text(&'static str),
    /// This exception.
    Code(u16),
}

use Expected::{Code, Done, Text};

const ANN: (&str, &str) = ("ann", FIRST);
const ANN_AGAIN: (&str, &str) = ("ann", SECOND);

const fn case(login: (&'static str, &'static str), sql: &'static str, expected: Expected) -> Case {
    Case { login, sql, expected, note: "" }
}

const fn noted(
    login: (&'static str, &'static str),
    sql: &'static str,
    expected: Expected,
    note: &'static str,
) -> Case {
    Case { login, sql, expected, note }
}

const CASES: &[Case] = &[
    // Logins.
    case(ADMIN, "SELECT 1", Text("1")),
    case(("admin", "wrong"), "SELECT 1", Code(516)),
    case(("nobody", ""), "SELECT 1", Code(516)),
    noted(
        ("default", ""),
        "SELECT 1",
        Code(194),
        "`default` exists for the engine's own session and refuses every client",
    ),
    noted(
        ADMIN,
        "SELECT groupArray(storage) FROM (SELECT DISTINCT storage FROM system.users)",
        Text("['users_xml']"),
        "ClickHouse keeps SQL users in local_directory",
    ),
    case(ADMIN, "CREATE DATABASE shop", Done),
    case(ADMIN, "CREATE TABLE shop.t (a Int32, b Int32) ENGINE MergeTree ORDER BY a", Done),
    case(ADMIN, "CREATE TABLE shop.u (a Int32) ENGINE MergeTree ORDER BY a", Done),
    // Roles.
    case(ADMIN, "CREATE ROLE `reader`", Done),
    noted(ADMIN, "CREATE ROLE reader", Code(493), "asked of the engine it is 495"),
    case(ADMIN, "create /* again */ role if not exists \"reader\"", Done),
    case(ADMIN, "DROP ROLE nobody", Code(511)),
    case(ADMIN, "DROP ROLE IF EXISTS nobody", Done),
    noted(ADMIN, "ALTER ROLE reader RENAME TO r", Code(48), "refused loudly: Weir does not send it"),
    noted(ADMIN, "CREATE ROLE `a.b`", Code(48), "a name must be the name of an XML element"),
    // Privileges.
    case(ADMIN, "GRANT SELECT ON shop.* TO nobody", Code(511)),
    case(ADMIN, "GRANT SELECT ON shop.* TO `reader`", Done),
    case(ADMIN, "SHOW GRANTS FOR reader", Text("GRANT SELECT ON shop.* TO reader")),
    case(ADMIN, "GRANT SELECT ON shop.* TO reader", Done),
    noted(ADMIN, "GRANT SELECT ON t TO reader", Code(48), "the session's database is not known: name it"),
    case(ADMIN, "GRANT NONSENSE ON shop.* TO reader", Code(62)),
    // Users.
    case(ADMIN, "CREATE USER ann IDENTIFIED WITH sha256_hash BY '{first}' DEFAULT ROLE `reader`", Done),
    noted(
        ADMIN,
        "CREATE USER ann IDENTIFIED WITH sha256_hash BY '{first}'",
        Code(493),
        "asked of the engine it is 495",
    ),
    case(ADMIN, "CREATE USER IF NOT EXISTS ann IDENTIFIED WITH sha256_hash BY '{second}'", Done),
    case(ANN, "SELECT count() FROM shop.t", Text("0")),
    case(ANN_AGAIN, "SELECT 1", Code(516)),
    case(ANN, "INSERT INTO shop.t VALUES (1, 1)", Code(497)),
    case(ANN, "CREATE ROLE x", Code(497)),
    case(ANN, "DROP USER ann", Code(497)),
    case(ANN, "GRANT SELECT ON shop.* TO reader", Code(497)),
    case(ANN, "SELECT * FROM system.users", Code(497)),
    case(ADMIN, "SHOW GRANTS FOR ann", Text("GRANT reader TO ann")),
    case(ADMIN, "CREATE USER bad IDENTIFIED WITH sha256_hash BY 'zz'", Code(36)),
    case(ADMIN, "CREATE USER bad IDENTIFIED WITH", Code(62)),
    case(ADMIN, "CREATE USER bad IDENTIFIED WITH sha256_hash BY '{first}' DEFAULT ROLE nobody", Code(511)),
    noted(
        ADMIN,
        "CREATE USER bad IDENTIFIED WITH no_password",
        Code(48),
        "refused loudly, unless with HOST NONE",
    ),
    noted(
        ADMIN,
        "CREATE USER bad IDENTIFIED WITH plaintext_password BY 'x'",
        Code(48),
        "only sha256_hash is kept",
    ),
    noted(
        ADMIN,
        "CREATE USER bad IDENTIFIED WITH sha256_hash BY '{first}' SALT 'x'",
        Code(48),
        "users.xml has no salt",
    ),
    case(ADMIN, "ALTER USER nobody HOST ANY", Code(192)),
    case(ADMIN, "DROP USER nobody", Code(192)),
    case(ADMIN, "DROP USER IF EXISTS nobody", Done),
    case(ADMIN, "DROP USER admin", Code(495)),
    case(ADMIN, "ALTER USER default HOST ANY", Code(495)),
    case(ADMIN, "CREATE USER admin IDENTIFIED WITH sha256_hash BY '{first}'", Code(493)),
    // Columns, partial revokes, the grant option.
    case(ADMIN, "GRANT INSERT(a) ON shop.t TO reader", Done),
    case(ANN, "INSERT INTO shop.t (a) VALUES (1)", Done),
    case(ANN, "INSERT INTO shop.t (a, b) VALUES (1, 1)", Code(497)),
    case(ADMIN, "REVOKE INSERT ON shop.t FROM reader", Done),
    case(ANN, "INSERT INTO shop.t (a) VALUES (1)", Code(497)),
    case(ADMIN, "REVOKE SELECT ON shop.u FROM reader", Done),
    case(ANN, "SELECT count() FROM shop.u", Code(497)),
    case(ANN, "SELECT count() FROM shop.t", Text("1")),
    case(ADMIN, "GRANT SELECT ON shop.t TO reader WITH GRANT OPTION", Done),
    case(ADMIN, "CREATE ROLE writer", Done),
    case(ANN, "GRANT SELECT ON shop.t TO writer", Done),
    case(
        ADMIN,
        "SELECT access_type, database, table, is_partial_revoke FROM system.grants WHERE role_name = 'writer' FORMAT CSV",
        Text("\"SELECT\",\"shop\",\"t\",0"),
    ),
    case(ADMIN, "CREATE ROLE replaced", Done),
    case(ADMIN, "GRANT SELECT ON shop.* TO replaced", Done),
    case(ADMIN, "GRANT INSERT ON shop.t TO replaced WITH REPLACE OPTION", Done),
    case(ADMIN, "SHOW GRANTS FOR replaced", Text("GRANT INSERT ON shop.t TO replaced")),
    noted(ADMIN, "GRANT replaced TO ann WITH REPLACE OPTION", Code(48), "kept for privileges, not for roles"),
    case(ADMIN, "DROP ROLE replaced", Done),
    // Default roles.
    case(ADMIN, "GRANT INSERT ON shop.t TO writer", Done),
    case(ADMIN, "SET DEFAULT ROLE writer TO ann", Code(512)),
    case(ADMIN, "GRANT writer TO ann", Done),
    noted(
        ADMIN,
        "SELECT default_roles_all, default_roles_list FROM system.users WHERE name = 'ann'",
        Text("1\t[]"),
        "users.xml has no default roles: the proxy adds role= to the user's requests, so only system.users shows it",
    ),
    case(ANN, "INSERT INTO shop.t VALUES (1, 1)", Code(497)),
    case(ADMIN, "SET DEFAULT ROLE writer TO ann", Done),
    case(ANN, "INSERT INTO shop.t VALUES (1, 1)", Done),
    case(ADMIN, "ALTER USER ann DEFAULT ROLE ALL", Done),
    case(ANN, "SELECT count() FROM shop.t", Text("2")),
    noted(
        ADMIN,
        "SET DEFAULT ROLE NONE TO ann",
        Code(48),
        "a user with roles and none of them by default cannot be kept",
    ),
    case(
        ADMIN,
        "SELECT granted_role_name FROM system.role_grants WHERE user_name = 'ann' ORDER BY 1",
        Text("reader\nwriter"),
    ),
    case(ADMIN, "REVOKE writer FROM ann", Done),
    case(ANN, "INSERT INTO shop.t VALUES (1, 1)", Code(497)),
    case(ADMIN, "GRANT nobody TO ann", Code(511)),
    // Several methods.
    case(ADMIN, "ALTER USER ann IDENTIFIED WITH sha256_hash BY '{first}', sha256_hash BY '{second}'", Done),
    case(ANN, "SELECT 1", Text("1")),
    case(ANN_AGAIN, "SELECT 1", Text("1")),
    case(ADMIN, "SELECT length(auth_type) FROM system.users WHERE name = 'ann'", Text("2")),
    case(ADMIN, "ALTER USER ann IDENTIFIED WITH sha256_hash BY '{second}'", Done),
    case(ANN, "SELECT 1", Code(516)),
    case(ANN_AGAIN, "SELECT 1", Text("1")),
    case(ADMIN, "ALTER USER ann ADD IDENTIFIED WITH sha256_hash BY '{first}' DEFAULT ROLE ALL", Done),
    case(ANN, "SELECT 1", Text("1")),
    case(ANN_AGAIN, "SELECT 1", Text("1")),
    case(ADMIN, "ALTER USER ann IDENTIFIED WITH sha256_hash BY '{second}'", Done),
    case(ANN, "SELECT 1", Code(516)),
    // Whether an entity can be changed.
    case(ADMIN, "REVOKE USAGE ON *.* FROM ann", Done),
    case(ADMIN, "REVOKE USAGE ON *.* FROM reader", Done),
    case(ADMIN, "REVOKE USAGE ON *.* FROM default", Code(495)),
    case(ADMIN, "REVOKE USAGE ON *.* FROM nobody", Code(511)),
    // Hosts.
    case(ADMIN, "ALTER USER ann HOST IP '10.1.2.3'", Done),
    case(ADMIN, "ALTER USER ann ADD HOST IP '127.0.0.0/8' DEFAULT ROLE ALL", Done),
    case(ANN_AGAIN, "SELECT 1", Text("1")),
    case(ADMIN, "ALTER USER ann ADD HOST ANY", Done),
    case(ADMIN, "SELECT host_ip FROM system.users WHERE name = 'ann'", Text("['::/0']")),
    case(ADMIN, "ALTER USER ann HOST IP '10.1.2.3'", Done),
    case(ANN_AGAIN, "SELECT 1", Code(516)),
    case(ADMIN, "ALTER USER ann HOST IP '10.1.2.3', IP '127.0.0.0/8'", Done),
    case(ANN_AGAIN, "SELECT 1", Text("1")),
    case(ADMIN, "ALTER USER ann HOST NONE", Done),
    case(ANN_AGAIN, "SELECT 1", Code(516)),
    case(ADMIN, "ALTER USER ann HOST ANY", Done),
    case(ADMIN, "CREATE USER shop_definer NOT IDENTIFIED HOST NONE", Done),
    case(("shop_definer", ""), "SELECT 1", Code(516)),
    // Validity.
    case(ADMIN, "ALTER USER ann VALID UNTIL '2020-01-01 00:00:00'", Done),
    noted(ANN_AGAIN, "SELECT 1", Code(516), "judged by the proxy: the engine ignores validity in users.xml"),
    case(ADMIN, "ALTER USER ann VALID UNTIL 'infinity'", Done),
    case(ANN_AGAIN, "SELECT 1", Text("1")),
    // Settings.
    case(ADMIN, "ALTER USER ann SETTINGS max_threads = 1 MAX 2, readonly = 2", Done),
    noted(
        ANN_AGAIN,
        "SELECT getSetting('max_threads')",
        Text("1"),
        "kept as a profile `user_ann`, which system.settings_profiles shows",
    ),
    case(ANN_AGAIN, "SELECT 1 SETTINGS max_threads = 3", Code(452)),
    case(ANN_AGAIN, "SELECT 1 SETTINGS max_threads = 2", Text("1")),
    // Row policies. Once a table has one, only those see rows whom a permissive one admits.
    case(ADMIN, "INSERT INTO shop.t VALUES (7, 7)", Done),
    case(ADMIN, "CREATE ROW POLICY p ON shop.t AS RESTRICTIVE FOR SELECT USING (a=7) TO reader", Done),
    case(ANN_AGAIN, "SELECT count() FROM shop.t", Text("0")),
    noted(
        ADMIN,
        "SELECT count() FROM shop.t",
        Text("0"),
        "as with users_without_row_policies_can_read_rows = false, the harder of both",
    ),
    case(ADMIN, "CREATE ROW POLICY open ON shop.t AS PERMISSIVE FOR SELECT USING 1 TO ALL", Done),
    case(ANN_AGAIN, "SELECT sum(a) FROM shop.t", Text("7")),
    case(ADMIN, "SELECT count() > 1 FROM shop.t", Text("1")),
    case(
        ADMIN,
        "SELECT name, select_filter, is_restrictive, apply_to_all, apply_to_list FROM system.row_policies ORDER BY 1",
        Text("open ON shop.t\t1\t0\t1\t[]\np ON shop.t\t(a = 7)\t1\t0\t['reader']"),
    ),
    case(ANN_AGAIN, "SELECT name FROM system.row_policies", Code(497)),
    case(ANN_AGAIN, "DROP ROW POLICY IF EXISTS p ON shop.t", Code(497)),
    noted(
        ADMIN,
        "CREATE ROW POLICY p ON shop.t USING 1 TO reader",
        Code(493),
        "asked of the engine it is 514",
    ),
    case(ADMIN, "CREATE ROW POLICY bad ON shop.t USING a = TO reader", Code(62)),
    case(ADMIN, "ALTER ROW POLICY nobody ON shop.t USING 1 TO reader", Code(523)),
    case(ADMIN, "DROP ROW POLICY nobody ON shop.t", Code(523)),
    case(ADMIN, "ALTER ROW POLICY p ON shop.t AS RESTRICTIVE FOR SELECT USING a < 7 TO reader", Done),
    case(ANN_AGAIN, "SELECT countIf(a = 7) FROM shop.t", Text("0")),
    case(ADMIN, "DROP ROW POLICY p ON shop.t", Done),
    case(ADMIN, "DROP ROW POLICY IF EXISTS open ON shop.t", Done),
    case(ANN_AGAIN, "SELECT countIf(a = 7) FROM shop.t", Text("1")),
    case(ADMIN, "SELECT count() FROM system.row_policies", Text("0")),
    // Quotas.
    case(
        ADMIN,
        "CREATE QUOTA q NOT KEYED FOR INTERVAL 1 hour MAX queries = 2, FOR INTERVAL 60 second MAX errors = 9 TO reader",
        Done,
    ),
    case(
        ADMIN,
        "SELECT duration, max_queries, max_errors FROM system.quota_limits WHERE quota_name = 'q' ORDER BY 1",
        Text("60\t\\N\t9\n3600\t2\t\\N"),
    ),
    case(ANN_AGAIN, "SELECT count() FROM shop.t WHERE 0", Text("0")),
    case(ANN_AGAIN, "SELECT count() FROM shop.t WHERE 0", Text("0")),
    noted(
        ANN_AGAIN,
        "SELECT count() FROM shop.t WHERE 0",
        Code(201),
        "counted for each user, where ClickHouse counts all users of a quota that is not keyed together, and from nothing after each change of access",
    ),
    case(ANN_AGAIN, "SELECT currentUser()", Text("ann")),
    case(ANN_AGAIN, "CHECK GRANT SELECT ON shop.t", Code(201)),
    case(ADMIN, "ALTER QUOTA q NOT KEYED FOR INTERVAL 1 hour NO LIMITS TO reader", Done),
    case(ADMIN, "SELECT keys, durations, apply_to_list FROM system.quotas", Text("[]\t[60]\t['reader']")),
    case(ANN_AGAIN, "DROP QUOTA q", Code(497)),
    case(ADMIN, "DROP QUOTA nobody", Code(199)),
    case(ADMIN, "DROP QUOTA q", Done),
    case(ADMIN, "SELECT count() FROM system.quotas", Text("0")),
    // What is refused loudly.
    noted(
        ADMIN,
        "CREATE QUOTA q KEYED BY ip_address FOR INTERVAL 1 HOUR MAX QUERIES 10 TO ann",
        Code(48),
        "not kept",
    ),
    noted(ADMIN, "CREATE SETTINGS PROFILE p SETTINGS max_threads = 1", Code(48), "not kept"),
    noted(ADMIN, "CREATE ROLE c ON CLUSTER some", Code(392), "the engine has no clusters of its own"),
    // The end of it.
    case(ADMIN, "DROP ROLE reader, writer", Done),
    case(ANN_AGAIN, "SELECT count() FROM shop.t", Code(497)),
    case(ADMIN, "DROP USER ann, shop_definer", Done),
    case(ANN_AGAIN, "SELECT 1", Code(516)),
    case(ADMIN, "SELECT count() FROM system.users", Text("2")),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_access_statement_answers_as_the_table_says() {
    let folder = Folder::new("cases");
    let server = start(&folder.0).await;
    let mut wrong = Vec::new();
    for Case { login, sql, expected, note } in CASES {
        let answer = try_ask(address(&server), *login, "/", sql).await.unwrap();
        let is_right = match expected {
            Done => answer.code == 0 && answer.status == 200,
            Text(text) => answer.code == 0 && answer.text == *text,
            Code(code) => answer.code == *code,
        };
        if !is_right {
            wrong.push(format!("{} `{sql}` ({note}): {} {}", login.0, answer.code, answer.text));
        }
    }
    server.stop().await.unwrap();
    assert!(wrong.is_empty(), "{} of {} cases differ:\n{}", wrong.len(), CASES.len(), wrong.join("\n"));
}
