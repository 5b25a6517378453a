//! The only wiring: builds the rooms from the configuration, joins them, waits for the end. Holds no logic of its own, and nobody
//! imports it.

mod backend_trust;
mod certificate;
mod endpoints;
mod expiry;
mod filters;
mod health;
mod own_addresses;
mod pipeline;
mod requests;
mod rooms;

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use self::rooms::Rooms;
use crate::{
    api::Api,
    config::Config,
    registry, reload, serve,
    telemetry::{self, Metrics, Readiness, RequestLog},
};

/// Time between "not ready" and the end of new connections: endpoints need it to learn that this replica is leaving.
const LAME_DUCK: Duration = Duration::from_secs(3);

/// For the last lines of the request log; more than a full queue needs, less than a kubelet waits.
const LAST_LINES: Duration = Duration::from_secs(2);

/// Runs `serve` until SIGTERM or SIGINT.
pub fn run(config: Config) -> anyhow::Result<()> {
    telemetry::start_logging(&config.log_filter, config.log_format)?;
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    // Guests have threads of their own, so that TLS, authentication and discovery never queue behind them.
    let guests = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.guest_threads)
        .thread_name("guest")
        .enable_all()
        .build()
        .context("start the guests' threads")?;
    let serving = tokio::runtime::Builder::new_multi_thread().thread_name("serve").enable_all().build()?;
    let outcome = serving.block_on(serve(config, guests.handle().clone()));
    guests.shutdown_background();
    serving.shutdown_timeout(Duration::from_secs(1));
    outcome
}

async fn serve(config: Config, guests: tokio::runtime::Handle) -> anyhow::Result<()> {
    let (readiness, metrics) = (Readiness::default(), Arc::new(Metrics::default()));
    let first_loads = readiness.latch("plugins");
    let (stop, background) = (CancellationToken::new(), TaskTracker::new());
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("listen on {}; choose a free port with --secure-port", config.listen))?;
    let address = listener.local_addr()?;

    let rooms = Rooms::build(&config, guests, metrics.clone(), &stop, &background).await?;
    let certificate = certificate::start(&config, rooms.client.clone(), &stop, &background).await?;

    let (writer, reader) = registry::new();
    let board = Arc::<reload::Board>::default();
    let shared = rooms.reload(&config, writer, board.clone(), metrics.clone(), stop.clone());
    let reloader = reload::Reloader::new(shared, first_loads);
    let (events, inbox) = tokio::sync::mpsc::channel(64);
    background.spawn(rooms.source.run(events));
    let reloading = background.spawn(reloader.run(inbox, stop.clone()));

    let (log, log_end) = RequestLog::start(config.request_log, metrics.request_log_dropped.clone())
        .context("start the thread of the request log")?;
    let requests = requests::Requests { metrics: metrics.clone(), log };
    let expiry = expiry::Expiry { serving: certificate.clone(), trust: rooms.auth.trust.clone() };
    let endpoints = endpoints::Endpoints { readiness: readiness.clone(), metrics, board, expiry };
    let api = Api::new(Arc::new(reader), rooms.kinds, rooms.inventory);
    let pipeline = pipeline::Pipeline::new(&config, rooms.auth, api, endpoints, requests);
    let server = serve::Server {
        listener,
        tls: serve::server_config(certificate, &certificate::policy(&config)).context("--tls-cipher-suites")?,
        service: pipeline.into_router(),
        limits: serve::Limits::default(),
    };
    info!(%address, namespace = %config.namespace, "serving");
    let closing = CancellationToken::new();
    let server = tokio::spawn(server.run(closing.clone()));

    terminated().await?;
    info!("stopping: not ready from now on");
    readiness.drain();
    if config.cluster.is_some() {
        tokio::time::sleep(LAME_DUCK).await;
    }
    closing.cancel();
    server.await.context("serve")?;
    stop.cancel();
    reloading.await.context("reload")?;
    if log_end.wait(LAST_LINES).is_err() {
        warn!("the last lines of the request log could not be written in time");
    }
    info!("stopped");
    Ok(())
}

async fn terminated() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
