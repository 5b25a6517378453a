//! The only wiring: builds the rooms from the configuration, joins them, waits for the end. Holds no logic of its own, and nobody
//! imports it.

mod api_server;
mod backend_trust;
mod certificate;
mod endpoints;
mod expiry;
mod filters;
mod followed_file;
mod health;
mod own_addresses;
mod pipeline;
mod policy_file;
mod requests;
mod rooms;

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
};
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

/// Runs `serve` until SIGTERM or SIGINT, and then until requests under way are answered; a second signal is an error at once.
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
    if let Some(client) = rooms.client.clone() {
        background.spawn(api_server::look(client, readiness.notice("api-server"), stop.clone()));
    }
    let certificate = certificate::start(&config, rooms.client.clone(), &stop, &background).await?;

    let (writer, reader) = registry::new();
    let board = Arc::<reload::Board>::default();
    let shared = rooms.reload(&config, writer, board.clone(), metrics.clone(), stop.clone());
    let reloader = reload::Reloader::new(shared, first_loads);
    // Each event may be a ConfigMap of 1 MiB, and the reloader takes them as they come.
    let (events, inbox) = tokio::sync::mpsc::channel(1);
    if let Some(files) = rooms.plugin_files.clone() {
        background.spawn(files.run(events.clone()));
    }
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

    let mut signals = Signals::listen()?;
    signals.next().await;
    info!("stopping: not ready from now on");
    readiness.drain();
    let drained = async {
        if config.cluster.is_some() {
            tokio::time::sleep(LAME_DUCK).await;
        }
        closing.cancel();
        server.await.context("serve")?;
        stop.cancel();
        reloading.await.context("reload")
    };
    tokio::select! {
        drained = drained => drained?,
        // As k8s.io/apiserver `pkg/server/signal.go`: whoever asks twice means it.
        () = signals.next() => bail!("stopped at once by a second signal; requests under way were cut"),
    }
    if log_end.wait(LAST_LINES).is_err() {
        warn!("the last lines of the request log could not be written in time");
    }
    info!("stopped");
    Ok(())
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever waits longest is still answered before the kubelet kills.
    #[test]
    fn the_grace_period_of_the_deployment_covers_the_drain() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/base/deployment.yaml");
        let deployment: serde_json::Value = serde_saphyr::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        let seconds = |pointer: &str| Duration::from_secs(deployment.pointer(pointer).unwrap().as_u64().unwrap());
        let grace = seconds("/spec/template/spec/terminationGracePeriodSeconds");
        let before = seconds("/spec/template/spec/containers/0/lifecycle/preStop/sleep/seconds");
        let longest = before + LAME_DUCK + serve::Limits::default().drain + LAST_LINES;
        assert!(grace >= longest + Duration::from_secs(5), "{grace:?} is too short for {longest:?} and a busy node");
    }
}
