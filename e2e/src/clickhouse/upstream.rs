//! One request to the engine over a connection of its own: a reused connection could be one that a restart has cut.

use std::net::SocketAddr;

use hyper::{body::Body, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Why no answer came.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Nothing was sent.
    #[error("failed to connect to the engine")]
    Connect(#[source] std::io::Error),
    /// The engine may have done the work.
    #[error("the engine's connection broke")]
    Broken(#[source] hyper::Error),
}

/// Opens a connection.
pub(crate) async fn connect(address: SocketAddr) -> Result<TcpStream, Error> {
    let stream = TcpStream::connect(address).await.map_err(Error::Connect)?;
    stream.set_nodelay(true).map_err(Error::Connect)?;
    Ok(stream)
}

/// Sends a request over an open connection and returns the answer's head with its streaming body.
pub(crate) async fn send_over<B>(
    stream: TcpStream,
    request: http::Request<B>,
) -> Result<http::Response<Incoming>, Error>
where
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder.preserve_header_case(true);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(Error::Broken)?;
    // Ends with the answer's body, or when the request is given up; its error is also the request's.
    tokio::spawn(async move { drop(connection.await) });
    sender.send_request(request).await.map_err(Error::Broken)
}

/// Connects and sends.
pub(crate) async fn send<B>(
    address: SocketAddr,
    request: http::Request<B>,
) -> Result<http::Response<Incoming>, Error>
where
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    send_over(connect(address).await?, request).await
}
