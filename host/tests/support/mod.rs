//! A real runtime for tests, and the guests that `cargo xtask guests` builds. One runtime serves all tests of a file: it reserves
//! address space for each of its instances, and the guests' code is compiled once.

#![allow(dead_code, reason = "each test file uses its part of it")]

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use tokio::sync::OnceCell;
use wasm_metrics_adapter::{
    egress,
    model::GroupResource,
    objects::{FixedObjects, Object},
    runtime::{CompilerConfig, Runtime},
    telemetry::Metrics,
};

/// What plugins of a test run on.
pub(crate) struct World {
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) egress: Arc<egress::Shared>,
    pub(crate) metrics: Arc<Metrics>,
}

/// The world of this test binary.
pub(crate) async fn world() -> &'static World {
    static WORLD: OnceCell<World> = OnceCell::const_new();
    WORLD
        .get_or_init(|| async {
            let objects = Arc::new(objects());
            let metrics = Arc::new(Metrics::default());
            let compiler = CompilerConfig { cache_dir: None, child: Some(adapter()) };
            let _home = guests().enter();
            let loopback = vec!["127.0.0.0/8".parse().unwrap()];
            let addresses = egress::AddressPolicy { loopback, ..egress::AddressPolicy::default() };
            let egress =
                egress::Shared::new(egress::TrustRoots::none(), Arc::new(egress::SystemResolver), addresses).unwrap();
            World {
                runtime: Runtime::new(compiler, guests(), objects.clone(), objects, metrics.clone()).unwrap(),
                egress: Arc::new(egress),
                metrics,
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

/// Everything that was logged since the first call of this function.
pub(crate) fn logs() -> Logs {
    static LOGS: std::sync::OnceLock<Logs> = std::sync::OnceLock::new();
    LOGS.get_or_init(|| {
        let logs = Logs::default();
        let writer = logs.clone();
        tracing_subscriber::fmt()
            .with_env_filter("wasm_metrics_adapter=info")
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .init();
        logs
    })
    .clone()
}

/// Log lines in memory.
#[derive(Clone, Default)]
pub(crate) struct Logs(Arc<Mutex<Vec<u8>>>);

impl Logs {
    /// The lines about a plugin.
    pub(crate) fn of(&self, plugin: impl std::fmt::Display) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned();
        let mark = format!("plugin={plugin}");
        let is_about = |line: &&str| line.split_whitespace().any(|word| word.trim_end_matches(':') == mark);
        text.lines().filter(is_about).map(str::to_owned).collect()
    }
}

impl io::Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
