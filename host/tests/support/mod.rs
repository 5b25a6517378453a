//! A real runtime for tests, and the guests that `cargo xtask guests` builds. One runtime serves all tests of a file: it reserves
//! address space for each of its instances, and the guests' code is compiled once.

use std::{path::PathBuf, sync::Arc};

use bytes::Bytes;
use tokio::sync::OnceCell;
use wasm_metrics_adapter::{
    egress,
    model::GroupResource,
    objects::{FixedObjects, Object},
    runtime::{CompilerConfig, Runtime},
    telemetry::Metrics,
};

/// More than all tests of a file take at once.
pub(crate) const GUEST_MEMORY: usize = 4 << 30;

/// What plugins of a test run on.
pub(crate) struct World {
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) egress: Arc<egress::Shared>,
}

/// The world of this test binary, whose calls `metrics` counts.
pub(crate) async fn world(metrics: &Arc<Metrics>) -> &'static World {
    static WORLD: OnceCell<World> = OnceCell::const_new();
    WORLD
        .get_or_init(|| async {
            let objects = Arc::new(objects());
            let compiler = CompilerConfig { child: Some(adapter()), ..CompilerConfig::default() };
            let _home = guests().enter();
            let loopback = vec!["127.0.0.0/8".parse().unwrap()];
            let addresses = egress::AddressPolicy { loopback, ..egress::AddressPolicy::default() };
            let egress =
                egress::Shared::new(egress::TrustRoots::none(), Arc::new(egress::SystemResolver), addresses).unwrap();
            World {
                runtime: Runtime::new(compiler, guests(), GUEST_MEMORY, objects.clone(), objects, metrics.clone())
                    .unwrap(),
                egress: Arc::new(egress),
            }
        })
        .await
}

/// Two pods and a service of namespace `shop`, one pod of `billing`, a node.
fn objects() -> FixedObjects {
    let object = |namespace: &str, name: &str, app: &str, address: &str| Object {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        labels: vec![("app".to_owned(), app.to_owned())],
        addresses: vec![address.to_owned()],
        ready: true,
    };
    FixedObjects::default()
        .with(&GroupResource::core("pods"), object("shop", "web-1", "web", "10.0.0.1"))
        .with(&GroupResource::core("pods"), object("shop", "db-1", "db", "10.0.0.2"))
        .with(&GroupResource::core("pods"), object("billing", "secret-1", "web", "10.0.0.3"))
        .with(&GroupResource::core("nodes"), object("", "node-1", "web", "10.0.0.4"))
}

/// The guests' own threads, as in the adapter. They outlive the tests, each of which has a runtime of its own.
pub(crate) fn guests() -> tokio::runtime::Handle {
    static GUESTS: std::sync::OnceLock<tokio::runtime::Runtime> = std::sync::OnceLock::new();
    let start =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().thread_name("guest").build();
    GUESTS.get_or_init(|| start().unwrap()).handle().clone()
}

/// The adapter's binary, which is its own compiler.
pub(crate) fn adapter() -> PathBuf {
    env!("CARGO_BIN_EXE_wasm-metrics-adapter").into()
}

/// A guest's component.
pub(crate) fn guest(name: &str) -> Bytes {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../target/guests/{name}.wasm"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{name}.wasm: {error}; run `cargo xtask guests` first")).into()
}
