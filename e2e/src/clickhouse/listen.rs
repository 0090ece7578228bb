//! The ports: accepts connections, with or without TLS, and closes both ports while the fault `Refuse` is set.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::{core::Core, proxy};

/// One port for clients.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) listener: TcpListener,
    pub(crate) tls: Option<Arc<ServerConfig>>,
}

/// Opens a port; returns the address with the number that it got.
pub(crate) async fn bind(address: SocketAddr) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener =
        TcpListener::bind(address).await.with_context(|| format!("failed to listen on {address}"))?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Serves a port until told to stop.
pub(crate) async fn serve(core: Arc<Core>, port: Port, address: SocketAddr, stop: CancellationToken) {
    let acceptor = port.tls.map(TlsAcceptor::from);
    let mut listener = Some(port.listener);
    let serving = async {
        loop {
            let open = match listener.take() {
                Some(open) => open,
                None => reopen(address).await,
            };
            accept(&core, &open, acceptor.as_ref(), &stop).await;
            drop(open);
            core.faults.refusing(false).await;
        }
    };
    // `serving` has no end.
    let _: Option<Infallible> = stop.run_until_cancelled(serving).await;
}

async fn reopen(address: SocketAddr) -> TcpListener {
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(error) => super::say(format_args!("failed to listen on {address} again: {error}")),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Accepts until the port is to be closed.
async fn accept(
    core: &Arc<Core>,
    listener: &TcpListener,
    acceptor: Option<&TlsAcceptor>,
    stop: &CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = core.faults.refusing(true) => return,
        };
        // A failed accept is the client's, or passes.
        let Ok((stream, peer)) = accepted else { continue };
        drop(stream.set_nodelay(true));
        let (core, acceptor, stop) = (Arc::clone(core), acceptor.cloned(), stop.clone());
        tokio::spawn(async move {
            let refused = Arc::clone(&core);
            tokio::select! {
                () = connection(core, stream, peer, acceptor) => {}
                () = refused.faults.refusing(true) => {}
                () = stop.cancelled() => {}
            }
        });
    }
}

async fn connection(core: Arc<Core>, stream: TcpStream, peer: SocketAddr, acceptor: Option<TlsAcceptor>) {
    match acceptor {
        None => speak(core, stream, peer).await,
        // A failed handshake is the client's to tell.
        Some(acceptor) => {
            if let Ok(stream) = acceptor.accept(stream).await {
                speak(core, stream, peer).await;
            }
        }
    }
}

async fn speak(core: Arc<Core>, stream: impl AsyncRead + AsyncWrite + Unpin, peer: SocketAddr) {
    let service = service_fn(move |request| proxy::serve(Arc::clone(&core), peer, request));
    let mut builder = http1::Builder::new();
    builder.preserve_header_case(true);
    // Errors are clients that left and connections that were cut on purpose.
    drop(builder.serve_connection(TokioIo::new(stream), service).await);
}
