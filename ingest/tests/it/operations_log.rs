//! What the process writes to its log, and that readiness says what it should.

use std::io::BufRead as _;
use std::io::BufReader;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::mpsc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use serde_json::Value;

use crate::service::Running;
use crate::service::start;

const ONE: &str = r#"{"api_key":"secret-first-key","batch":[{"event":"a","distinct_id":"u1","properties":{"p":"secret-value"}}]}"#;

/// `serve` as a process.
struct Process {
    child: Child,
    port: u16,
    lines: Receiver<String>,
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Serves the database of a service that is there already.
fn serve(beside: &Running, level: &str) -> Process {
    let args = crate::service::settings();
    let port = free_port();
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir-ingest"));
    command.arg("serve").env_clear().stderr(Stdio::piped());
    command
        .env("HOST", "127.0.0.1")
        .env("PORT", port.to_string())
        .env("WEIR_ADMIN_PORT", free_port().to_string());
    command.env("LOG_LEVEL", level).env("PUBLIC_API_KEYS", "secret-first-key");
    command.env("CLICKHOUSE_URL", args.clickhouse_url.unwrap()).env("CLICKHOUSE_DATABASE", &beside.database);
    command.envs(args.clickhouse_user.map(|user| ("CLICKHOUSE_USER", user)));
    command.envs(args.clickhouse_password.map(|password| ("CLICKHOUSE_PASSWORD", password)));
    let mut child = command.spawn().unwrap();
    let reader = BufReader::new(child.stderr.take().unwrap());
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || reader.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    Process { child, port, lines }
}

impl Process {
    /// The lines that have come so far, each of them JSON.
    fn lines(&self) -> Vec<Value> {
        std::iter::from_fn(|| self.lines.recv_timeout(Duration::from_millis(300)).ok())
            .map(|line| serde_json::from_str(&line).expect("every line is JSON"))
            .collect()
    }

    /// Sends this many requests over the client of a service, all of which must be accepted.
    async fn send(&self, client: &Running, requests: usize) {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], self.port));
        crate::service::eventually(async || tokio::net::TcpStream::connect(address).await.is_ok()).await;
        for _ in 0..requests.div_ceil(100) {
            let answers = (0..requests.min(100)).map(|_| client.post_to(address, ONE));
            let answers = futures::future::join_all(answers).await;
            assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
        }
    }
}

#[tokio::test]
async fn accepted_requests_leave_no_line_at_info() {
    let service = start().await;
    let process = serve(&service, "info");
    process.send(&service, 1).await;
    let before = process.lines();
    assert!(before.iter().any(|line| line["message"] == "serving"), "{before:?}");
    process.send(&service, 1000).await;
    assert_eq!(process.lines(), Vec::<Value>::new());
    service.clean().await;
}

#[tokio::test]
async fn at_debug_a_request_is_tied_to_its_flush_and_no_line_holds_a_key_or_a_property() {
    let service = start().await;
    let process = serve(&service, "debug");
    process.send(&service, 1).await;
    let lines = process.lines();
    let said = |message: &str| lines.iter().find(|line| line["message"] == message).expect(message);
    let (flushed, answered) = (said("flushed"), said("answered"));
    assert!(flushed["weir.flush.id"].is_u64(), "{flushed}");
    assert_eq!(
        flushed["span"]["weir.request.id"], answered["span"]["weir.request.id"],
        "{flushed} {answered}"
    );
    assert_eq!(answered["http.response.status_code"], 200);
    let all = Value::Array(lines.clone()).to_string();
    assert!(!all.contains("secret"), "{all}");
    service.clean().await;
}
