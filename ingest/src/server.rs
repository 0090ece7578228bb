//! The accept loop of a port: bounded connections, bounded waiting, orderly end.

mod leftover;
mod stream;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper_util::rt::TokioExecutor;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::server::graceful::Watcher;
use prometheus_client::metrics::gauge::Gauge;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tower::ServiceExt as _;

use crate::api::extract::Peer;
use crate::telemetry::Causes;
use crate::telemetry::Pacer;
use stream::Stream;

/// A new connection that has not sent its first request by then is closed.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// Between requests, and for the head of the next one. Longer than the 60 s after which common load balancers close,
/// so that it is never this side that closes a connection which they are about to use.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
const MAX_HEADERS: usize = 100;
/// As much as Node.js takes. With what it is read into, it bounds the memory of a connection.
const MAX_HEADER_BYTES: usize = 16 * 1024;
/// The same for HTTP/2, which counts otherwise.
const MAX_HEADER_LIST_BYTES: u32 = 16 * 1024;
const MAX_STREAMS: u32 = 64;
const HTTP2_PING: Duration = Duration::from_secs(30);
/// What one stream and one connection of HTTP/2 may send ahead of the handler.
const HTTP2_WINDOW: u32 = 256 * 1024;
/// Pause after the system could not give another socket.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A system that is out of sockets fails twenty times a second.
static ACCEPT_FAILURES: Pacer = Pacer::new();

/// One port and what it serves.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) listener: TcpListener,
    pub(crate) router: Router,
    pub(crate) max_connections: usize,
    pub(crate) connections: Gauge,
}

impl Server {
    /// Serves until `stop` resolves, then finishes the requests that have begun. Dropping the future cuts them.
    pub(crate) async fn run(self, stop: impl Future<Output = ()>) {
        let Self { listener, router, max_connections, connections } = self;
        let permits = Arc::new(Semaphore::new(max_connections));
        let graceful = GracefulShutdown::new();
        let mut tasks = JoinSet::new();
        let mut stop = std::pin::pin!(stop);
        loop {
            tokio::select! {
                biased;
                () = &mut stop => break,
                Some(_) = tasks.join_next() => {}
                (permit, stream, peer) = accept(&listener, &permits) => {
                    let task = connection(stream, peer, router.clone(), graceful.watcher(), permit);
                    tasks.spawn(task);
                }
            }
            connections.set(count(&tasks));
        }
        drop(listener);
        graceful.shutdown().await;
        while tasks.join_next().await.is_some() {}
        connections.set(0);
    }
}

fn count(tasks: &JoinSet<()>) -> i64 {
    i64::try_from(tasks.len()).unwrap_or(i64::MAX)
}

/// Waits for room, then for a connection: what exceeds the cap stays in the system's queue.
async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> (OwnedSemaphorePermit, TcpStream, SocketAddr) {
    let Ok(permit) = Arc::clone(permits).acquire_owned().await else { std::future::pending().await };
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return (permit, stream, peer),
            Err(error) => {
                if let Some(unsaid) = ACCEPT_FAILURES.may_say() {
                    tracing::warn!(
                        error = %Causes(&error),
                        weir.log.unsaid = unsaid,
                        "failed to accept a connection"
                    );
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    watcher: Watcher,
    _permit: OwnedSemaphorePermit,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(error = %Causes(&error), "failed to set no-delay");
    }
    let is_used = Arc::new(AtomicBool::new(false));
    let service = hyper::service::service_fn({
        let is_used = Arc::clone(&is_used);
        move |request| {
            is_used.store(true, Ordering::Relaxed);
            respond(router.clone(), peer, request)
        }
    });
    let builder = builder();
    let served =
        watcher.watch(builder.serve_connection(TokioIo::new(Stream::new(stream)), service).into_owned());
    let mut served = std::pin::pin!(served);
    let outcome = tokio::select! {
        outcome = &mut served => outcome,
        () = tokio::time::sleep(FIRST_REQUEST_TIMEOUT) => {
            // The header timeout begins only once the version of HTTP is known from the first bytes.
            if !is_used.load(Ordering::Relaxed) {
                return;
            }
            served.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(error = %Causes(&*error), "a connection ended early");
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEADER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(HTTP2_PING)
        .keep_alive_timeout(HTTP2_PING)
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(HTTP2_WINDOW)
        .initial_connection_window_size(HTTP2_WINDOW)
        .max_header_list_size(MAX_HEADER_LIST_BYTES);
    builder
}

async fn respond(
    router: Router,
    peer: SocketAddr,
    request: hyper::Request<Incoming>,
) -> Result<Response, Infallible> {
    let (head, body) = request.into_parts();
    let (body, leftover) = leftover::lend(head.version, &head.headers, body);
    let mut request = Request::from_parts(head, body);
    request.extensions_mut().insert(Peer(peer.ip()));
    let mut response = router.oneshot(request).await?;
    leftover.discard(&mut response);
    Ok(response)
}
