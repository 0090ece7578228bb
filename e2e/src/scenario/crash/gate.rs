//! A gate in front of the API server and of ClickHouse that one operator speaks through: it counts the calls that change
//! something, and at a chosen one everything stops, as it does for a process that dies there.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Context as _;
use bytes::Bytes;
use http::{Request, Response, Uri, header::HOST};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

use super::call::{Call, Cut, clickhouse_change, kubernetes_change};
use crate::{
    query::{HttpClient, http_client},
    sandbox::NODE_ADDRESS,
};

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passage {
    Open,
    /// Carried out, never answered.
    Last,
    Shut,
}

#[derive(Debug)]
struct Calls {
    state: Mutex<State>,
    died: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    cut: Option<Cut>,
    seen: Vec<Call>,
}

/// The gate; closes with the value.
#[derive(Debug)]
pub(super) struct Gate {
    calls: Arc<Calls>,
    /// Address in front of the API server.
    pub(super) kubernetes: String,
    /// Address in front of ClickHouse.
    pub(super) clickhouse: String,
    _doors: JoinSet<()>,
}

/// One of the two that the gate stands before.
#[derive(Clone, Debug)]
struct Door {
    calls: Arc<Calls>,
    client: HttpClient,
    target: String,
    /// Says what a call changes.
    change: fn(&Request<Bytes>) -> Option<String>,
}

impl Gate {
    /// Opens the gate before an API server with that CA, and before a ClickHouse.
    pub(super) async fn open(kubernetes: &str, ca_pem: &str, clickhouse: &str) -> anyhow::Result<Self> {
        let calls = Arc::new(Calls { state: Mutex::default(), died: watch::Sender::new(false) });
        let client = http_client(Some(ca_pem))?;
        let mut doors = JoinSet::new();
        let mut open = async |address: &str, target: &str, change| -> anyhow::Result<String> {
            let listener = TcpListener::bind((address, 0)).await.context("failed to open the gate")?;
            let address = format!("http://{}", listener.local_addr()?);
            let (calls, client) = (Arc::clone(&calls), client.clone());
            doors.spawn(serve(listener, Door { calls, client, target: target.to_owned(), change }));
            Ok(address)
        };
        // Two addresses: an endpoint at the address of the API server is refused.
        let kubernetes = open("127.0.0.1", kubernetes, kubernetes_change).await?;
        let clickhouse = open(NODE_ADDRESS, clickhouse, clickhouse_change).await?;
        Ok(Self { calls, kubernetes, clickhouse, _doors: doors })
    }

    /// Lets everything through and counts anew, up to the cut if there is one.
    pub(super) fn arm(&self, cut: Option<Cut>) {
        *self.calls.lock() = State { cut, seen: Vec::new() };
        self.calls.died.send_replace(false);
    }

    /// Resolves when the call of the cut was made.
    pub(super) async fn died(&self) {
        // The sender lives as long as this value.
        drop(self.calls.died.subscribe().wait_for(|died| *died).await);
    }

    /// The calls since the gate was armed that changed something.
    pub(super) fn calls(&self) -> Vec<Call> {
        self.calls.lock().seen.clone()
    }
}

impl Calls {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pass(&self, change: Option<String>) -> Passage {
        let mut state = self.lock();
        if *self.died.borrow() {
            return Passage::Shut;
        }
        let Some(change) = change else { return Passage::Open };
        let call = Call::after(&state.seen, change);
        let cut = state.cut.as_ref().filter(|cut| cut.call == call);
        let passage = match cut.map(|cut| cut.is_delivered) {
            None => Passage::Open,
            Some(true) => Passage::Last,
            Some(false) => Passage::Shut,
        };
        state.seen.push(call);
        if passage == Passage::Shut {
            self.died.send_replace(true);
        }
        passage
    }
}

async fn serve(listener: TcpListener, door: Door) {
    let mut connections = JoinSet::new();
    while let Ok((stream, peer)) = listener.accept().await {
        let door = door.clone();
        let service = service_fn(move |request| forward(door.clone(), peer, request));
        // A connection that breaks is the operator's death.
        connections.spawn(async move {
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn forward(
    door: Door,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> anyhow::Result<Response<Incoming>> {
    let (mut head, body) = request.into_parts();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    head.uri = format!("{}{path}", door.target).parse::<Uri>()?;
    head.headers.remove(HOST);
    let request = Request::from_parts(head, body.collect().await?.to_bytes());
    // Pods come through the door of ClickHouse as well, and live on.
    let is_operator = peer.ip().is_loopback() || peer.ip() == NODE_ADDRESS.parse::<IpAddr>()?;
    let change = (door.change)(&request).filter(|_| is_operator);
    let passage = if is_operator { door.calls.pass(change) } else { Passage::Open };
    if passage == Passage::Shut {
        return std::future::pending().await;
    }
    let answer = door.client.request(request.map(Full::new)).await?;
    if passage == Passage::Last {
        answer.into_body().collect().await?;
        door.calls.died.send_replace(true);
        return std::future::pending().await;
    }
    Ok(answer)
}
