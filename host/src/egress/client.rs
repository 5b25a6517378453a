//! Exchanges requests for responses, for one plugin: one pool of connections, one budget, nothing shared with other plugins but
//! the rules. Dropping the client closes its idle connections.

use std::{collections::HashMap, sync::Arc, time::Duration};

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
    credential::{self, Endpoint, Form, TokenCache},
    dial::Connector,
    request,
    trust::{ReplaceableTrust, WidenedTrust},
};
use crate::model::PluginId;

/// How long an idle connection is kept: two periods of the HPA controller, which asks every 15 seconds.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Idle connections to one origin: what a plugin that asks a few things at once uses again.
const IDLE_PER_ORIGIN: usize = 4;
/// Bytes of a response's header names and values: what hyper buffers of a head before it gives up, and what a guest gets.
const MAX_RESPONSE_HEADER_BYTES: u32 = 64 * 1024;

/// One plugin's connections.
pub(super) type Pool = legacy::Client<Connector, Full<Bytes>>;

/// What all plugins' clients have in common.
pub struct Shared {
    tls: rustls::ClientConfig,
    trust: Arc<ReplaceableTrust>,
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
        let trust = ReplaceableTrust::new(roots)?;
        Ok(Self { tls: trust.client_config()?, trust, resolver, addresses, home: Handle::current() })
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
    pool: Pool,
    /// For those origins whose credential is a token that ends.
    tokens: HashMap<Origin, Arc<TokenCache>>,
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
            .build(Connector::new(&shared, &config));
        let tokens = tokens(&config.credentials, &pool, &shared.home);
        let exchanges = Arc::new(Semaphore::new(config.exchanges));
        Self { plugin, config, shared, pool, tokens, exchanges }
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
        let exchange = Exchange {
            pool: self.pool.clone(),
            exchanges: Arc::clone(&self.exchanges),
            origin: origin.clone(),
            response_bytes: self.config.response_bytes,
        };
        let tokens = self.tokens.get(&origin).cloned();
        let sending = async move {
            match tokens {
                Some(tokens) => tokens.exchange(&exchange.origin, outgoing, |request| exchange.send(request)).await,
                None => exchange.send(outgoing).await,
            }
        };
        let task = AbortOnDropHandle::new(self.shared.home.spawn(tokio::time::timeout(timeout, sending)));
        let mut response = match task.await {
            Ok(Ok(answer)) => answer?,
            Ok(Err(_)) => return Err(EgressError::Timeout { origin }),
            Err(_) => return Err(EgressError::stopping(origin)),
        };
        let ours = self.config.credentials_for(&origin);
        for (name, value) in &mut response.headers {
            *value = credential::without_query(&ours, name, std::mem::take(value));
        }
        Ok(response)
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

/// What an exchange needs, away from the client.
struct Exchange {
    pool: Pool,
    exchanges: Arc<Semaphore>,
    origin: Origin,
    response_bytes: u64,
}

impl Exchange {
    /// One exchange, as long as it takes.
    async fn send(&self, request: http::Request<Full<Bytes>>) -> Result<Response, EgressError> {
        let origin = &self.origin;
        let Ok(_permit) = self.exchanges.acquire().await else { return Err(EgressError::stopping(origin.clone())) };
        let response = self.pool.request(request).await.map_err(|error| EgressError::explain(origin, &error))?;
        let (head, body) = response.into_parts();
        let headers = readable(origin, &head.headers)?;
        Ok(Response { status: head.status.as_u16(), headers, body: read(origin, body, self.response_bytes).await? })
    }
}

/// Headers as a guest gets them.
fn readable(origin: &Origin, headers: &HeaderMap) -> Result<Vec<(String, String)>, EgressError> {
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
