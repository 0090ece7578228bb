//! A running development server, as a Rust value.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use anyhow::{Context as _, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Request, header::AUTHORIZATION};
use http_body_util::{BodyExt as _, Full};
use tokio::{sync::oneshot, task::JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    Fault, Options,
    book::Book,
    control,
    core::Core,
    engine::Engine,
    listen::{self, Port},
    store, supervisor, tls, upstream,
};

/// A development server that runs until [`Server::stop`], or until it is dropped.
#[derive(Debug)]
pub struct Server {
    core: Arc<Core>,
    http: SocketAddr,
    https: Option<(SocketAddr, String)>,
    control: SocketAddr,
    supervisor: JoinHandle<()>,
    stop_supervisor: oneshot::Sender<()>,
    ports: DropGuard,
}

impl Server {
    /// Starts the engine and opens the ports; users and data are those of the folder's last run.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        ensure!(
            options.admin_user != "default",
            "the engine's own session runs as `default`: name the admin otherwise"
        );
        let options = Options {
            data: std::path::absolute(&options.data)?,
            engine: std::path::absolute(&options.engine)?,
            launcher: std::path::absolute(&options.launcher)?,
            ..options
        };
        store::prepare(&options)?;
        let access = store::load(&options)?;
        store::write_users(&options, &access)?;
        let secure =
            options.https.as_ref().map(|https| tls::load(&options.data, &https.certificate)).transpose()?;

        let (listener, http) = listen::bind(options.http).await?;
        let (control_listener, control) = listen::bind(options.control).await?;
        let mut ports = vec![(Port { listener, tls: None }, http)];
        let mut https = None;
        if let (Some(settings), Some(tls)) = (&options.https, secure) {
            let (listener, address) = listen::bind(settings.address).await?;
            ports.push((Port { listener, tls: Some(tls.config) }, address));
            https = Some((address, tls.ca_pem));
        }

        let engine = Engine::start(&options).await?;
        let book = Book::new(access, &options.admin_user);
        let core = Core::new(options, book, &engine);
        let stop_ports = CancellationToken::new();
        for (port, address) in ports {
            tokio::spawn(listen::serve(Arc::clone(&core), port, address, stop_ports.clone()));
        }
        tokio::spawn(control::serve(Arc::clone(&core), control_listener, stop_ports.clone()));
        let (stop_supervisor, stopped) = oneshot::channel();
        let supervisor = tokio::spawn(supervisor::supervise(Arc::clone(&core), engine, stopped));
        Ok(Self { core, http, https, control, supervisor, stop_supervisor, ports: stop_ports.drop_guard() })
    }

    /// The URL of the plain port.
    pub fn url(&self) -> String {
        format!("http://{}", self.http)
    }

    /// The URL of the TLS port, by address; its certificate also names `localhost` and the given names.
    pub fn https_url(&self) -> Option<String> {
        self.https.as_ref().map(|(address, _)| format!("https://{address}"))
    }

    /// The certificate that a client of the TLS port must trust.
    pub fn ca_pem(&self) -> Option<&str> {
        self.https.as_ref().map(|(_, pem)| pem.as_str())
    }

    /// The URL of the control endpoint.
    pub fn control_url(&self) -> String {
        format!("http://{}", self.control)
    }

    /// The URL of the engine itself, without the proxy: no faults and no cost of ours; another one after a restart.
    pub fn engine_url(&self) -> String {
        format!("http://{}", self.core.engine_address())
    }

    /// The engine's process.
    pub fn engine_pid(&self) -> u32 {
        self.core.engine_pid()
    }

    /// User and password of the account with every right.
    pub fn admin(&self) -> (&str, &str) {
        (&self.core.options.admin_user, &self.core.options.admin_password)
    }

    /// How often access statements restarted the engine.
    pub fn restarts(&self) -> u64 {
        self.core.restarts()
    }

    /// Sets a fault, besides those that are set.
    pub fn fault(&self, fault: Fault) {
        self.core.faults.add(fault);
    }

    /// Ends every fault.
    pub fn clear_faults(&self) {
        self.core.faults.clear();
    }

    /// Ends the engine as a crash would.
    pub fn kill_engine(&self) -> anyhow::Result<()> {
        control::kill_engine(&self.core)
    }

    /// Makes many access statements true in one restart; rights are not checked.
    pub async fn import<S: AsRef<str>>(&self, statements: &[S]) -> anyhow::Result<()> {
        let statements = statements.iter().map(|sql| {
            let sql = sql.as_ref();
            super::access::parse(sql).with_context(|| format!("in {sql}"))
        });
        let statements = statements.collect::<anyhow::Result<Vec<_>>>()?;
        Ok(self.core.import(&statements).await?)
    }

    /// Gives another server the users and roles of this one, as replicated access storage does when it has caught up.
    pub async fn replicate_access(&self, replica: &Self) -> anyhow::Result<()> {
        Ok(replica.core.replace_access(self.core.book.current()).await?)
    }

    /// Keeps what ClickHouse writes to its text log, from the next restart on; returns the file.
    pub fn keep_text_log(&self) -> anyhow::Result<PathBuf> {
        store::keep_text_log(&self.core.options)
    }

    /// Runs a statement as the admin through the plain port and returns what ClickHouse answered.
    pub async fn query(&self, sql: &str) -> anyhow::Result<String> {
        let (user, password) = self.admin();
        let credential = STANDARD.encode(format!("{user}:{password}"));
        let request = Request::post("/")
            .header("host", self.http.to_string())
            .header(AUTHORIZATION, format!("Basic {credential}"))
            .body(Full::new(Bytes::from(sql.to_owned())))?;
        let response = upstream::send(self.http, request).await?;
        let succeeded = response.status().is_success();
        let text = String::from_utf8_lossy(&response.into_body().collect().await?.to_bytes()).into_owned();
        ensure!(succeeded, "{}", text.trim());
        Ok(text)
    }

    /// Finishes requests in flight and ends the engine.
    pub async fn stop(self) -> anyhow::Result<()> {
        drop(self.stop_supervisor);
        self.supervisor.await.context("failed to stop the engine")?;
        drop(self.ports);
        Ok(())
    }
}
