//! The spool: answered once it is on disk, in ClickHouse afterwards, whatever happens in between.

use std::path::Path;
use std::path::PathBuf;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use serde_json::Value;
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::process::Command;
use weir_ingest::args::SettingsArgs;
use weir_ingest::clickhouse::Client;
use weir_ingest::service::Ended;
use weir_ingest::service::Service;
use weir_ingest::settings::Settings;

use crate::cable::Cable;
use crate::cable::State;
use crate::cable::cabled_with;
use crate::cable::lay;
use crate::load;
use crate::service::Running;
use crate::service::eventually;
use crate::service::serve;
use crate::service::settings;
use crate::service::start_with;

/// A folder that goes away with the test.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("spool-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        Self(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name))
    }

    pub(crate) fn path(&self) -> String {
        self.0.to_str().unwrap().to_owned()
    }

    /// Names of the segments.
    pub(crate) fn segments(&self) -> Vec<PathBuf> {
        let paths = std::fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path());
        let mut segments: Vec<_> =
            paths.filter(|path| path.extension().is_some_and(|ending| ending == "segment")).collect();
        segments.sort();
        segments
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn spooled(folder: &Folder) -> SettingsArgs {
    SettingsArgs { spool_dir: Some(folder.path()), drain_seconds: Some("2".into()), ..settings() }
}

fn one(id: usize) -> String {
    json!({"api_key": "first-key", "batch": [{"event": "a", "distinct_id": format!("u{id}")}]}).to_string()
}

async fn stored(service: &Running) -> usize {
    service.value("SELECT count() FROM events").await.parse().unwrap()
}

async fn metric(service: &Running, name: &str) -> u64 {
    let text = service.admin("/metrics").await.body;
    let line = text
        .as_str()
        .unwrap()
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    line.unwrap_or_else(|| panic!("no {name} in {text}"))
}

async fn spool(args: &SettingsArgs, database: &str, arguments: &[&str]) -> (Option<i32>, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_weir-ingest"))
        .arg("spool")
        .args(arguments)
        .env("WEIR_SPOOL_DIR", args.spool_dir.as_ref().unwrap())
        .env("CLICKHOUSE_URL", args.clickhouse_url.as_ref().unwrap())
        .env("CLICKHOUSE_USER", args.clickhouse_user.clone().unwrap_or_default())
        .env("CLICKHOUSE_PASSWORD", args.clickhouse_password.clone().unwrap_or_default())
        .env("CLICKHOUSE_DATABASE", database)
        .output()
        .await
        .unwrap();
    let said = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code(), said)
}

/// A service that has ended with requests on its disk, and ClickHouse away.
struct Held {
    folder: Folder,
    args: SettingsArgs,
    settings: Settings,
    client: Client,
    cable: Cable,
}

async fn held(requests: usize) -> Held {
    let folder = Folder::new();
    let (args, client, cable) = lay(spooled(&folder)).await;
    let settings = Settings::from_args(&args).unwrap();
    let mut service = serve(&settings, client.clone()).await;
    service.ready().await;
    cable.set(State::Cut);
    for id in 0..requests {
        assert_eq!(service.post(one(id), &[]).await.status, 200);
    }
    service.terminate();
    assert_eq!(service.ended().await, Ended::Drained, "what is on disk is no failure");
    Held { folder, args, settings, client, cable }
}

#[tokio::test]
async fn what_is_on_disk_reaches_clickhouse_and_leaves_the_disk() {
    let folder = Folder::new();
    let mut service = start_with(spooled(&folder)).await;
    load::send(&service, &AtomicUsize::default()).await;
    eventually(async || stored(&service).await == load::ALL).await;
    load::assert_all_once(&service).await;
    eventually(async || metric(&service, "weir_ingest_spool_backlog_bytes").await == 0).await;
    service.terminate();
    assert_eq!(service.ended().await, Ended::Drained);
    assert!(folder.segments().is_empty(), "{:?}", folder.segments());
}

#[tokio::test]
async fn requests_are_taken_while_clickhouse_is_away_and_stored_when_it_is_back() {
    let folder = Folder::new();
    let (service, cable) = cabled_with(spooled(&folder)).await;
    service.ready().await;
    cable.set(State::Cut);
    for id in 0..20 {
        assert_eq!(service.post(one(id), &[]).await.status, 200);
    }
    assert_eq!(stored(&service).await, 0);
    assert!(metric(&service, "weir_ingest_spool_backlog_bytes").await > 0);
    assert_eq!(service.admin("/readyz").await.status, 200);
    cable.set(State::Whole);
    eventually(async || stored(&service).await == 20).await;
    service.clean().await;
}

#[tokio::test]
async fn what_could_not_be_sent_before_the_end_is_sent_by_the_next_process() {
    let Held { folder: _folder, args, settings, client, cable } = held(7).await;
    let database = settings.clickhouse.database.clone();
    let (_, status) = spool(&args, &database, &["status"]).await;
    assert_eq!((&status["waitingRequests"], &status["waitingEvents"]), (&json!(7), &json!(7)));

    cable.set(State::Whole);
    let service = serve(&settings, client).await;
    eventually(async || stored(&service).await == 7).await;
    service.clean().await;
}

#[tokio::test]
async fn a_folder_has_one_user_and_a_drain_empties_it() {
    let folder = Folder::new();
    let (args, client, cable) = lay(spooled(&folder)).await;
    let settings = Settings::from_args(&args).unwrap();
    let mut service = serve(&settings, client.clone()).await;
    service.ready().await;
    cable.set(State::Cut);
    assert_eq!(service.post(one(1), &[]).await.status, 200);
    assert!(
        Service::bind(&settings).await.unwrap_err().to_string().contains("another process uses the spool")
    );
    let database = settings.clickhouse.database.clone();
    assert_eq!(spool(&args, &database, &["drain"]).await, (Some(1), Value::Null));
    service.terminate();
    assert_eq!(service.ended().await, Ended::Drained);

    let (code, left) = spool(&args, &database, &["drain", "--timeout-seconds", "1"]).await;
    assert_eq!((code, &left["waitingRequests"]), (Some(1), &json!(1)));
    cable.set(State::Whole);
    let (code, left) = spool(&args, &database, &["drain"]).await;
    assert_eq!((code, &left["waitingRequests"], &left["bytes"]), (Some(0), &json!(0), &json!(0)));
    let count = client.query_text("SELECT count() FROM events FORMAT TSVRaw").await.unwrap();
    assert_eq!(count.trim_end(), "1");
    drop_database(&client, &database).await;
}

#[tokio::test]
async fn a_full_spool_is_503_and_takes_requests_again_once_there_is_room() {
    let folder = Folder::new();
    let args = SettingsArgs { spool_max_bytes: Some("20000".into()), ..spooled(&folder) };
    let (service, cable) = cabled_with(args).await;
    service.ready().await;
    cable.set(State::Cut);
    let mut taken = 0;
    loop {
        let answer = service.post(one(taken), &[]).await;
        if answer.status == 503 {
            assert!(answer.headers.contains_key("retry-after"));
            break;
        }
        assert_eq!(answer.status, 200);
        taken += 1;
        assert!(taken < 1000, "the bound holds");
    }
    cable.set(State::Whole);
    eventually(async || stored(&service).await == taken).await;
    eventually(async || service.post(one(taken), &[]).await.status == 200).await;
    eventually(async || stored(&service).await == taken + 1).await;
    service.clean().await;
}

#[tokio::test]
async fn a_disk_that_takes_no_more_is_503_and_nothing_is_acknowledged_meanwhile() {
    let folder = Folder::new();
    let service = start_with(spooled(&folder)).await;
    let aside = folder.0.with_extension("aside");
    std::fs::rename(&folder.0, &aside).unwrap();
    let answer = service.post(one(1), &[]).await;
    assert_eq!(answer.status, 503);
    assert!(answer.headers.contains_key("retry-after"));
    std::fs::rename(&aside, &folder.0).unwrap();
    assert_eq!(service.post(one(1), &[]).await.status, 200);
    eventually(async || stored(&service).await == 1).await;
    service.clean().await;
}

#[tokio::test]
async fn damage_in_the_middle_is_kept_aside_and_the_rest_is_stored() {
    let Held { folder, args, settings, client, cable } = held(3).await;
    let segment = folder.segments().remove(0);
    let mut bytes = std::fs::read(&segment).unwrap();
    let at = bytes.windows(2).rposition(|window| window == b"u1").unwrap();
    bytes[at] = b'U';
    std::fs::write(&segment, bytes).unwrap();

    cable.set(State::Whole);
    let service = serve(&settings, client).await;
    eventually(async || stored(&service).await == 2).await;
    assert_eq!(service.value("SELECT arraySort(groupArray(distinct_id)) FROM events").await, "['u0','u2']");
    assert!(metric(&service, "weir_ingest_spool_damaged_bytes_total").await > 0);
    let (_, status) = spool(&args, &settings.clickhouse.database, &["status"]).await;
    assert_eq!(status["damagedFiles"], 1);
    service.clean().await;
}

#[tokio::test]
async fn a_killed_process_loses_and_doubles_nothing_that_it_acknowledged() {
    let folder = Folder::new();
    let (args, client, cable) = lay(spooled(&folder)).await;
    let settings = Settings::from_args(&args).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut child = Command::new(env!("CARGO_BIN_EXE_weir-ingest"))
        .env("HOST", "127.0.0.1")
        .env("PORT", port.to_string())
        .env("WEIR_ADMIN_PORT", "0")
        .env("PUBLIC_API_KEYS", "first-key")
        .env("WEIR_SPOOL_DIR", args.spool_dir.as_ref().unwrap())
        .env("CLICKHOUSE_URL", args.clickhouse_url.as_ref().unwrap())
        .env("CLICKHOUSE_USER", args.clickhouse_user.clone().unwrap_or_default())
        .env("CLICKHOUSE_PASSWORD", args.clickhouse_password.clone().unwrap_or_default())
        .env("CLICKHOUSE_DATABASE", &settings.clickhouse.database)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    // The answers of ClickHouse stay away, so that the kill finds inserts that nobody has confirmed.
    cable.set(State::Late);
    eventually(async || TcpStream::connect(("127.0.0.1", port)).await.is_ok()).await;
    for id in 0..50 {
        assert!(post(port, &one(id)).await.starts_with("HTTP/1.1 200 "));
    }
    child.kill().await.unwrap();
    cable.set(State::Whole);
    let next = serve(&settings, client).await;
    eventually(async || metric(&next, "weir_ingest_spool_backlog_bytes").await == 0).await;
    assert_eq!(stored(&next).await, 50);
    next.clean().await;
}

/// Posts a batch over a connection of its own, and returns the answer.
async fn post(port: u16, body: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let head = "POST /batch/ HTTP/1.1\r\nhost: weir\r\nconnection: close\r\ncontent-type: application/json";
    let request = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn drop_database(client: &Client, database: &str) {
    client.without_database().execute(&format!("DROP DATABASE IF EXISTS {database}")).await.unwrap();
}
