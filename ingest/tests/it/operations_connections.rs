//! Connections: an answer that comes before the whole request reaches its client, and the connection stays usable.

use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::service::Running;
use crate::service::start;

const ONE: &str = r#"{"api_key":"first-key","batch":[{"event":"a","distinct_id":"u1"}]}"#;

async fn connect(service: &Running) -> TcpStream {
    TcpStream::connect(service.address).await.unwrap()
}

fn head(length: usize, more: &str) -> String {
    format!(
        "POST /batch/ HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{more}\r\n"
    )
}

/// Reads one answer: its status and its head.
async fn answer(stream: &mut TcpStream) -> (u16, String) {
    let mut head = Vec::new();
    let read = async {
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let text = String::from_utf8(head).unwrap();
        let length = text.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        stream.read_exact(&mut body).await.unwrap();
        (text[9..12].parse().unwrap(), text)
    };
    tokio::time::timeout(Duration::from_secs(40), read).await.expect("an answer comes")
}

/// Whether the other side ends the connection.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let read = tokio::time::timeout(Duration::from_secs(30), stream.read(&mut [0; 1])).await;
    matches!(read, Ok(Ok(0) | Err(_)))
}

#[tokio::test]
async fn an_early_413_is_read_by_a_client_that_sends_it_all_and_the_next_request_works() {
    let service = start().await;
    let mut stream = connect(&service).await;
    let length = 30 << 20;
    stream.write_all(head(length, "").as_bytes()).await.unwrap();
    let piece = vec![b' '; 1 << 20];
    for _ in 0..30 {
        stream.write_all(&piece).await.unwrap();
    }
    assert_eq!(answer(&mut stream).await.0, 413);
    stream.write_all(format!("{}{ONE}", head(ONE.len(), "")).as_bytes()).await.unwrap();
    assert_eq!(answer(&mut stream).await.0, 200);
    service.clean().await;
}

#[tokio::test]
async fn an_early_403_does_not_take_the_body_for_the_next_request() {
    let service = start().await;
    let mut stream = connect(&service).await;
    let refused = format!("{}{ONE}", head(ONE.len(), "origin: https://evil.example\r\n"));
    let accepted = format!("{}{ONE}", head(ONE.len(), ""));
    stream.write_all(format!("{refused}{accepted}{refused}").as_bytes()).await.unwrap();
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(answer(&mut stream).await.0);
    }
    assert_eq!(statuses, [403, 200, 403]);
    service.clean().await;
}

#[tokio::test]
async fn a_body_far_above_the_limit_is_refused_readably_and_the_connection_ends() {
    let service = start().await;
    let mut stream = connect(&service).await;
    stream.write_all(head(1 << 40, "").as_bytes()).await.unwrap();
    // Bytes that nobody will read: without lingering they would take the answer back.
    stream.write_all(&vec![b' '; 256 << 10]).await.unwrap();
    let (status, head) = answer(&mut stream).await;
    assert_eq!(status, 413);
    assert!(head.contains("connection: close"), "{head}");
    assert!(is_closed(&mut stream).await);
    service.clean().await;
}

#[tokio::test]
async fn who_waits_for_a_go_ahead_gets_it_only_when_the_body_is_wanted() {
    let service = start().await;
    let mut stream = connect(&service).await;
    stream.write_all(head(ONE.len(), "expect: 100-continue\r\n").as_bytes()).await.unwrap();
    let mut go_ahead = [0; 25];
    stream.read_exact(&mut go_ahead).await.unwrap();
    assert_eq!(&go_ahead, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(ONE.as_bytes()).await.unwrap();
    assert_eq!(answer(&mut stream).await.0, 200);
    let refused = head(ONE.len(), "expect: 100-continue\r\norigin: https://evil.example\r\n");
    stream.write_all(refused.as_bytes()).await.unwrap();
    assert_eq!(answer(&mut stream).await.0, 403);
    service.clean().await;
}

#[tokio::test]
async fn a_chunked_body_without_a_length_is_read_and_bounded() {
    let service = start().await;
    let mut stream = connect(&service).await;
    let head = "POST /batch/ HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    let (one, two) = ONE.split_at(20);
    let chunks = format!("{:x}\r\n{one}\r\n{:x}\r\n{two}\r\n0\r\n\r\n", one.len(), two.len());
    stream.write_all(format!("{head}{chunks}").as_bytes()).await.unwrap();
    assert_eq!(answer(&mut stream).await.0, 200);
    let piece = format!("{:x}\r\n{}\r\n", 1 << 20, " ".repeat(1 << 20));
    stream.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..22 {
        stream.write_all(piece.as_bytes()).await.unwrap();
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    assert_eq!(answer(&mut stream).await.0, 413);
    stream.write_all(format!("{head}{chunks}").as_bytes()).await.unwrap();
    assert_eq!(answer(&mut stream).await.0, 200);
    service.clean().await;
}

#[tokio::test]
async fn headers_are_bounded_and_their_refusal_is_read() {
    let service = start().await;
    let mut stream = connect(&service).await;
    let long = format!("x-long: {}\r\n", "a".repeat(1000)).repeat(64);
    stream.write_all(head(0, &long).as_bytes()).await.unwrap();
    assert_eq!(answer(&mut stream).await.0, 431);
    assert!(is_closed(&mut stream).await);
    service.clean().await;
}

#[tokio::test]
async fn a_head_that_does_not_come_and_a_body_that_stops_are_given_up() {
    let service = start().await;
    let (mut silent, mut half, mut stopped) =
        (connect(&service).await, connect(&service).await, connect(&service).await);
    half.write_all(b"POST /batch/ HTTP/1.1\r\nhost:").await.unwrap();
    stopped.write_all(format!("{}{}", head(ONE.len(), ""), &ONE[..10]).as_bytes()).await.unwrap();
    let stops = async {
        let (status, _) = answer(&mut stopped).await;
        (status, is_closed(&mut stopped).await)
    };
    let (silent, half, stopped) = tokio::join!(is_closed(&mut silent), is_closed(&mut half), stops);
    assert_eq!((silent, half, stopped), (true, true, (408, true)));
    service.clean().await;
}
