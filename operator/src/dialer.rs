//! Connections to where a spec says, which may be a name: what it leads to is judged once it is known.
//!
//! A name can lead anywhere, and elsewhere the next time it is asked, so the address that counts is the one of the
//! connection itself. It is judged before a byte is sent.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use crate::tls::is_refused_address;

/// Addresses that no spec may lead to: those of the API server.
pub(crate) type Barred = Arc<[SocketAddr]>;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A name led to an address that only serves the node itself, or to the API server.
#[derive(Debug, thiserror::Error)]
#[error("the name leads to an address that may not be connected to")]
pub(crate) struct BarredAddress;

/// Connects over TCP.
#[derive(Debug, Clone)]
pub(crate) struct Dialer {
    http: HttpConnector,
    barred: Barred,
}

impl Dialer {
    /// A dialer that gives up after a time.
    pub(crate) fn new(timeout: Duration, barred: Barred) -> Self {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(timeout));
        Self { http, barred }
    }
}

impl Service<Uri> for Dialer {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.http.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, address: Uri) -> Self::Future {
        let connecting = self.http.call(address);
        let barred = Arc::clone(&self.barred);
        Box::pin(async move {
            let stream = connecting.await?;
            let peer = stream.inner().peer_addr()?;
            if is_refused_address(peer.ip()) || barred.contains(&peer) {
                Err(BarredAddress.into())
            } else {
                Ok(stream)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn dial(uri: &str, barred: &[SocketAddr]) -> Result<(), BoxError> {
        let mut dialer = Dialer::new(Duration::from_secs(5), barred.into());
        dialer.call(uri.parse().unwrap()).await.map(drop)
    }

    #[tokio::test]
    async fn a_name_that_leads_to_a_barred_address_is_refused_and_its_other_ports_are_not() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let uri = format!("http://localhost:{}", address.port());
        dial(&uri, &[]).await.unwrap();
        dial(&uri, &[SocketAddr::new(address.ip(), 1)]).await.unwrap();
        let refused = dial(&uri, &[address]).await.unwrap_err();
        assert!(crate::tls::is_barred(&*refused));
    }
}
