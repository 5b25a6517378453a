//! Where the API server and the adapter itself answer, so that no plugin reaches them: the API server's Service, the endpoints
//! behind it, which come and go, and the adapter's own listener.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{Api, Client};
use tokio_util::sync::CancellationToken;

use crate::egress::{AddressPolicy, Shared};

/// How often the endpoints are looked at: control planes change in minutes.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How long one look may take; the next one is soon.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is known without asking: the operator's exceptions, the Service of the API server, the own listener.
pub(super) async fn known(loopback: Vec<ipnet::IpNet>, listen: SocketAddr) -> AddressPolicy {
    let api_server = service().await;
    let adapter = own_address(&api_server).map(|ip| SocketAddr::new(ip, listen.port())).into_iter().collect();
    AddressPolicy { loopback, api_server, adapter }
}

/// Keeps the endpoints of the API server among the forbidden addresses until `stop`. Where they can't be read, those that were
/// known stay, and the Service stays in any case.
pub(super) async fn follow(client: Client, known: AddressPolicy, shared: Arc<Shared>, stop: CancellationToken) {
    let slices: Api<EndpointSlice> = Api::namespaced(client, "default");
    let mut endpoints = Vec::new();
    let mut is_told = false;
    loop {
        match tokio::time::timeout(PATIENCE, slices.get("kubernetes")).await {
            Ok(Ok(slice)) => {
                let found = addresses(&slice);
                if found != endpoints {
                    endpoints = found;
                    let api_server = known.api_server.iter().chain(&endpoints).copied().collect();
                    shared.replace_addresses(AddressPolicy { api_server, ..known.clone() });
                }
            }
            Ok(Err(kube::Error::Api(status))) if status.is_forbidden() && !is_told => {
                is_told = true;
                tracing::warn!(
                    "plugins can't be kept from the endpoints of the API server, only from its Service; grant get of \
                     endpointslices `kubernetes` (deploy/base/rbac-adapter.yaml)"
                );
            }
            Ok(Err(error)) => tracing::debug!(%error, "the endpoints of the API server could not be read"),
            Err(_) => tracing::debug!("the endpoints of the API server could not be read in {PATIENCE:?}"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Each address with each port: both are written by the API servers themselves.
fn addresses(slice: &EndpointSlice) -> Vec<SocketAddr> {
    let ports = slice.ports.iter().flatten().filter_map(|port| port.port).filter_map(|port| u16::try_from(port).ok());
    let ports: Vec<u16> = ports.collect();
    let ips = slice.endpoints.iter().flatten().flat_map(|endpoint| &endpoint.addresses);
    let ips = ips.filter_map(|address| address.parse::<IpAddr>().ok());
    let mut addresses: Vec<_> = ips.flat_map(|ip| ports.iter().map(move |port| SocketAddr::new(ip, *port))).collect();
    addresses.sort_unstable();
    addresses
}

/// The API server's Service, as each pod is told of it.
async fn service() -> Vec<SocketAddr> {
    let (Ok(host), Ok(port)) = (std::env::var("KUBERNETES_SERVICE_HOST"), std::env::var("KUBERNETES_SERVICE_PORT"))
    else {
        return Vec::new();
    };
    let found = tokio::net::lookup_host(format!("{}:{port}", bracketed(&host))).await;
    found.map(Iterator::collect).unwrap_or_default()
}

/// An IPv6 address as a host before a port.
fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// The address from which the API server is reached. Connecting a UDP socket chooses it and sends nothing.
fn own_address(api_server: &[SocketAddr]) -> Option<IpAddr> {
    let server = api_server.first()?;
    let any: SocketAddr = if server.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = std::net::UdpSocket::bind(any).ok()?;
    socket.connect(server).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_each_address_with_each_port() {
        let slice: EndpointSlice = serde_json::from_value(serde_json::json!({
            "addressType": "IPv4",
            "metadata": { "name": "kubernetes", "namespace": "default" },
            "endpoints": [{ "addresses": ["192.168.1.2"] }, { "addresses": ["192.168.1.1", "not an address"] }],
            "ports": [{ "name": "https", "port": 6443 }, { "name": "odd" }],
        }))
        .unwrap();
        let expected: Vec<SocketAddr> =
            ["192.168.1.1:6443", "192.168.1.2:6443"].map(|text| text.parse().unwrap()).into();
        assert_eq!(addresses(&slice), expected);
    }

    /// An API server that has such an answer to whatever it is asked.
    fn api_server(status: u16, body: serde_json::Value) -> Client {
        let service = tower::service_fn(move |_: http::Request<kube::client::Body>| {
            let body = kube::client::Body::from(body.to_string().into_bytes());
            async move { http::Response::builder().status(status).body(body) }
        });
        Client::new(service, "default")
    }

    /// Whether a plugin may dial 10.1.2.3:6443 some looks later.
    async fn allows_after_some_looks(client: Client) -> bool {
        let resolver = Arc::new(crate::egress::SystemResolver);
        let policy = AddressPolicy { api_server: vec!["10.96.0.1:443".parse().unwrap()], ..AddressPolicy::default() };
        let roots = crate::egress::TrustRoots::none();
        let shared = Arc::new(Shared::new(roots, resolver, policy.clone()).unwrap());
        let origin = |text| crate::egress::Origin::parse(text).unwrap();
        let config = crate::egress::EgressConfig {
            origins: ["tcp://10.1.2.3:6443", "tcp://10.96.0.1:443"].map(origin).into_iter().collect(),
            ..crate::egress::EgressConfig::default()
        };
        let plugin = crate::model::PluginId { namespace: "shop".to_owned(), name: "curious".to_owned() };
        let sockets = crate::egress::Client::new(plugin, config, shared.clone()).sockets();
        assert!(sockets.check("10.1.2.3:6443".parse().unwrap()).is_ok());
        let stop = CancellationToken::new();
        let following = tokio::spawn(follow(client, policy, shared, stop.clone()));
        // Paused: time moves on whenever the follower sleeps.
        tokio::time::sleep(LOOK_EVERY * 2).await;
        stop.cancel();
        following.await.unwrap();
        assert!(sockets.check("10.96.0.1:443".parse().unwrap()).is_err(), "the Service is refused in any case");
        sockets.check("10.1.2.3:6443".parse().unwrap()).is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn endpoints_that_appear_are_refused_from_then_on() {
        let slice = serde_json::json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": { "name": "kubernetes", "namespace": "default" },
            "endpoints": [{ "addresses": ["10.1.2.3"] }], "ports": [{ "port": 6443 }],
        });
        assert!(!allows_after_some_looks(api_server(200, slice)).await);
    }

    #[tokio::test(start_paused = true)]
    async fn endpoints_that_may_not_be_read_leave_the_service_refused() {
        let forbidden = serde_json::json!({
            "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": 403, "reason": "Forbidden", "message": "no",
        });
        assert!(allows_after_some_looks(api_server(403, forbidden)).await);
    }

    #[test]
    fn the_own_address_is_the_one_that_reaches_the_api_server() {
        assert_eq!(own_address(&["127.0.0.1:443".parse().unwrap()]), Some([127, 0, 0, 1].into()));
        assert_eq!(own_address(&[]), None);
        assert_eq!((bracketed("fd00::1").as_str(), bracketed("10.96.0.1").as_str()), ("[fd00::1]", "10.96.0.1"));
    }
}
