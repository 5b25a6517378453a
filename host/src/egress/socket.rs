//! TCP for guests that speak a backend's own protocol: which names one call may look up, and which addresses it may dial. The
//! guest dials by itself, so every address that a lookup gave is remembered, and no other is dialled: what was checked is what
//! is dialled here too.

use std::{
    collections::HashSet,
    net::{IpAddr, SocketAddr},
    sync::{Mutex, PoisonError},
};

use url::Host;

use super::{EgressError, Origin, Scheme, dial::Dial};
use crate::model::PluginId;

/// What one call may reach by TCP.
pub struct Sockets {
    plugin: PluginId,
    /// The `tcp://` origins of the plugin.
    origins: Vec<Origin>,
    dial: Dial,
    /// Addresses that this call has looked up, checked.
    pinned: Mutex<HashSet<SocketAddr>>,
}

/// Why a guest's socket leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SocketError {
    /// The plugin's owner did not name the host.
    #[error("no `tcp://` origin in `egress` of plugin {plugin} has the host `{host}`; add it there, with its port")]
    HostNotAllowed {
        /// Who asked.
        plugin: PluginId,
        /// For what.
        host: String,
    },
    /// An address that no lookup of this call gave for an origin with this port.
    #[error(
        "{address} is no address that this call has looked up for a `tcp://` origin in `egress` of plugin {plugin}; add the origin, and dial what its host name resolves to"
    )]
    AddressNotAllowed {
        /// Who asked.
        plugin: PluginId,
        /// For what.
        address: SocketAddr,
    },
    /// The host is named, and its addresses are forbidden or can't be found.
    #[error(transparent)]
    Unreachable(#[from] EgressError),
}

impl Sockets {
    pub(super) fn new<'a>(plugin: PluginId, origins: impl Iterator<Item = &'a Origin>, dial: Dial) -> Self {
        let origins = origins.filter(|origin| origin.scheme() == Scheme::Tcp).cloned().collect();
        Self { plugin, origins, dial, pinned: Mutex::default() }
    }

    /// Whether there is anything at all that may be reached.
    pub fn are_allowed(&self) -> bool {
        !self.origins.is_empty()
    }

    /// The addresses of a host that `egress` names, without forbidden ones. Takes 5 seconds at most.
    ///
    /// # Errors
    ///
    /// A host that no `tcp://` origin has (it is not looked up), one without addresses, and one whose addresses are all forbidden.
    pub async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, SocketError> {
        let not_allowed = || SocketError::HostNotAllowed { plugin: self.plugin.clone(), host: name.to_owned() };
        let host = parse_host(name).ok_or_else(not_allowed)?;
        let origins: Vec<_> = self.origins.iter().filter(|origin| *origin.host() == host).collect();
        let Some(first) = origins.first() else { return Err(not_allowed()) };
        let explain = |error| EgressError::explain(first, &error);
        let found = self.dial.addresses(&host).await.map_err(explain)?;
        let mut ips = Vec::new();
        let mut refused = None;
        for origin in &origins {
            match self.dial.allowed(found.clone(), origin.port()) {
                Ok(addresses) => ips.extend(self.pin(addresses)),
                Err(error) => refused = refused.or(Some(EgressError::explain(origin, &error))),
            }
        }
        let mut seen = HashSet::new();
        ips.retain(|ip| seen.insert(*ip));
        if ips.is_empty() { Err(refused.map_or_else(not_allowed, SocketError::Unreachable)) } else { Ok(ips) }
    }

    /// Whether `address` may be dialled: a lookup of this call gave it, or an origin is that very address.
    ///
    /// # Errors
    ///
    /// Any other address, and a forbidden one.
    pub fn check(&self, address: SocketAddr) -> Result<(), SocketError> {
        let address = canonical(address);
        if self.pinned.lock().unwrap_or_else(PoisonError::into_inner).contains(&address) {
            return Ok(());
        }
        let host: Host<String> = match address.ip() {
            IpAddr::V4(ip) => Host::Ipv4(ip),
            IpAddr::V6(ip) => Host::Ipv6(ip),
        };
        let Some(origin) = self.origins.iter().find(|origin| *origin.host() == host && origin.port() == address.port())
        else {
            return Err(SocketError::AddressNotAllowed { plugin: self.plugin.clone(), address });
        };
        let allowed = self.dial.allowed(vec![address.ip()], address.port());
        allowed.map_err(|error| EgressError::explain(origin, &error))?;
        Ok(())
    }

    fn pin(&self, addresses: Vec<SocketAddr>) -> Vec<IpAddr> {
        let addresses: Vec<_> = addresses.into_iter().map(canonical).collect();
        self.pinned.lock().unwrap_or_else(PoisonError::into_inner).extend(&addresses);
        addresses.iter().map(SocketAddr::ip).collect()
    }
}

/// The host as an [`Origin`] has it. C libraries give IPv6 addresses without brackets.
fn parse_host(name: &str) -> Option<Host<String>> {
    if let Ok(ip) = name.parse() {
        return Some(Host::Ipv6(ip));
    }
    Host::parse(name.strip_suffix('.').unwrap_or(name)).ok()
}

/// Without zone and flow, and IPv4 as IPv4.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
