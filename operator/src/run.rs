//! Wiring: client, logs, admin port, lease, watches, shutdown.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures::StreamExt as _;
use futures::stream::select_all;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, ListParams};
use kube::runtime::controller::{self, Error as ControllerError};
use kube::runtime::events::{Recorder, Reporter};
use kube::{Client, ResourceExt as _};
use tokio::signal::unix::{SignalKind, signal};
use weir_crds::AnalyticsStack;

use crate::admin::{self, Readiness};
use crate::args::Args;
use crate::controller::{Context, Guarded, Rules, Scope, Settings, Shared, error_policy, reconcile, watch};
use crate::dialer::Barred;
use crate::lease::Candidate;
use crate::metrics::Metrics;
use crate::telemetry;

/// Time that passes in progress have to end after SIGTERM.
const DRAIN: Duration = Duration::from_secs(6);
/// Time between two looks for a CRD that is missing.
const CRD_PERIOD: Duration = Duration::from_secs(2);

/// Runs the operator until SIGTERM or the loss of the lease.
pub fn run(args: Args) -> anyhow::Result<()> {
    telemetry::install(&args.log_level, args.log_format)?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    anyhow::ensure!(provider.install_default().is_ok(), "a TLS provider is installed already");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(operate(args));
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

async fn operate(args: Args) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let mut stop = pin!(stop);
    let metrics = Arc::new(Metrics::new());
    let readiness = Readiness::starting();
    let address = SocketAddr::new(args.admin_host, args.admin_port);
    let listener = tokio::net::TcpListener::bind(address).await.context("failed to bind the admin port")?;
    let router = admin::router(readiness.clone(), Arc::clone(&metrics));
    let served = axum::serve(listener, router).into_future();
    tokio::select! {
        ended = served => ended.context("the admin port ended"),
        ended = lead(&args, metrics, readiness, &mut stop) => ended,
    }
}

/// Waits for what is needed, leads, and works until told to stop.
async fn lead(
    args: &Args,
    metrics: Arc<Metrics>,
    readiness: Readiness,
    stop: &mut (impl Future<Output = ()> + Unpin),
) -> anyhow::Result<()> {
    let mut config = kube::Config::infer().await.context("failed to find the API server")?;
    // Watches are renewed by the server within 5 minutes; anything slower is a dead connection.
    config.read_timeout = Some(Duration::from_secs(330));
    let api_server = api_server(&config).await;
    let lease_namespace = args.lease_namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    let client = Client::try_from(config).context("failed to build the client")?;
    let identity = args.identity.clone().unwrap_or_else(|| format!("weir-operator-{}", uuid::Uuid::new_v4()));
    let candidate = Candidate::new(client.clone(), &lease_namespace, &args.lease_name, &identity);
    let scopes = scopes(args);
    tokio::select! {
        () = &mut *stop => return Ok(()),
        () = wait_for_crds(&client, &scopes, &readiness) => {}
    }
    // A candidate that waits for the lease is ready: it could lead at any moment.
    readiness.ready();
    tokio::select! {
        () = &mut *stop => return Ok(()),
        () = candidate.acquire() => {}
    }
    metrics.set_leader(true);
    let settings = settings(args, &client, api_server).await?;
    tracing::info!(
        scope = ?scopes, cluster.id = settings.cluster_id, allow_inline = settings.rules.allow_inline_clickhouse, "leading"
    );
    let reporter = Reporter { controller: "weir.dev/operator".into(), instance: Some(identity) };
    let recorder = Recorder::new(client.clone(), reporter);
    let shared =
        Shared { client, settings, recorder, metrics: Arc::clone(&metrics), catalogues: Arc::default() };
    let ended = tokio::select! {
        lost = candidate.keep() => return Err(lost.into()),
        ended = control(shared, &scopes, args.concurrency, stop) => ended,
    };
    candidate.release().await;
    metrics.set_leader(false);
    ended
}

fn scopes(args: &Args) -> Vec<Scope> {
    let mut names: Vec<_> =
        args.watch_namespaces.iter().map(|name| name.trim()).filter(|name| !name.is_empty()).collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        return vec![Scope::All];
    }
    names.into_iter().map(|name| Scope::Namespace(name.to_owned())).collect()
}

/// Where the API server is, which no stack may name as its ClickHouse.
struct ApiServer {
    hosts: Vec<String>,
    addresses: Barred,
}

async fn api_server(config: &kube::Config) -> ApiServer {
    let url = config.cluster_url.host();
    let url = url.map(|host| (host.to_owned(), config.cluster_url.port_u16().unwrap_or(443)));
    // The kubelet tells the address of the API server this way only.
    let service = std::env::var("KUBERNETES_SERVICE_HOST").ok();
    let port = std::env::var("KUBERNETES_SERVICE_PORT").ok().and_then(|port| port.parse().ok());
    let named: Vec<_> = url.into_iter().chain(service.map(|host| (host, port.unwrap_or(443)))).collect();
    let mut addresses = Vec::new();
    for (host, port) in &named {
        match tokio::net::lookup_host((host.trim_matches(['[', ']']), *port)).await {
            Ok(found) => addresses.extend(found),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the address of the API server is not known; stacks are kept from its name only"
                );
            }
        }
    }
    ApiServer { hosts: named.into_iter().map(|(host, _)| host).collect(), addresses: addresses.into() }
}

async fn settings(args: &Args, client: &Client, api_server: ApiServer) -> anyhow::Result<Settings> {
    let registry_ca = match &args.registry_ca_file {
        Some(path) => {
            Some(tokio::fs::read(path).await.with_context(|| format!("failed to read {}", path.display()))?)
        }
        None => None,
    };
    let listed = args.watch_namespaces.iter().any(|name| !name.trim().is_empty());
    Ok(Settings {
        rules: Rules {
            allow_inline_clickhouse: args.allow_inline_clickhouse.unwrap_or(listed),
            api_server_hosts: api_server.hosts,
            api_server_addresses: api_server.addresses,
        },
        cluster_id: cluster_id(args, client).await?,
        drift: Duration::from_secs(args.drift_seconds),
        image_cache: Duration::from_secs(args.image_cache_seconds),
        pass: Duration::from_secs(args.pass_seconds),
        registry_ca,
    })
}

/// Two clusters on one ClickHouse are told apart by it, so that it is never guessed.
async fn cluster_id(args: &Args, client: &Client) -> anyhow::Result<String> {
    if let Some(id) = args.cluster_id.as_ref().filter(|id| !id.is_empty()) {
        return Ok(id.clone());
    }
    let namespace = Api::<Namespace>::all(client.clone())
        .get_metadata("kube-system")
        .await
        .context("failed to read the UID of the namespace kube-system; set --cluster-id (WEIR_CLUSTER_ID)")?;
    namespace.uid().context("the namespace kube-system has no UID")
}

/// Waits until the API server serves our kind; reading it needs no right beyond those of the watch.
async fn wait_for_crds(client: &Client, scopes: &[Scope], readiness: &Readiness) {
    loop {
        let served = match scopes.first() {
            Some(Scope::Namespace(namespace)) => {
                Api::<AnalyticsStack>::namespaced(client.clone(), namespace)
                    .list(&ListParams::default().limit(1))
                    .await
            }
            Some(Scope::All) | None => {
                Api::<AnalyticsStack>::all(client.clone()).list(&ListParams::default().limit(1)).await
            }
        };
        match served {
            // A stack that cannot be read does not keep the operator from starting.
            Ok(_) | Err(kube::Error::SerdeError(_)) => return,
            Err(kube::Error::Api(status)) if status.code == 404 => {
                readiness.wait_for("the CRD analyticsstacks.weir.dev is not installed");
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the API server does not list stacks"
                );
                readiness.wait_for("the API server does not list stacks");
            }
        }
        tokio::time::sleep(CRD_PERIOD).await;
    }
}

/// Runs the controllers of all scopes; on stop, passes in progress may end.
async fn control(
    shared: Shared,
    scopes: &[Scope],
    concurrency: u16,
    stop: &mut (impl Future<Output = ()> + Unpin),
) -> anyhow::Result<()> {
    let (stopping, stopped) = tokio::sync::watch::channel(false);
    let mut passes = select_all(scopes.iter().map(|scope| {
        let watches = watch(&shared.client, scope);
        let ctx = Arc::new(Context::new(shared.clone(), watches.stores));
        let mut stopped = stopped.clone();
        let until = async move {
            // An error means that the sender is gone, which is a stop too.
            let _ended = stopped.wait_for(|stopped| *stopped).await;
        };
        let triggers = watches.triggers.take_until(until);
        let config = controller::Config::default().concurrency(concurrency);
        let reconcile = |stack: Arc<Guarded>, ctx: Arc<Context>| Box::pin(reconcile(stack, ctx));
        controller::applier(reconcile, error_policy, ctx, watches.stacks, triggers, config).boxed()
    }));
    loop {
        tokio::select! {
            () = &mut *stop => break,
            pass = passes.next() => match pass {
                Some(Ok(_) | Err(ControllerError::ObjectNotFound(_) | ControllerError::ReconcilerFailed(..))) => {}
                Some(Err(error)) => tracing::warn!(error = &error as &dyn std::error::Error, "the controller met an error"),
                None => anyhow::bail!("the watches ended"),
            },
        }
    }
    tracing::info!("stopping");
    if stopping.send(true).is_ok() {
        let rest = passes.for_each(|_| async {});
        if tokio::time::timeout(DRAIN, rest).await.is_err() {
            tracing::warn!("passes in progress were cut off; the next leader takes them up");
        }
    }
    Ok(())
}
