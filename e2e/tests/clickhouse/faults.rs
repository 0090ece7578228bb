//! Faults on demand, the ways to put a statement into a request, and HTTPS.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tokio::net::TcpStream;
use weir_e2e::clickhouse::{Effect, Fault};

use crate::client::{ADMIN, Folder, address, ask, ask_over, run, start, try_ask};

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_does_what_it_says_and_ends_when_cleared() {
    let folder = Folder::new("faults");
    let server = start(&folder.0).await;
    let at = address(&server);
    run(&server, "CREATE DATABASE shop").await;
    run(&server, "CREATE TABLE shop.t (a Int32) ENGINE MergeTree ORDER BY a").await;

    server.fault(Fault::lasting(Effect::Refuse));
    let refused = async {
        while TcpStream::connect(at).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), refused).await.unwrap();
    server.clear_faults();
    let accepted = async {
        while try_ask(at, ADMIN, "/", "SELECT 1").await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), accepted).await.unwrap();

    server.fault(Fault::once(Effect::Refuse).only("INSERT"));
    assert_eq!(run(&server, "SELECT 1").await, "1");
    try_ask(at, ADMIN, "/", "INSERT INTO shop.t VALUES (1)").await.unwrap_err();
    assert_eq!(run(&server, "SELECT count() FROM shop.t").await, "0");

    server.fault(Fault::once(Effect::DropAnswer).only("INSERT"));
    try_ask(at, ADMIN, "/", "INSERT INTO shop.t VALUES (1)").await.unwrap_err();
    assert_eq!(run(&server, "SELECT count() FROM shop.t").await, "1");

    server.fault(Fault::once(Effect::Pretend).only("INSERT"));
    run(&server, "INSERT INTO shop.t VALUES (1)").await;
    assert_eq!(run(&server, "SELECT count() FROM shop.t").await, "1");

    server.fault(Fault::once(Effect::Pretend).only("CREATE ROLE"));
    run(&server, "CREATE ROLE pretended").await;
    assert_eq!(run(&server, "SELECT count() FROM system.roles").await, "0");

    let full = Effect::Exception { code: 243, name: "NOT_ENOUGH_SPACE".to_owned() };
    server.fault(Fault { effect: full, times: Some(2), contains: Some("INSERT".to_owned()) });
    for code in [243, 243, 0] {
        assert_eq!(ask(&server, ADMIN, "INSERT INTO shop.t VALUES (1)").await.code, code);
    }

    let began = Instant::now();
    server.fault(Fault::once(Effect::Late { millis: 300 }));
    run(&server, "SELECT 1").await;
    assert!(began.elapsed() >= Duration::from_millis(300));

    server.fault(Fault::once(Effect::Hang));
    let hanging = tokio::spawn(async move { try_ask(at, ADMIN, "/", "SELECT 1").await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!hanging.is_finished());
    server.clear_faults();
    hanging.await.unwrap().unwrap_err();
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_control_endpoint_sets_faults_imports_and_tells_the_state() {
    let folder = Folder::new("control");
    let server = start(&folder.0).await;
    let control = server.control_url().strip_prefix("http://").unwrap().parse().unwrap();
    let say = |path: &'static str, body: &'static str| async move {
        try_ask(control, ("", ""), path, body).await.unwrap()
    };
    let fault = r#"{"effect": {"exception": {"code": 242, "name": "TABLE_IS_READ_ONLY"}}, "times": 1}"#;
    assert_eq!(say("/fault", fault).await.status, 200);
    assert_eq!(ask(&server, ADMIN, "SELECT 1").await.code, 242);
    assert_eq!(ask(&server, ADMIN, "SELECT 1").await.code, 0);
    assert_eq!(say("/fault", r#"{"effect": "unheard"}"#).await.status, 400);
    assert_eq!(say("/fault", r#"{"effect": "hang"}"#).await.status, 200);
    assert_eq!(say("/clear", "").await.status, 200);
    assert_eq!(say("/import", "CREATE ROLE a;\nCREATE ROLE b;\n").await.status, 200);
    assert_eq!(server.restarts(), 1);
    assert_eq!(run(&server, "SELECT count() FROM system.roles").await, "2");
    assert_eq!(say("/kill", "").await.status, 200);
    assert_eq!(run(&server, "SELECT count() FROM system.roles").await, "2");
    assert_eq!(say("/nothing", "").await.status, 404);
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_is_found_wherever_a_client_puts_it() {
    let folder = Folder::new("places");
    let server = start(&folder.0).await;
    let at = address(&server);
    let ask_at =
        |path: &'static str, body: String| async move { try_ask(at, ADMIN, path, &body).await.unwrap() };
    assert_eq!(ask_at("/?query=CREATE+ROLE+in_url", String::new()).await.code, 0);
    assert_eq!(ask_at("/?query=CREATE", "ROLE in_both".to_owned()).await.code, 0);
    assert_eq!(ask_at("/", "-- a comment\nCREATE ROLE in_body;".to_owned()).await.code, 0);
    assert_eq!(run(&server, "SELECT count() FROM system.roles").await, "3");

    assert_eq!(ask_at("/?param_n=5", "SELECT {n:UInt8}".to_owned()).await.text, "5");
    run(&server, "CREATE DATABASE shop").await;
    run(&server, "CREATE TABLE shop.t (a Int32) ENGINE MergeTree ORDER BY a").await;
    let rows = (0..200_000).map(|n| n.to_string()).collect::<Vec<_>>().join("\n");
    assert!(rows.len() > 1024 * 1024);
    assert_eq!(ask_at("/?query=INSERT+INTO+shop.t+FORMAT+TSV", rows.clone()).await.code, 0);
    assert_eq!(ask_at("/", format!("INSERT INTO shop.t FORMAT TSV\n{rows}")).await.code, 0);
    assert_eq!(
        run(&server, "SELECT count(), uniq(a) = 200000 FROM shop.t").await.split('\t').next(),
        Some("400000")
    );
    assert_eq!(
        ask_at("/", "SELECT number FROM numbers(300000)".to_owned()).await.text.lines().count(),
        300_000
    );
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn https_is_trusted_with_the_servers_ca_and_only_with_it() {
    let folder = Folder::new("https");
    let server = start(&folder.0).await;
    let address = server.https_url().unwrap();
    let address = address.strip_prefix("https://").unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    for (is_trusted, name) in
        [(true, "localhost"), (true, "127.0.0.1"), (false, "localhost"), (true, "other.test")]
    {
        let mut roots = rustls::RootCertStore::empty();
        if is_trusted {
            roots.add(CertificateDer::from_pem_slice(server.ca_pem().unwrap().as_bytes()).unwrap()).unwrap();
        }
        let config = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let stream = TcpStream::connect(address).await.unwrap();
        let stream = connector.connect(ServerName::try_from(name).unwrap(), stream).await;
        if is_trusted && name != "other.test" {
            let answer = ask_over(stream.unwrap(), ADMIN, "/", "SELECT 1").await.unwrap();
            assert_eq!(answer.text, "1");
        } else {
            stream.unwrap_err();
        }
    }
    server.stop().await.unwrap();
}
