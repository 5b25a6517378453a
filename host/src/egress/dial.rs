//! Opens connections: resolves the host, drops forbidden addresses, and dials what is left, so that no second answer of a name
//! server can lead elsewhere. Addresses in URLs take the same way.

use std::{
    collections::HashMap,
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::{
    client::legacy::connect::{HttpConnector, dns::Name},
    rt::TokioIo,
};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio::{net::TcpStream, sync::Semaphore};
use tower::{Service, service_fn};
use url::Host;

use super::{AddressPolicy, EgressConfig, ForbiddenAddress, Shared, credential::Form};

/// Time for name, TCP and TLS together. It is the longest that a policy lets a plugin wait; it also ends attempts that go on
/// in the background after their request found another connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Lookups of one plugin under way. `getaddrinfo` can't be interrupted and may take many times a plugin's timeout, so without
/// a limit a dead name server would fill the process with threads.
const LOOKUPS: usize = 4;

/// Turns names into addresses.
#[async_trait]
pub trait Resolve: Send + Sync + 'static {
    /// The addresses of `host`, in the order in which they are to be tried.
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The system's resolver: /etc/hosts, /etc/resolv.conf and its search list, as every program in the container uses.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect())
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    #[error("its host name can't be resolved")]
    Resolve(#[source] io::Error),
    #[error("its host name has no address")]
    NoAddress,
    #[error("all of its addresses are forbidden, the first as {0}")]
    Forbidden(ForbiddenAddress),
    #[error("its host can't be reached")]
    Connect(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("no connection within {} seconds", CONNECT_TIMEOUT.as_secs())]
    Slow,
}

type BoxFuture<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Connects one plugin: TCP as [`Dial`] does it, then TLS with HTTP/2 or HTTP/1.1, all in time.
#[derive(Clone)]
pub(super) struct Connector {
    anonymous: HttpsConnector<Dial>,
    /// Those that show a certificate, by the authority of their origin.
    identified: Arc<HashMap<String, HttpsConnector<Dial>>>,
}

impl Connector {
    pub(super) fn new(shared: &Shared, config: &EgressConfig, dial: &Dial) -> Self {
        let tls = |certificate: Option<&Arc<CertifiedKey>>| {
            let mut tls = shared.tls_for(config.extra_roots.as_ref());
            // Tickets are one plugin's own, and one identity's: a session must not outlive the plugin or be taken up by another.
            tls.resumption = rustls::client::Resumption::in_memory_sessions(32);
            if let Some(certificate) = certificate {
                tls.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(Arc::clone(certificate)));
            }
            let builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_all_versions();
            builder.wrap_connector(dial.clone())
        };
        let identified = config.credentials.iter().filter_map(|credential| match credential.form() {
            Form::ClientCertificate(certificate) => Some((credential.origin().authority(), tls(Some(certificate)))),
            _ => None,
        });
        Self { identified: Arc::new(identified.collect()), anonymous: tls(None) }
    }

    /// A certificate is for https alone, so that an authority tells one origin from another.
    fn of(&mut self, target: &Uri) -> HttpsConnector<Dial> {
        let authority = target.authority().filter(|_| target.scheme_str() == Some("https"));
        let identified = authority.and_then(|authority| self.identified.get(authority.as_str()));
        identified.unwrap_or(&self.anonymous).clone()
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.anonymous.poll_ready(context)
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let connecting = self.of(&target).call(target);
        Box::pin(async { tokio::time::timeout(CONNECT_TIMEOUT, connecting).await.map_err(|_| DialError::Slow)? })
    }
}

/// Resolves, checks and dials for one plugin.
#[derive(Clone)]
pub(super) struct Dial {
    shared: Arc<Shared>,
    /// Whether none of the operator's exceptions hold.
    strict: bool,
    lookups: Arc<Semaphore>,
}

impl Service<Uri> for Dial {
    type Response = TokioIo<TcpStream>;
    type Error = DialError;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let dial = self.clone();
        Box::pin(async move {
            let host = target.host().and_then(|host| Host::parse(host).ok()).ok_or(DialError::NoAddress)?;
            let port = target.port_u16().unwrap_or(if target.scheme_str() == Some("http") { 80 } else { 443 });
            let found = dial.look_up(host).await?;
            connect(target, dial.allowed(found, port)?).await
        })
    }
}

impl Dial {
    pub(super) fn new(shared: Arc<Shared>, strict: bool) -> Self {
        Self { shared, strict, lookups: Arc::new(Semaphore::new(LOOKUPS)) }
    }

    /// The addresses of a host, unchecked, in the time that a connection may take.
    pub(super) async fn addresses(&self, host: &Host<String>) -> Result<Vec<IpAddr>, DialError> {
        tokio::time::timeout(CONNECT_TIMEOUT, self.look_up(host.clone())).await.map_err(|_| DialError::Slow)?
    }

    /// The addresses that this plugin may dial now; an error if there are none.
    pub(super) fn allowed(&self, found: Vec<IpAddr>, port: u16) -> Result<Vec<SocketAddr>, DialError> {
        let policy = self.shared.addresses.load();
        if self.strict { allowed(&policy.strict(), found, port) } else { allowed(&policy, found, port) }
    }

    /// The permit is the lookup's, not the caller's: a caller that gives up leaves the lookup, and its thread, behind.
    async fn look_up(&self, host: Host<String>) -> Result<Vec<IpAddr>, DialError> {
        let name = match host {
            Host::Ipv4(address) => return Ok(vec![address.into()]),
            Host::Ipv6(address) => return Ok(vec![address.into()]),
            Host::Domain(name) => name,
        };
        let stopping = || DialError::Resolve(io::Error::other("the adapter is stopping"));
        let permit = Arc::clone(&self.lookups).acquire_owned().await.map_err(|_| stopping())?;
        let resolver = Arc::clone(&self.shared.resolver);
        let lookup = tokio::spawn(async move {
            let found = resolver.resolve(&name).await;
            drop(permit);
            found
        });
        lookup.await.map_err(|_| stopping())?.map_err(DialError::Resolve)
    }
}

/// The addresses that may be dialled; an error if there are none.
fn allowed(policy: &AddressPolicy, found: Vec<IpAddr>, port: u16) -> Result<Vec<SocketAddr>, DialError> {
    let mut refused = None;
    let mut addresses = Vec::new();
    for address in found.into_iter().map(|ip| SocketAddr::new(ip, port)) {
        match policy.check(address) {
            Ok(()) => addresses.push(address),
            Err(class) => refused = refused.or(Some(class)),
        }
    }
    match (addresses.is_empty(), refused) {
        (false, _) => Ok(addresses),
        (true, Some(class)) => Err(DialError::Forbidden(class)),
        (true, None) => Err(DialError::NoAddress),
    }
}

/// Dials the checked addresses, IPv6 and IPv4 in turn (RFC 8305), as hyper does it.
async fn connect(target: Uri, addresses: Vec<SocketAddr>) -> Result<TokioIo<TcpStream>, DialError> {
    let pinned = service_fn(move |_: Name| {
        let addresses = addresses.clone();
        async move { Ok::<_, Infallible>(addresses.into_iter()) }
    });
    let mut connector = HttpConnector::new_with_resolver(pinned);
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector.call(target).await.map_err(|error| DialError::Connect(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn dialled(texts: &[&str], port: u16) -> Result<Vec<SocketAddr>, DialError> {
        allowed(&AddressPolicy::default(), addresses(texts), port)
    }

    #[test]
    fn forbidden_addresses_are_dropped_and_the_rest_is_dialled() {
        let dialled = dialled(&["127.0.0.1", "10.0.0.7", "::1", "fd00::7"], 8080).unwrap();
        assert_eq!(dialled, ["10.0.0.7:8080".parse().unwrap(), "[fd00::7]:8080".parse().unwrap()]);
    }

    #[test]
    fn a_name_with_forbidden_addresses_alone_leads_nowhere() {
        let refused = dialled(&["169.254.169.254", "127.0.0.1"], 80).unwrap_err();
        assert!(matches!(refused, DialError::Forbidden(ForbiddenAddress::LinkLocal)));
        assert!(matches!(dialled(&[], 80).unwrap_err(), DialError::NoAddress));
    }
}
