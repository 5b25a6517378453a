//! Bytes to requests: accepts connections, does TLS and HTTP/1.1 or HTTP/2, and hands each request to a tower service with its
//! connection attached. Bounds whatever a stranger could hold open. Never knows paths, metrics, Kubernetes or wasm.

mod activity;
mod places;
pub mod tls;

use std::{convert::Infallible, sync::Arc, time::Duration};

use http::{Request, Response};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::{Service, util::ServiceExt};

pub use tls::{ServingCertificate, TlsPolicy, TlsPolicyError, UnusableCertificate, server_config};

use self::{
    activity::Activity,
    places::{Place, Places},
};
use crate::model::Connection;

/// How long to wait after a failed `accept` (no descriptors left, say), so that the loop doesn't spin.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// What one client may hold. The defaults are for one kube-apiserver or a few, each with a handful of long connections, beside
/// probes and Prometheus.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at once; more wait in the kernel's queue. A connection costs about 50 KiB.
    pub connections: usize,
    /// Of these, from one address; more are closed as they come, so that no single machine takes all places.
    pub connections_per_address: usize,
    /// For the TLS handshake. A round trip to another zone takes milliseconds; what needs longer is not a client.
    pub handshake: Duration,
    /// For a request's headers, HTTP/1.1 only; as long as in k8s.io/apiserver (`pkg/server/secure_serving.go`).
    pub header_read: Duration,
    /// After the last request, before a connection is asked to close; as in k8s.io/apiserver. Longer than the aggregator's
    /// 30 seconds between availability checks, so that its one connection stays.
    pub idle: Duration,
    /// The same for a connection whose client has not been authenticated: its requests come at once, or somebody only holds it.
    pub stranger_idle: Duration,
    /// For a peer to read its last answer and to close when it is asked to, after which its connection is cut.
    pub farewell: Duration,
    /// Requests at once on an HTTP/2 connection. The aggregator multiplexes all of a cluster's clients over one, so it is what
    /// k8s.io/apiserver recommends for aggregated servers (`pkg/server/options/recommended.go`).
    pub streams: u32,
    /// Bytes of request bodies that a client may send over HTTP/2 before they are read, which they never are.
    pub window_bytes: u32,
    /// Requests that a client may take back before they are begun; more end its connection (CVE-2023-44487).
    pub reset_streams: usize,
    /// Bytes of a request's headers. A user of 1,000 groups, each a header line, fits.
    pub header_bytes: u32,
    /// Header lines of an HTTP/1.1 request, for the same user.
    pub header_lines: usize,
    /// Between pings of a silent HTTP/2 connection: a peer that vanished without a FIN is noticed after this and `ping_wait`.
    pub ping_every: Duration,
    /// For the answer to a ping.
    pub ping_wait: Duration,
    /// For requests under way when the server shuts down, after which connections are cut.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            connections_per_address: 1024,
            handshake: Duration::from_secs(10),
            header_read: Duration::from_secs(32),
            idle: Duration::from_secs(90),
            stranger_idle: Duration::from_secs(10),
            farewell: Duration::from_secs(5),
            streams: 1000,
            window_bytes: 64 * 1024,
            reset_streams: 20,
            header_bytes: 256 * 1024,
            header_lines: 2048,
            ping_every: Duration::from_secs(30),
            ping_wait: Duration::from_secs(15),
            drain: Duration::from_secs(20),
        }
    }
}

/// A TLS server on one listener.
///
/// Each request carries an `Arc<model::Connection>` among its extensions, the same for all requests of a connection.
#[derive(Debug)]
pub struct Server<S> {
    /// Where clients come in.
    pub listener: TcpListener,
    /// Usually of [`server_config`].
    pub tls: Arc<rustls::ServerConfig>,
    /// Answers requests: an `axum::Router`, or any other tower service.
    pub service: S,
    /// What a client may hold.
    pub limits: Limits,
}

impl<S, B> Server<S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// Serves until `shutdown`, then lets requests under way finish within [`Limits::drain`]. Returns when every connection has
    /// ended.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self { listener, tls, service, limits } = self;
        let cut = CancellationToken::new();
        let tracker = TaskTracker::new();
        let places = Places::new(limits.connections, limits.connections_per_address);
        let drain = limits.drain;
        let per_connection =
            Arc::new(PerConnection { tls: TlsAcceptor::from(tls), http: protocol(&limits), service, limits });
        while let Some((stream, place)) = next_client(&listener, &places, &shutdown).await {
            let (per_connection, shutdown, cut) = (per_connection.clone(), shutdown.clone(), cut.clone());
            tracker.spawn(async move {
                tokio::select! {
                    () = per_connection.serve(stream, &shutdown) => {}
                    () = cut.cancelled() => {}
                }
                drop(place);
            });
        }
        drop(listener);
        tracker.close();
        if timeout(drain, tracker.wait()).await.is_err() {
            tracing::warn!(
                connections = tracker.len(),
                "requests were still under way after the drain time; cutting their connections"
            );
            cut.cancel();
            tracker.wait().await;
        }
    }
}

/// The next connection and its place among [`Limits::connections`]; `None` at shutdown.
async fn next_client(
    listener: &TcpListener,
    places: &Arc<Places>,
    shutdown: &CancellationToken,
) -> Option<(TcpStream, Place)> {
    let client = async {
        let mut free = places.free().await?;
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => match places.take(free, peer.ip()) {
                    Ok(place) => return Some((stream, place)),
                    Err(still_free) => free = still_free,
                },
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(ACCEPT_BACKOFF).await;
                }
            }
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => None,
        client = client => client,
    }
}

fn protocol(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_read)
        .max_buf_size(usize::try_from(limits.header_bytes).unwrap_or(usize::MAX))
        .max_headers(limits.header_lines);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .initial_stream_window_size(limits.window_bytes)
        .initial_connection_window_size(limits.window_bytes)
        .max_pending_accept_reset_streams(limits.reset_streams)
        .max_header_list_size(limits.header_bytes)
        .keep_alive_interval(limits.ping_every)
        .keep_alive_timeout(limits.ping_wait);
    builder
}

/// What all connections share.
struct PerConnection<S> {
    tls: TlsAcceptor,
    http: auto::Builder<TokioExecutor>,
    service: S,
    limits: Limits,
}

impl<S, B> PerConnection<S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// Serves one connection to its end.
    async fn serve(&self, stream: TcpStream, shutdown: &CancellationToken) {
        // Answers are small and whole: Nagle's algorithm could only delay them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        let peer = stream.peer_addr().ok();
        let stream = match timeout(self.limits.handshake, self.tls.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake failed"),
            Err(_) => return tracing::debug!("TLS handshake took too long"),
        };
        let connection = Arc::new(Connection::of(peer, peer_certificates(&stream)));
        let activity = Arc::new(Activity::new(connection.clone()));
        let answer = service_fn(|mut request: Request<Incoming>| {
            request.extensions_mut().insert(connection.clone());
            let (activity, service) = (activity.clone(), self.service.clone());
            async move {
                // The connection is about to end. Clients know this answer as "not begun", and ask again on another.
                let under_way = Activity::enter(&activity, request.version()).ok_or(h2::Reason::REFUSED_STREAM)?;
                let Ok(answer) = service.oneshot(request).await;
                drop(under_way);
                Ok::<_, h2::Error>(answer)
            }
        });
        let mut http = std::pin::pin!(self.http.serve_connection(TokioIo::new(stream), answer));
        tokio::select! {
            result = http.as_mut() => return log_end(result),
            () = shutdown.cancelled() => {}
            () = activity.over(&self.limits) => {}
        }
        http.as_mut().graceful_shutdown();
        // A peer that doesn't mind the GOAWAY is cut; at shutdown `run` sets the limit.
        tokio::select! {
            result = http.as_mut() => log_end(result),
            () = activity.quiet_for(self.limits.farewell) => {}
        }
    }
}

fn log_end<E: std::fmt::Display>(result: Result<(), E>) {
    if let Err(error) = result {
        tracing::debug!(%error, "connection ended early");
    }
}

fn peer_certificates(stream: &TlsStream<TcpStream>) -> Vec<Vec<u8>> {
    let (_, session) = stream.get_ref();
    session.peer_certificates().unwrap_or_default().iter().map(|certificate| certificate.to_vec()).collect()
}

#[cfg(test)]
mod tests;
