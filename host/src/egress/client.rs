//! Exchanges requests for responses, for one plugin: one pool of connections, one budget, nothing shared with other plugins but
//! the rules. Dropping the client closes its idle connections.

use std::{collections::HashMap, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper_util::{
    client::legacy,
    rt::{TokioExecutor, TokioTimer},
};
use tokio::{runtime::Handle, sync::Semaphore};
use tokio_util::task::AbortOnDropHandle;
use zeroize::Zeroizing;

use super::{
    AddressPolicy, Credential, EgressError, ExtraRoots, Origin, Origins, Request, Resolve, Response, TrustError,
    TrustRoots,
    breaker::{Admission, Breaker},
    credential::{self, Endpoint, Form, TokenCache},
    dial::{Connector, Dial},
    request,
    retry::{self, RetryBudget},
    socket::Sockets,
    trust::{ReplaceableTrust, WidenedTrust},
};
use crate::{
    model::PluginId,
    telemetry::{Metrics, PluginLabels},
};

/// How long an idle connection is kept: two periods of the HPA controller, which asks every 15 seconds.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Idle connections to one origin: what a plugin that asks a few things at once uses again.
const IDLE_PER_ORIGIN: usize = 4;
/// Bytes of a response's header names and values: what hyper buffers of a head before it gives up, and what a guest gets.
const MAX_RESPONSE_HEADER_BYTES: u32 = 64 * 1024;
/// Header lines of a response: what hyper takes by itself for HTTP/1.1, said here for both versions.
const MAX_RESPONSE_HEADERS: usize = 100;

/// One plugin's connections.
pub(super) type Pool = legacy::Client<Connector, Full<Bytes>>;

/// What all plugins' clients have in common.
pub struct Shared {
    tls: rustls::ClientConfig,
    trust: Arc<ReplaceableTrust>,
    pub(super) resolver: Arc<dyn Resolve>,
    pub(super) addresses: ArcSwap<AddressPolicy>,
    metrics: Arc<Metrics>,
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
        let trust = ReplaceableTrust::new(roots)?;
        let (tls, metrics, addresses) = (trust.client_config()?, Arc::default(), ArcSwap::from_pointee(addresses));
        Ok(Self { tls, trust, resolver, addresses, metrics, home: Handle::current() })
    }

    /// Counts in these.
    #[must_use]
    pub fn with_metrics(self, metrics: Arc<Metrics>) -> Self {
        Self { metrics, ..self }
    }

    /// Judges addresses by these rules from the next connection of every plugin on; connections that are there go on.
    pub fn replace_addresses(&self, addresses: AddressPolicy) {
        self.addresses.store(Arc::new(addresses));
    }

    /// TLS for a plugin with more authorities than others, or without.
    pub(super) fn tls_for(&self, extra: Option<&ExtraRoots>) -> rustls::ClientConfig {
        let mut tls = self.tls.clone();
        if let Some(own) = extra.cloned() {
            let widened = WidenedTrust { everybodys: Arc::clone(&self.trust), own };
            tls.dangerous().set_certificate_verifier(Arc::new(widened));
        }
        tls
    }

    /// Trusts these authorities from the next handshake of every plugin on; connections that are there go on.
    ///
    /// # Errors
    ///
    /// Roots that the TLS library refuses; then those of before stay.
    pub fn replace_roots(&self, roots: TrustRoots) -> Result<(), TrustError> {
        self.trust.replace(roots)
    }
}

/// What one plugin may do. The default is nothing.
#[derive(Debug, Clone, Default)]
pub struct EgressConfig {
    /// Where it may go.
    pub origins: Origins,
    /// What the host puts on its requests.
    pub credentials: Vec<Credential>,
    /// Authorities that its backends are verified by as well.
    pub extra_roots: Option<ExtraRoots>,
    /// Bytes of a response's body at most.
    pub response_bytes: u64,
    /// Exchanges under way at once; more wait, within their timeouts. It bounds sockets and memory: at most this many
    /// connections are busy and this many bodies held, whatever a guest asks for.
    pub exchanges: usize,
    /// Whether the operator's networks of loopback addresses ([`AddressPolicy::loopback`]) are not for it.
    pub strict_addresses: bool,
}

/// The way of one plugin to its backends.
pub struct Client {
    plugin: PluginId,
    config: EgressConfig,
    shared: Arc<Shared>,
    dial: Dial,
    exchanger: Exchanger,
    /// For those origins whose credential is a token that ends.
    tokens: HashMap<Origin, Arc<TokenCache>>,
    backends: HashMap<Origin, Backend>,
}

/// What is known of one origin: how it did, and how often it may be asked again.
struct Backend {
    breaker: Arc<Breaker>,
    retries: Arc<RetryBudget>,
}

impl Client {
    /// A client without connections; they are opened when they are needed.
    pub fn new(plugin: PluginId, config: EgressConfig, shared: Arc<Shared>) -> Self {
        let dial = Dial::new(shared.clone(), config.strict_addresses);
        let exchanger = Exchanger::new(&plugin, &config, &shared, &dial);
        let tokens = tokens(&config.credentials, &exchanger.pool, &shared.home);
        let backend = |origin: &Origin| Backend {
            breaker: Breaker::new(plugin.clone(), origin.clone(), shared.metrics.clone()),
            retries: Arc::new(RetryBudget::new()),
        };
        let backends = config.origins.iter().map(|origin| (origin.clone(), backend(origin))).collect();
        Self { plugin, config, shared, dial, exchanger, tokens, backends }
    }

    /// The secrets that the host puts on this plugin's requests, as they are sent: for taking them out of texts, and nothing else.
    pub fn secrets(&self) -> impl Iterator<Item = Zeroizing<String>> {
        let known = self.config.credentials.iter().filter_map(Credential::secret);
        known.chain(self.tokens.values().flat_map(|tokens| tokens.held()))
    }

    /// One exchange, complete within `timeout`: waiting for a free slot, name, connection, request and the response's last
    /// byte. A response of any status is a response. Dropping the future ends the exchange.
    ///
    /// # Errors
    ///
    /// See [`EgressError`].
    pub async fn fetch(&self, request: Request, timeout: Duration) -> Result<Response, EgressError> {
        let (origin, outgoing) = request::prepare(request, &self.plugin, &self.config)?;
        let Some(backend) = self.backends.get(&origin) else {
            return Err(EgressError::OriginNotAllowed { plugin: self.plugin.clone(), origin });
        };
        let admission = backend.breaker.admit()?;
        let (exchanger, tokens) = (self.exchanger.clone(), self.tokens.get(&origin).cloned());
        let (retries, of) = (Arc::clone(&backend.retries), origin.clone());
        let exchange = async move {
            let send = |request| exchanger.exchange(&of, request, &retries, &admission);
            let sending = async {
                match tokens {
                    Some(tokens) => tokens.exchange(&of, outgoing, send).await,
                    None => send(outgoing).await,
                }
            };
            let timed = tokio::time::timeout(timeout, sending).await;
            let answer = timed.unwrap_or_else(|_| Err(EgressError::Timeout { origin: of.clone() }));
            admission.settle(answer.as_ref().map(|response| response.status));
            answer
        };
        let task = AbortOnDropHandle::new(self.shared.home.spawn(exchange));
        let mut response = task.await.map_err(|_| EgressError::stopping(origin.clone()))??;
        let ours = self.config.credentials_for(&origin);
        for (name, value) in &mut response.headers {
            *value = credential::without_query(&ours, name, std::mem::take(value));
        }
        Ok(response)
    }

    /// What one call of the plugin may reach by TCP.
    pub fn sockets(&self) -> Sockets {
        Sockets::new(self.plugin.clone(), self.config.origins.iter(), self.dial.clone())
    }

    /// Bytes that a backend may send at most.
    pub fn response_bytes(&self) -> u64 {
        self.config.response_bytes
    }
}

impl EgressConfig {
    /// What goes with requests to `origin`.
    pub(super) fn credentials_for(&self, origin: &Origin) -> Vec<&Credential> {
        self.credentials.iter().filter(|credential| credential.origin() == origin).collect()
    }
}

/// A cache of tokens for each credential that is one.
fn tokens(credentials: &[Credential], pool: &Pool, home: &Handle) -> HashMap<Origin, Arc<TokenCache>> {
    let tokens = credentials.iter().filter_map(|credential| {
        let source = match credential.form() {
            Form::Token(source) => Arc::clone(source),
            Form::OAuth2(client) => Arc::new(Endpoint { client: Arc::clone(client), pool: pool.clone() }),
            Form::Header(..) | Form::Query(..) | Form::ClientCertificate(_) => return None,
        };
        Some((credential.origin().clone(), Arc::new(TokenCache::new(source, home.clone()))))
    });
    tokens.collect()
}

/// One plugin's connections and how they are used.
#[derive(Clone)]
struct Exchanger {
    pool: Pool,
    slots: Arc<Semaphore>,
    response_bytes: u64,
    metrics: Arc<Metrics>,
    labels: PluginLabels,
}

impl Exchanger {
    fn new(plugin: &PluginId, config: &EgressConfig, shared: &Shared, dial: &Dial) -> Self {
        let pool = legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_PER_ORIGIN)
            .http1_max_buf_size(MAX_RESPONSE_HEADER_BYTES as usize)
            .http2_max_header_list_size(MAX_RESPONSE_HEADER_BYTES)
            .build(Connector::new(shared, config, dial));
        let slots = Arc::new(Semaphore::new(config.exchanges));
        let labels = PluginLabels { plugin: plugin.to_string() };
        Self { pool, slots, response_bytes: config.response_bytes, metrics: shared.metrics.clone(), labels }
    }

    /// One exchange, as long as it takes.
    async fn exchange(
        &self,
        origin: &Origin,
        request: http::Request<Full<Bytes>>,
        retries: &RetryBudget,
        admission: &Admission,
    ) -> Result<Response, EgressError> {
        let Ok(_slot) = self.slots.acquire().await else { return Err(EgressError::stopping(origin.clone())) };
        admission.begin();
        let response = self.send(request, retries).await.map_err(|error| EgressError::explain(origin, &error))?;
        let (head, body) = response.into_parts();
        let headers = readable(origin, &head.headers)?;
        Ok(Response { status: head.status.as_u16(), headers, body: read(origin, body, self.response_bytes).await? })
    }

    /// Sends a request, and once more if its connection was lost, that does no harm, and the budget allows it.
    async fn send(
        &self,
        request: http::Request<Full<Bytes>>,
        retries: &RetryBudget,
    ) -> Result<http::Response<Incoming>, legacy::Error> {
        retries.earn();
        let again = retry::is_repeatable(&request).then(|| request.clone());
        match (self.pool.request(request).await, again) {
            (Err(error), Some(again)) if retry::is_lost_connection(&error) && retries.spend() => {
                self.metrics.backend_retries.get_or_create(&self.labels).inc();
                self.pool.request(again).await
            }
            (outcome, _) => outcome,
        }
    }
}

/// Headers as a guest gets them.
fn readable(origin: &Origin, headers: &HeaderMap) -> Result<Vec<(String, String)>, EgressError> {
    if headers.len() > MAX_RESPONSE_HEADERS {
        let cause = format!("its response has more than {MAX_RESPONSE_HEADERS} headers");
        return Err(EgressError::Failed { origin: origin.clone(), cause });
    }
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if bytes > MAX_RESPONSE_HEADER_BYTES as usize {
        let cause = format!("the headers of its response are longer than {MAX_RESPONSE_HEADER_BYTES} bytes");
        return Err(EgressError::Failed { origin: origin.clone(), cause });
    }
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    Ok(headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect())
}

/// The whole body, or an error as soon as it is announced or found to be larger than `limit` bytes.
async fn read(origin: &Origin, body: Incoming, limit: u64) -> Result<Bytes, EgressError> {
    let too_large = || EgressError::TooLarge { origin: origin.clone(), limit };
    if body.size_hint().lower() > limit {
        return Err(too_large());
    }
    match Limited::new(body, usize::try_from(limit).unwrap_or(usize::MAX)).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(error) => Err(EgressError::explain(origin, error.as_ref())),
    }
}
