//! Credentials through the egress room's door and through guests, against real servers on loopback: what reaches which origin,
//! and what becomes of a request whose credential can't be had.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in its helpers too"
)]

#[expect(dead_code, reason = "a whole backend, of which other tests use more")]
#[path = "../egress/backend.rs"]
mod backend;
mod forms;
mod guests;
mod identities;
#[path = "../support/limits.rs"]
mod limits;
#[path = "../support/mod.rs"]
mod support;
mod tls;
mod tokens;

use std::{net::IpAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use wasm_metrics_adapter::{
    egress::{
        AddressPolicy, Client, EgressConfig, EgressError, Origin, Request, Resolve, Response, Shared, TrustRoots,
    },
    model::PluginId,
};

/// Long enough that no healthy exchange meets it, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// What no guest, message or other origin may ever see.
const SECRET: &str = "hunter2-is-the-secret";

/// Every name is a server of the test.
struct Here;

#[async_trait]
impl Resolve for Here {
    async fn resolve(&self, _: &str) -> std::io::Result<Vec<IpAddr>> {
        Ok(vec![[127, 0, 0, 1].into()])
    }
}

/// A plugin's client that trusts `roots` and may reach `origins`.
fn client(roots: TrustRoots, origins: &[&str], change: impl FnOnce(&mut EgressConfig)) -> Client {
    let addresses = AddressPolicy { loopback: vec!["127.0.0.0/8".parse().unwrap()], ..AddressPolicy::default() };
    let origins = origins.iter().map(|text| origin(text)).collect();
    let mut config = EgressConfig { origins, response_bytes: 64 * 1024, exchanges: 64, ..EgressConfig::default() };
    change(&mut config);
    let plugin = PluginId { namespace: "shop".to_owned(), name: "queues".to_owned() };
    Client::new(plugin, config, Arc::new(Shared::new(roots, Arc::new(Here), addresses).unwrap()))
}

fn origin(text: &str) -> Origin {
    Origin::parse(text).unwrap()
}

fn trusting(pem: &str) -> TrustRoots {
    TrustRoots::none().with_pem("ca.pem", pem.as_bytes()).unwrap()
}

fn get(url: impl Into<String>) -> Request {
    Request { method: "GET".to_owned(), url: url.into(), ..Request::default() }
}

async fn fetched(client: &Client, url: impl Into<String>) -> Result<Response, EgressError> {
    client.fetch(get(url), PATIENCE).await
}

/// Waits for what has no other sign than itself.
async fn until(done: impl AsyncFn() -> bool) {
    let waiting = async {
        while !done().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "it never came");
}
