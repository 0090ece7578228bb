//! Clients that send slower than anybody has to wait for.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

const TICK: Duration = Duration::from_millis(500);
/// The service's own bounds are 15 s for the first head and a minute for a body.
const PATIENCE: Duration = Duration::from_secs(80);
const HEAD: &str =
    "POST /batch/ HTTP/1.1\r\nhost: weir\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n";

/// What of a head is sent at once, so that it takes nearly what a head may have.
const LONG: usize = 15 * 1024;

/// Opens that many connections of each kind, and errs unless the service ends each by itself.
pub(super) async fn trickle(address: &str, connections: usize) -> anyhow::Result<String> {
    let kinds = [
        ("head", String::new(), HEAD.to_owned()),
        ("long head", format!("{HEAD}x-long: {}", "x".repeat(LONG)), "x".to_owned()),
        ("body", format!("{HEAD}\r\n"), " ".to_owned()),
    ];
    let mut clients = JoinSet::new();
    for (kind, beginning, rest) in kinds.iter().cycle().take(kinds.len() * connections).cloned() {
        let address = address.to_owned();
        clients.spawn(async move { (kind, drip(&address, &beginning, &rest).await) });
    }
    let mut longest = Duration::ZERO;
    while let Some(client) = clients.join_next().await {
        let (kind, ended) = client.context("a slow client panicked")?;
        longest = longest.max(ended.with_context(|| format!("a slow {kind}"))?);
    }
    Ok(format!(
        "{connections} slow heads, as many slow long heads and slow bodies ended within {:.0} s",
        longest.as_secs_f64()
    ))
}

/// Sends a beginning at once and the rest byte by byte, until the service answers or closes.
async fn drip(address: &str, beginning: &str, rest: &str) -> anyhow::Result<Duration> {
    let mut stream = TcpStream::connect(address).await.context("failed to connect")?;
    stream.write_all(beginning.as_bytes()).await.context("the beginning was refused")?;
    let started = Instant::now();
    let (mut reader, mut writer) = stream.split();
    let mut bytes = rest.as_bytes().chunks(1).cycle();
    let mut answer = vec![0; 64];
    loop {
        ensure!(started.elapsed() < PATIENCE, "is still being waited for after {PATIENCE:?}");
        match tokio::time::timeout(TICK, reader.read(&mut answer)).await {
            // Closed, or reset.
            Ok(Ok(0) | Err(_)) => return Ok(started.elapsed()),
            Ok(Ok(read)) => {
                let text = String::from_utf8_lossy(&answer[..read]).into_owned();
                let is_right = text.starts_with("HTTP/1.1 408") || text.starts_with("HTTP/1.1 400");
                if !is_right {
                    bail!("is answered with {}", text.lines().next().unwrap_or_default());
                }
                return Ok(started.elapsed());
            }
            Err(_) => {
                // A failure shows when it is read.
                drop(writer.write_all(bytes.next().unwrap_or_default()).await);
            }
        }
    }
}
