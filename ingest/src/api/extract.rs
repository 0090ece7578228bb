//! What a handler takes out of a request: encoding, origin, client address, and the body within its limits.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::Uri;
use axum::http::header;
use axum::middleware::Next;
use axum::response::IntoResponse as _;
use axum::response::Response;
use http_body_util::BodyExt as _;

use super::rejection::Rejection;
use crate::settings::Network;

/// Address of the other end of the connection; the server puts it into each request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Identity,
    Gzip,
}

/// How long a whole body may take to arrive, and how long nothing of it.
const BODY_TIMEOUT: Duration = Duration::from_mins(1);
const PIECE_TIMEOUT: Duration = Duration::from_secs(10);

/// Stored of a User-Agent header; real ones are shorter, and it is stored with every event of the request.
const MAX_USER_AGENT: usize = 1024;

/// Refuses unknown encodings on every path, before anything is read.
pub(crate) async fn refuse_unknown_encodings(request: Request, next: Next) -> Response {
    if asks_for_compression(request.uri()) {
        return Rejection::Encoding.into_response();
    }
    match encoding(request.headers()) {
        Ok(_) => next.run(request).await,
        Err(rejection) => rejection.into_response(),
    }
}

/// The parameter belongs to another wire format; here its mere presence is an error.
fn asks_for_compression(uri: &Uri) -> bool {
    let query = uri.query().unwrap_or_default();
    url::form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "compression")
}

/// How the body is packed.
pub(crate) fn encoding(headers: &HeaderMap) -> Result<Encoding, Rejection> {
    let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
    let Some(value) = values.next() else { return Ok(Encoding::Identity) };
    let is = |name: &str| value.as_bytes().eq_ignore_ascii_case(name.as_bytes());
    match values.next() {
        None if is("identity") => Ok(Encoding::Identity),
        None if is("gzip") => Ok(Encoding::Gzip),
        _ => Err(Rejection::Encoding),
    }
}

/// Refuses what is not declared as JSON.
pub(crate) fn require_json(headers: &HeaderMap) -> Result<(), Rejection> {
    let declared =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = declared.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") { Ok(()) } else { Err(Rejection::ContentType) }
}

/// The origin, unless it is absent or empty. One that is not text equals none that is listed.
pub(crate) fn origin(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    let origin = headers.get(header::ORIGIN).map(|value| String::from_utf8_lossy(value.as_bytes()));
    origin.filter(|origin| !origin.is_empty())
}

/// The User-Agent header, cut to what is stored.
pub(crate) fn user_agent(headers: &HeaderMap) -> String {
    let value = headers.get(header::USER_AGENT).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let mut text = value.unwrap_or_default().into_owned();
    text.truncate(text.floor_char_boundary(MAX_USER_AGENT));
    text
}

/// The client's address: the peer, or what trusted proxies say.
///
/// Proxies append to X-Forwarded-For, so it is read from the right, and the first address that is no trusted proxy is
/// the client: everything left of it could have been written by anyone.
pub(crate) fn client_ip(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut client = peer.to_canonical();
    let lines: Vec<_> =
        headers.get_all("x-forwarded-for").iter().filter_map(|line| line.to_str().ok()).collect();
    let hops = lines.iter().rev().flat_map(|line| line.rsplit(',')).map(str::trim);
    for hop in hops {
        if !is_trusted(client) {
            return client;
        }
        let Ok(address) = hop.parse::<IpAddr>() else { return client };
        client = address.to_canonical();
    }
    client
}

/// Refuses a declared length over the limit, before anything is read.
pub(crate) fn require_length_within(headers: &HeaderMap, max_bytes: usize) -> Result<usize, Rejection> {
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let length = declared.and_then(|text| text.parse().ok()).unwrap_or(0);
    if length > max_bytes { Err(Rejection::TooLarge) } else { Ok(length) }
}

/// Reads a body of at most `max_bytes`. `grow` is told what has come and how many more bytes are about to be taken,
/// before the next piece is awaited.
pub(super) async fn read_body(
    body: Body,
    declared: usize,
    max_bytes: usize,
    grow: impl FnMut(&[u8], usize) -> Result<(), Rejection>,
) -> Result<Vec<u8>, Rejection> {
    let read = collect(body, declared, max_bytes, grow);
    tokio::time::timeout(BODY_TIMEOUT, read).await.unwrap_or(Err(Rejection::Slow))
}

async fn collect(
    mut body: Body,
    declared: usize,
    max_bytes: usize,
    mut grow: impl FnMut(&[u8], usize) -> Result<(), Rejection>,
) -> Result<Vec<u8>, Rejection> {
    // Memory that is not yet written to costs nothing, so a false length does not either.
    let mut bytes = Vec::with_capacity(declared);
    loop {
        let piece = tokio::time::timeout(PIECE_TIMEOUT, body.frame()).await;
        let Some(frame) = piece.map_err(|_| Rejection::Slow)? else { return Ok(bytes) };
        let Ok(data) = frame.map_err(|_| Rejection::Cut)?.into_data() else { continue };
        if bytes.len() + data.len() > max_bytes {
            return Err(Rejection::TooLarge);
        }
        grow(&bytes, data.len())?;
        bytes.extend_from_slice(&data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use rstest::rstest;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
        headers
    }

    #[rstest]
    #[case("gzip", Ok(Encoding::Gzip))]
    #[case("GZIP", Ok(Encoding::Gzip))]
    #[case("identity", Ok(Encoding::Identity))]
    #[case("", Err(Rejection::Encoding))]
    #[case("deflate", Err(Rejection::Encoding))]
    #[case("x-gzip", Err(Rejection::Encoding))]
    #[case("gzip, gzip", Err(Rejection::Encoding))]
    fn only_gzip_and_identity_are_known(#[case] value: &str, #[case] expected: Result<Encoding, Rejection>) {
        assert_eq!(encoding(&headers("content-encoding", value)), expected);
    }

    #[rstest]
    #[case("application/json", true)]
    #[case("Application/JSON; charset=utf-8", true)]
    #[case("text/plain", false)]
    #[case("application/vnd.api+json", false)]
    fn only_json_is_taken(#[case] value: &str, #[case] is_ok: bool) {
        assert_eq!(require_json(&headers("content-type", value)).is_ok(), is_ok);
    }

    #[rstest]
    #[case("203.0.113.9", "10.0.0.1", "203.0.113.9")]
    #[case("1.1.1.1, 203.0.113.9, 10.0.0.7", "10.0.0.1", "203.0.113.9")]
    #[case("203.0.113.9", "198.51.100.1", "198.51.100.1")]
    #[case("not an address", "10.0.0.1", "10.0.0.1")]
    #[case("10.0.0.9", "::ffff:10.0.0.1", "10.0.0.9")]
    fn only_trusted_proxies_name_the_client(
        #[case] forwarded: &str,
        #[case] peer: &str,
        #[case] expected: &str,
    ) {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let client = client_ip(peer.parse().unwrap(), &headers("x-forwarded-for", forwarded), &trusted);
        assert_eq!(client, expected.parse::<IpAddr>().unwrap());
    }

    #[test]
    fn a_long_user_agent_is_cut_between_characters() {
        let text = user_agent(&headers("user-agent", &format!("a{}", "b".repeat(2000))));
        assert_eq!(text.len(), MAX_USER_AGENT);
    }
}
