//! The control endpoint: faults, imports and the state of the server, for drivers that are no Rust tests.
//!
//! `GET /status`, `POST /fault` (JSON of a `Fault`), `POST /clear`, `POST /import` (statements, each ended by `;`),
//! `POST /kill` (ends the engine as a crash would).

use std::{convert::Infallible, sync::Arc};

use anyhow::Context as _;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{
    access::{Statement, parse},
    body::BoxBody,
    core::Core,
    reply,
};

/// Serves the endpoint until told to stop.
pub(crate) async fn serve(core: Arc<Core>, listener: TcpListener, stop: CancellationToken) {
    let serving = async {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let core = Arc::clone(&core);
            let service = service_fn(move |request| answer(Arc::clone(&core), request));
            // Errors are clients that left.
            tokio::spawn(async move {
                drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
            });
        }
    };
    let _: Option<Infallible> = stop.run_until_cancelled(serving).await;
}

async fn answer(core: Arc<Core>, request: Request<Incoming>) -> Result<Response<BoxBody>, Infallible> {
    Ok(match act(&core, request).await {
        Ok(Some(text)) => reply::plain(StatusCode::OK, text),
        Ok(None) => reply::plain(StatusCode::NOT_FOUND, "no such action\n".to_owned()),
        Err(error) => reply::plain(StatusCode::BAD_REQUEST, format!("{error:#}\n")),
    })
}

async fn act(core: &Core, request: Request<Incoming>) -> anyhow::Result<Option<String>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    match (&parts.method, parts.uri.path()) {
        (&Method::GET, "/status") => {
            let (restarts, pid) = (core.restarts(), core.engine_pid());
            return Ok(Some(format!("{}\n", serde_json::json!({"restarts": restarts, "enginePid": pid}))));
        }
        (&Method::POST, "/fault") => core.faults.add(serde_json::from_slice(&body)?),
        (&Method::POST, "/clear") => core.faults.clear(),
        (&Method::POST, "/import") => core.import(&read_statements(std::str::from_utf8(&body)?)?).await?,
        (&Method::POST, "/kill") => kill_engine(core)?,
        _ => return Ok(None),
    }
    Ok(Some("done\n".to_owned()))
}

/// Reads statements that are separated by `;` at the end of a line.
pub(crate) fn read_statements(text: &str) -> anyhow::Result<Vec<Statement>> {
    let statements = text.split(";\n").map(str::trim).filter(|sql| !sql.is_empty());
    statements.map(|sql| parse(sql).with_context(|| format!("in {sql}"))).collect()
}

/// Ends the engine's process as a crash would.
pub(crate) fn kill_engine(core: &Core) -> anyhow::Result<()> {
    let pid = i32::try_from(core.engine_pid())?;
    anyhow::ensure!(pid > 0, "no engine is running");
    // A dying process still takes connections for a moment; whoever asks from now on is to wait for the next one.
    core.gate.begin_drain();
    kill(Pid::from_raw(pid), Signal::SIGKILL).context("failed to kill the engine")
}
