//! A way to ClickHouse that can be cut, can hang, be late, and lose answers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use weir_ingest::args::SettingsArgs;
use weir_ingest::clickhouse::Client;
use weir_ingest::settings::Settings;

use crate::service::Running;
use crate::service::migrated;
use crate::service::serve;
use crate::service::settings;

/// What the cable does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum State {
    /// Everything passes.
    Whole,
    /// Connections end, and new ones as well.
    Cut,
    /// Nothing passes, and nobody is told.
    Hanging,
    /// What ClickHouse says takes a second and a half.
    Late,
}

const LATE: Duration = Duration::from_millis(1500);
const LOOK: Duration = Duration::from_millis(5);

/// The cable.
#[derive(Clone)]
pub(crate) struct Cable {
    pub(crate) address: SocketAddr,
    state: Arc<AtomicU8>,
    answers_to_lose: Arc<AtomicU32>,
}

impl Cable {
    pub(crate) async fn to(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cable = Self { address, state: Arc::default(), answers_to_lose: Arc::default() };
        let held = cable.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (target, cable) = (target.clone(), held.clone());
                tokio::spawn(async move {
                    if let Ok(far) = TcpStream::connect(target).await {
                        cable.carry(near, far).await;
                    }
                });
            }
        });
        cable
    }

    pub(crate) fn set(&self, state: State) {
        self.state.store(state as u8, Ordering::Relaxed);
    }

    /// Cuts instead of bringing the next answers.
    pub(crate) fn lose_answers(&self, count: u32) {
        self.answers_to_lose.store(count, Ordering::Relaxed);
    }

    async fn carry(&self, mut near: TcpStream, mut far: TcpStream) {
        let (mut near_in, mut near_out) = near.split();
        let (mut far_in, mut far_out) = far.split();
        let asking = async {
            let mut bytes = vec![0; 64 * 1024];
            while let Ok(count @ 1..) = near_in.read(&mut bytes).await {
                self.unless(State::Hanging).await;
                if self.is(State::Cut) {
                    return;
                }
                if far_out.write_all(&bytes[..count]).await.is_err() {
                    return;
                }
            }
        };
        let answering = async {
            let mut bytes = vec![0; 64 * 1024];
            while let Ok(count @ 1..) = far_in.read(&mut bytes).await {
                let less = |left: u32| left.checked_sub(1);
                if self.answers_to_lose.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok() {
                    return;
                }
                if self.is(State::Late) {
                    tokio::time::sleep(LATE).await;
                }
                self.unless(State::Hanging).await;
                if near_out.write_all(&bytes[..count]).await.is_err() {
                    return;
                }
            }
        };
        let severed = async {
            while !self.is(State::Cut) {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::select! {
            () = asking => {}
            () = answering => {}
            () = severed => {}
        }
    }

    fn is(&self, state: State) -> bool {
        self.state.load(Ordering::Relaxed) == state as u8
    }

    async fn unless(&self, state: State) {
        while self.is(state) {
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// A service behind a cable, with a second for each attempt; the test itself keeps its own way to ClickHouse.
pub(crate) async fn cabled() -> (Running, Cable) {
    cabled_with(settings()).await
}

/// The same with settings.
pub(crate) async fn cabled_with(args: SettingsArgs) -> (Running, Cable) {
    let (args, client, cable) = lay(args).await;
    (serve(&Settings::from_args(&args).unwrap(), client).await, cable)
}

/// Migrates, and leads the settings through a cable.
pub(crate) async fn lay(mut args: SettingsArgs) -> (SettingsArgs, Client, Cable) {
    let direct = Settings::from_args(&args).unwrap();
    let client = Client::new(&direct.clickhouse).unwrap();
    migrated(&direct, &client).await;
    let url = &direct.clickhouse.endpoints[0];
    let target = format!("{}:{}", url.host_str().unwrap(), url.port_or_known_default().unwrap());
    let cable = Cable::to(target).await;
    args.clickhouse_url = Some(format!("http://{}", cable.address));
    args.clickhouse_timeout_ms = Some("1000".into());
    (args, client, cable)
}
