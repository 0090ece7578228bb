//! The path of one request: read the statement, meet the faults, judge the credential, pass the gate, reach the engine.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use http::{
    HeaderMap, HeaderValue, Request, Response,
    header::{CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING},
    request::Parts,
};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};

use super::{
    access::{self, AccessError},
    body::{self, BoxBody},
    book::Verdict,
    core::Core,
    credential::{Credential, add_parameters, parameters},
    fault::Effect,
    gate::{Kind, Pass},
    limits, reply,
    statement::{self, Class},
    upstream,
};

/// An address that no client can have: it is given to those who come as the engine's own user.
const NOWHERE: &str = "192.0.2.1";

/// Ends the connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection is cut")]
pub(crate) struct Cut;

/// Serves one request.
pub(crate) async fn serve(
    core: Arc<Core>,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<BoxBody>, Cut> {
    let (mut parts, body) = request.into_parts();
    let parameters = parameters(&parts.uri);
    let query = parameters.iter().find(|(key, _)| key == "query").map(|(_, value)| value.as_str());
    let (sql, body) = read_statement(&parts.headers, query, body).await?;
    let fault = core.faults.take(&sql);
    if let Some(effect) = &fault
        && let Some(answer) = meet(&core, effect, &sql).await?
    {
        consume(body).await;
        return Ok(answer);
    }
    let credential = Credential::read(&parts.headers, &parameters);
    match core.book.verdict(&credential.user, &credential.password) {
        Verdict::Pass => {}
        Verdict::Expired => credential.spoil(&mut parts.headers, &mut parts.uri),
        Verdict::Removed => {
            consume(body).await;
            return Ok(reply::unauthenticated(&credential.user));
        }
    }
    // A body that came in chunks and was read whole goes on with its length: without one, ClickHouse refuses it.
    if let (true, Some(length)) = (parts.headers.contains_key(TRANSFER_ENCODING), body.size_hint().exact()) {
        parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    prepare(&core, &credential, peer.ip(), &mut parts, has_role(&parameters));
    let request = Request::from_parts(parts, body);
    let answer = match statement::classify(&sql) {
        Class::Access => change_access(&core, &sql, request).await,
        Class::Other if limits::is_shown(&sql) => limits::show(&core, &sql, request).await,
        Class::KillQuery => pass_on(&core, Kind::KillQuery, request).await,
        Class::Other => pass_on(&core, Kind::Ordinary, request).await,
    };
    match fault {
        Some(Effect::DropAnswer) => {
            consume(answer.into_body()).await;
            Err(Cut)
        }
        Some(Effect::LateAnswer { millis }) => {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            Ok(answer)
        }
        _ => Ok(answer),
    }
}

async fn read_statement(
    headers: &HeaderMap,
    query: Option<&str>,
    body: Incoming,
) -> Result<(String, BoxBody), Cut> {
    let is_insert = query.is_some_and(|query| {
        query.trim_start().get(..6).is_some_and(|start| start.eq_ignore_ascii_case("INSERT"))
    });
    if is_insert || headers.contains_key(CONTENT_ENCODING) {
        return Ok((query.unwrap_or_default().to_owned(), body::streamed(body)));
    }
    // The client has left in mid-request.
    let read = body::read(body).await.map_err(|_| Cut)?;
    Ok((statement::text(headers, query, &read.beginning), read.body))
}

/// Plays what a fault does before the engine sees the request; an answer ends the request.
async fn meet(core: &Core, effect: &Effect, sql: &str) -> Result<Option<Response<BoxBody>>, Cut> {
    match effect {
        Effect::Refuse => Err(Cut),
        Effect::Hang => {
            core.faults.cleared_within(Duration::MAX).await;
            Err(Cut)
        }
        Effect::Late { millis } => {
            tokio::time::sleep(Duration::from_millis(*millis)).await;
            Ok(None)
        }
        Effect::DropAnswer | Effect::LateAnswer { .. } => Ok(None),
        Effect::Pretend => {
            super::say(format_args!("pretends to have done: {}", sql.chars().take(60).collect::<String>()));
            Ok(Some(reply::done(HeaderMap::new())))
        }
        Effect::Exception { code, name } => {
            Ok(Some(reply::exception(*code, name, "set as a fault of the development server")))
        }
    }
}

/// Reads to the end, so that the client is not cut while it sends.
pub(super) async fn consume(body: BoxBody) {
    drop(body.collect().await);
}

fn has_role(parameters: &[(String, String)]) -> bool {
    parameters.iter().any(|(key, _)| key == "role")
}

fn prepare(core: &Core, credential: &Credential, peer: IpAddr, parts: &mut Parts, names_role: bool) {
    for header in [CONNECTION, TRANSFER_ENCODING, EXPECT] {
        parts.headers.remove(header);
    }
    let address =
        if credential.user == "default" { NOWHERE.to_owned() } else { peer.to_canonical().to_string() };
    if let Ok(address) = HeaderValue::from_str(&address) {
        parts.headers.insert("x-forwarded-for", address);
    }
    // users.xml knows no default roles: every granted role is one.
    if !names_role {
        let roles = core.book.narrowed_roles(&credential.user);
        if !roles.is_empty() {
            add_parameters(&mut parts.uri, roles.into_iter().map(|role| ("role".to_owned(), role)));
        }
    }
}

async fn pass_on(core: &Core, kind: Kind, request: Request<BoxBody>) -> Response<BoxBody> {
    match send(core, kind, request).await {
        Ok((answer, pass)) => answer.map(|body| body::hold(body, pass)),
        Err(error) => reply::bad_gateway(&error),
    }
}

/// Sends a request once the gate lets it through and the engine takes the connection.
pub(super) async fn send(
    core: &Core,
    kind: Kind,
    request: Request<BoxBody>,
) -> Result<(Response<Incoming>, Pass), upstream::Error> {
    let mut attempts = 0;
    loop {
        let pass = core.gate.enter(kind).await;
        match upstream::connect(core.engine_address()).await {
            Ok(stream) => return Ok((upstream::send_over(stream, request).await?, pass)),
            // The engine has died and the supervisor does not know yet.
            Err(_) if attempts < 100 => attempts += 1,
            Err(error) => return Err(error),
        }
        drop(pass);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Lets the engine judge the statement, and does what it cannot: keep the result.
async fn change_access(core: &Core, sql: &str, request: Request<BoxBody>) -> Response<BoxBody> {
    let (answer, pass) = match send(core, Kind::Ordinary, request).await {
        Ok(sent) => sent,
        Err(error) => return reply::bad_gateway(&error),
    };
    let (head, body) = answer.into_parts();
    let refusal = reply::exception_code(&head.headers);
    let is_limit = limits::is_change(sql);
    // 514: no storage for a new entity. 495: the storage of a known one is read-only.
    let is_ours = matches!(refusal, Some(514 | 495)) || is_limit && limits::is_unknown(refusal);
    if !is_ours {
        return Response::from_parts(head, body::hold(body, pass));
    }
    let sql = if is_limit { limits::engines_form(core, sql).await } else { Ok(sql.to_owned()) };
    let parsed = sql.and_then(|sql| access::parse(&sql));
    let recorded = parsed.and_then(|statement| core.book.record(&[statement]));
    let result = match recorded {
        // Only now: a restart must not begin between the engine's word and ours.
        Ok(outcome) => {
            drop(pass);
            outcome.await.unwrap_or_else(|_| Err(AccessError::Engine("the server is stopping".to_owned())))
        }
        Err(AccessError::Builtin { .. }) => {
            return Response::from_parts(head, body::hold(body, pass));
        }
        Err(error) => Err(error),
    };
    match result {
        Ok(()) => reply::done(head.headers),
        Err(error) => reply::refusal(&error, head.headers),
    }
}
