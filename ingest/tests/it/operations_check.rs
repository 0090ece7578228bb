//! `check` as a process: what it finds, what it prints, how it ends.

use std::process::Command;
use std::process::Output;

use weir_ingest::args::SettingsArgs;

use crate::keys::hash;
use crate::service::settings;
use crate::service::start_with;

fn check(args: &SettingsArgs, more: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir-ingest"));
    command.arg("check").env_clear();
    for (name, value) in [
        ("CLICKHOUSE_URL", &args.clickhouse_url),
        ("CLICKHOUSE_USER", &args.clickhouse_user),
        ("CLICKHOUSE_PASSWORD", &args.clickhouse_password),
        ("CLICKHOUSE_DATABASE", &args.clickhouse_database),
        ("PUBLIC_API_KEYS", &args.public_api_keys),
    ] {
        command.envs(value.as_ref().map(|value| (name, value)));
    }
    command.envs(more.iter().copied()).output().unwrap()
}

/// Code and lines.
fn told(output: &Output) -> (i32, Vec<String>) {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    (output.status.code().unwrap(), text.lines().map(str::to_owned).collect())
}

#[tokio::test]
async fn everything_in_place_is_said_line_by_line_and_a_lent_login_that_can_read_is_a_warning() {
    let args = settings();
    let service = start_with(settings()).await;
    let args = SettingsArgs { clickhouse_database: Some(service.database.clone()), ..args };
    let (code, lines) = told(&check(&args, &[]));
    assert_eq!(code, 0, "{lines:#?}");
    assert_eq!(lines[0], "ok    settings: every one can be read");
    assert_eq!(lines[1], "ok    keys: 2 known, 2 usable now, file generation 0");
    assert!(lines[2].starts_with("ok    clickhouse: http://"), "{}", lines[2]);
    assert!(lines[3].starts_with("ok    schema: version "), "{}", lines[3]);
    assert!(lines.contains(&"ok    insert: events_data".to_owned()), "{lines:#?}");
    assert_eq!(lines.last().unwrap(), "warn  rights: the login may read events, which it does not need");
    let all = lines.join("\n");
    let password = args.clickhouse_password.unwrap_or_default();
    assert!(!all.contains("first-key") && (password.is_empty() || !all.contains(&password)), "{all}");
    service.clean().await;
}

#[tokio::test]
async fn the_folder_of_the_spool_is_tried_and_left_as_it_was() {
    let folder = std::env::temp_dir().join(format!("weir-check-{}", uuid::Uuid::now_v7()));
    let spool = folder.join("spool").display().to_string();
    let line = |max_bytes: &str, dir: &str| {
        let variables = [("WEIR_SPOOL_DIR", dir), ("WEIR_SPOOL_MAX_BYTES", max_bytes)];
        told(&check(&settings(), &variables)).1[2].clone()
    };
    assert_eq!(line("1048576", &spool), format!("ok    spool: {spool} can be written to"));
    assert_eq!(std::fs::read_dir(&spool).unwrap().count(), 0);
    let cramped = line("9000000000000000", &spool);
    assert!(
        cramped.starts_with("warn  spool: ") && cramped.contains("less than WEIR_SPOOL_MAX_BYTES"),
        "{cramped}"
    );
    std::fs::write(folder.join("file"), "in the way").unwrap();
    let refused = line("1048576", &folder.join("file").display().to_string());
    assert!(refused.starts_with("fail  spool: failed to make the folder "), "{refused}");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn a_login_that_can_only_insert_is_what_is_wanted() {
    let args = settings();
    let service = start_with(settings()).await;
    let (database, user) = (service.database.clone(), format!("{}_user", service.database));
    let password = "check-password";
    let statements = [
        format!("CREATE USER {user} IDENTIFIED WITH sha256_hash BY '{}'", hash(password)),
        format!("GRANT INSERT ON {database}.* TO {user}"),
    ];
    for statement in statements {
        service.clickhouse.execute(&statement).await.unwrap();
    }
    let logged_in = SettingsArgs {
        clickhouse_database: Some(database),
        clickhouse_user: Some(user.clone()),
        clickhouse_password: Some(password.into()),
        ..args
    };
    let (code, lines) = told(&check(&logged_in, &[]));
    assert_eq!(code, 0, "{lines:#?}");
    assert_eq!(lines.last().unwrap(), "ok    rights: the login cannot read events");
    service
        .clickhouse
        .execute(&format!("REVOKE INSERT ON {}.* FROM {user}", service.database))
        .await
        .unwrap();
    let (code, lines) = told(&check(&logged_in, &[]));
    assert_eq!(code, 1);
    let expected = "fail  insert: events_data: ClickHouse refused with code 497 (ACCESS_DENIED)";
    assert!(lines.contains(&expected.to_owned()), "{lines:#?}");
    service.clickhouse.execute(&format!("DROP USER {user}")).await.unwrap();
    service.clean().await;
}

#[test]
fn faults_are_told_apart_and_settings_that_cannot_work_end_with_64() {
    let args = SettingsArgs { clickhouse_url: Some("http://127.0.0.1:1".into()), ..SettingsArgs::default() };
    let (code, lines) = told(&check(&args, &[("WEIR_KEYS_FILE", "/nonexistent/keys.json")]));
    assert_eq!(code, 1);
    assert!(lines[1].starts_with("fail  keys: failed to read the keys file"), "{lines:#?}");
    assert!(lines[2].starts_with("fail  clickhouse: http://127.0.0.1:1/: failed to connect"), "{lines:#?}");
    let (code, lines) = told(&check(&args, &[("PORT", "x"), ("WEIR_IP_POLICY", "hash")]));
    assert_eq!(code, 64);
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines.iter().all(|line| line.starts_with("fail  settings: ")), "{lines:#?}");
}
