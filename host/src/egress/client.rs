//! Exchanges requests for responses, for one plugin: one pool of connections, one budget, nothing shared with other plugins but
//! the rules. Dropping the client closes its idle connections.

use std::{error::Error as StdError, io, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper_util::{
    client::legacy,
    rt::{TokioExecutor, TokioTimer},
};
use tokio::{runtime::Handle, sync::Semaphore};
use tokio_util::task::AbortOnDropHandle;

use super::{
    AddressPolicy, Credential, EgressError, Origin, Origins, Request, Resolve, Response, TrustError, TrustRoots,
    dial::{Connector, DialError},
    request,
};
use crate::model::PluginId;

/// How long an idle connection is kept: two periods of the HPA controller, which asks every 15 seconds.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Idle connections to one origin: what a plugin that asks a few things at once uses again.
const IDLE_PER_ORIGIN: usize = 4;
/// Bytes of a response's headers, and of hyper's read buffer with them.
const MAX_RESPONSE_HEADER_BYTES: u32 = 64 * 1024;

/// What all plugins' clients have in common.
pub struct Shared {
    pub(super) tls: rustls::ClientConfig,
    pub(super) resolver: Arc<dyn Resolve>,
    pub(super) addresses: AddressPolicy,
    /// The runtime on which connections live, whatever runtime a guest waits on: busy guests do not slow them.
    home: Handle,
}

impl Shared {
    /// Rules for all clients. Must be called on the Tokio runtime on which connections are to live.
    ///
    /// # Errors
    ///
    /// A TLS library that refuses its own defaults.
    pub fn new(roots: TrustRoots, resolver: Arc<dyn Resolve>, addresses: AddressPolicy) -> Result<Self, TrustError> {
        Ok(Self { tls: roots.client_config()?, resolver, addresses, home: Handle::current() })
    }
}

/// What one plugin may do. The default is nothing.
#[derive(Debug, Clone, Default)]
pub struct EgressConfig {
    /// Where it may go.
    pub origins: Origins,
    /// What the host puts on its requests.
    pub credentials: Vec<Credential>,
    /// Bytes of a response's body at most.
    pub response_bytes: u64,
    /// Exchanges under way at once; more wait, within their timeouts. It bounds sockets and memory: at most this many
    /// connections are busy and this many bodies held, whatever a guest asks for.
    pub exchanges: usize,
}

/// The way of one plugin to its backends.
pub struct Client {
    plugin: PluginId,
    config: EgressConfig,
    shared: Arc<Shared>,
    pool: legacy::Client<Connector, Full<Bytes>>,
    exchanges: Arc<Semaphore>,
}

impl Client {
    /// A client without connections; they are opened when they are needed.
    pub fn new(plugin: PluginId, config: EgressConfig, shared: Arc<Shared>) -> Self {
        let pool = legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_PER_ORIGIN)
            .http1_max_buf_size(MAX_RESPONSE_HEADER_BYTES as usize)
            .http2_max_header_list_size(MAX_RESPONSE_HEADER_BYTES)
            .build(Connector::new(&shared));
        let exchanges = Arc::new(Semaphore::new(config.exchanges));
        Self { plugin, config, shared, pool, exchanges }
    }

    /// One exchange, complete within `timeout`: waiting for a free slot, name, connection, request and the response's last
    /// byte. A response of any status is a response. Dropping the future ends the exchange.
    ///
    /// # Errors
    ///
    /// See [`EgressError`].
    pub async fn fetch(&self, request: Request, timeout: Duration) -> Result<Response, EgressError> {
        let (origin, outgoing) = request::prepare(request, &self.plugin, &self.config)?;
        let exchange = exchange(self.pool.clone(), Arc::clone(&self.exchanges), outgoing, self.config.response_bytes);
        let task = AbortOnDropHandle::new(self.shared.home.spawn(tokio::time::timeout(timeout, exchange)));
        match task.await {
            Ok(Ok(Ok(response))) => Ok(response),
            Ok(Ok(Err(failure))) => Err(failure.at(origin)),
            Ok(Err(_)) => Err(EgressError::Timeout { origin }),
            Err(_) => Err(EgressError::Failed { origin, cause: "the adapter is stopping".to_owned() }),
        }
    }
}

/// What can go wrong once a request is on its way.
enum Failure {
    Stopping,
    Request(legacy::Error),
    Body(Box<dyn StdError + Send + Sync>),
    TooLarge(u64),
}

async fn exchange(
    pool: legacy::Client<Connector, Full<Bytes>>,
    exchanges: Arc<Semaphore>,
    request: http::Request<Full<Bytes>>,
    response_bytes: u64,
) -> Result<Response, Failure> {
    let _permit = exchanges.acquire().await.map_err(|_| Failure::Stopping)?;
    let (head, body) = pool.request(request).await.map_err(Failure::Request)?.into_parts();
    let headers = head
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    Ok(Response { status: head.status.as_u16(), headers, body: read(body, response_bytes).await? })
}

/// The whole body, or an error as soon as it is announced or found to be larger than `limit` bytes.
async fn read(body: Incoming, limit: u64) -> Result<Bytes, Failure> {
    if body.size_hint().lower() > limit {
        return Err(Failure::TooLarge(limit));
    }
    match Limited::new(body, usize::try_from(limit).unwrap_or(usize::MAX)).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Failure::TooLarge(limit)),
        Err(error) => Err(Failure::Body(error)),
    }
}

impl Failure {
    fn at(self, origin: Origin) -> EgressError {
        let error: &(dyn StdError + 'static) = match &self {
            Self::Stopping => return EgressError::Failed { origin, cause: "the adapter is stopping".to_owned() },
            Self::TooLarge(limit) => return EgressError::TooLarge { origin, limit: *limit },
            Self::Request(error) => error,
            Self::Body(error) => error.as_ref(),
        };
        let mut innermost = error;
        for error in std::iter::successors(Some(error), |error| cause(*error)) {
            innermost = error;
            match (error.downcast_ref::<DialError>(), error.downcast_ref::<rustls::Error>()) {
                (Some(DialError::Forbidden(class)), _) => {
                    return EgressError::AddressForbidden { origin, class: *class };
                }
                (Some(DialError::Slow), _) => return EgressError::Timeout { origin },
                (_, Some(tls)) => return EgressError::Failed { origin, cause: tls_cause(tls) },
                (Some(dial @ DialError::Resolve(_)), _) => {
                    return EgressError::Failed { origin, cause: dial.to_string() };
                }
                _ => {}
            }
        }
        EgressError::Failed { origin, cause: innermost.to_string() }
    }
}

/// What caused an error. An `io::Error` hides what it wraps from `source`, so it is unwrapped here.
fn cause<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

fn tls_cause(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(cause) => {
            format!(
                "its certificate is not trusted ({cause}); add its authority to the adapter's trusted certificates, or correct its names"
            )
        }
        other => format!("TLS failed ({other})"),
    }
}
