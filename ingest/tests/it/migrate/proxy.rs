//! A proxy that dies at a chosen request, as a runner or its network would.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::extract::State;
use axum::response::IntoResponse as _;
use axum::response::Response;
use http::StatusCode;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use url::Url;

/// When the proxy stops forwarding.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    /// Requests that pass unharmed.
    pub(super) after: usize,
    /// Whether ClickHouse still gets the one at which the proxy dies.
    pub(super) delivers_last: bool,
}

#[derive(Clone)]
struct Proxy {
    http: Client<HttpConnector, Body>,
    target: Url,
    cut: Cut,
    seen: Arc<AtomicUsize>,
}

/// Starts a proxy in front of an endpoint; it lives as long as the test's runtime.
pub(super) async fn start(target: &Url, cut: Cut) -> Url {
    let http = Client::builder(TokioExecutor::new()).build_http();
    let proxy = Proxy { http, target: target.clone(), cut, seen: Arc::default() };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(forward).with_state(proxy);
    drop(tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }));
    format!("http://{address}").parse().unwrap()
}

async fn forward(State(proxy): State<Proxy>, mut request: Request) -> Response {
    let number = proxy.seen.fetch_add(1, Ordering::SeqCst);
    let is_last = number == proxy.cut.after;
    if number > proxy.cut.after || (is_last && !proxy.cut.delivers_last) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let mut target = proxy.target.clone();
    target.set_query(request.uri().query());
    *request.uri_mut() = target.as_str().parse().unwrap();
    let answer = proxy.http.request(request).await.unwrap();
    if is_last { StatusCode::BAD_GATEWAY.into_response() } else { answer.map(Body::new) }
}
