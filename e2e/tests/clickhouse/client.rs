//! A client of the development server, and a server of one's own for each test.

#![expect(clippy::unwrap_used, reason = "a step of the client that fails is a failure of the test")]

use std::{net::SocketAddr, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};
use weir_e2e::clickhouse::{Options, Server};

pub(crate) const ADMIN: (&str, &str) = ("admin", "the admin's password");
pub(crate) const FIRST: &str = "the first password of a user";
pub(crate) const SECOND: &str = "the second password of a user";

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// ClickHouse's number of the exception, 0 for none.
    pub(crate) code: u16,
    pub(crate) text: String,
}

/// A server in a folder of its own.
pub(crate) async fn start(folder: &Path) -> Server {
    Server::start(options(folder)).await.unwrap()
}

pub(crate) fn options(folder: &Path) -> Options {
    let engine = weir_e2e::tool::clickhouse_engine().unwrap();
    Options::new(engine, env!("CARGO_BIN_EXE_weir-e2e").into(), folder.to_owned(), ADMIN.1)
}

/// A folder that is removed at the end of the test.
#[derive(Debug)]
pub(crate) struct Folder(pub(crate) std::path::PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("weir-clickhouse-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// Puts the hashes of the two passwords into a statement.
pub(crate) fn with_hashes(sql: &str) -> String {
    let hash = |password: &str| hex::encode(Sha256::digest(password));
    sql.replace("{first}", &hash(FIRST)).replace("{second}", &hash(SECOND))
}

pub(crate) fn address(server: &Server) -> SocketAddr {
    server.url().strip_prefix("http://").unwrap().parse().unwrap()
}

/// Sends a statement; an error is a connection that ended without an answer.
pub(crate) async fn try_ask(
    at: SocketAddr,
    login: (&str, &str),
    path: &str,
    sql: &str,
) -> anyhow::Result<Answer> {
    ask_over(tokio::net::TcpStream::connect(at).await?, login, path, sql).await
}

pub(crate) async fn ask_over(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    (user, password): (&str, &str),
    path: &str,
    sql: &str,
) -> anyhow::Result<Answer> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let sql = with_hashes(sql);
    let request = Request::post(path)
        .header("host", "clickhouse")
        .header("content-length", sql.len())
        .header("authorization", format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
        .body(Full::new(bytes::Bytes::from(sql)))?;
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    let code = response.headers().get("x-clickhouse-exception-code");
    let code = code.map_or(0, |code| code.to_str().unwrap().parse().unwrap());
    let text = String::from_utf8(response.into_body().collect().await?.to_bytes().to_vec())?;
    Ok(Answer { status, code, text: text.trim_end().to_owned() })
}

/// Sends a statement that is answered.
pub(crate) async fn ask(server: &Server, login: (&str, &str), sql: &str) -> Answer {
    try_ask(address(server), login, "/", sql).await.unwrap()
}

/// Sends a statement as the admin that succeeds.
pub(crate) async fn run(server: &Server, sql: &str) -> String {
    let answer = ask(server, ADMIN, sql).await;
    assert_eq!((answer.status, answer.code), (200, 0), "{sql}: {}", answer.text);
    answer.text
}
