//! What plugins share: memory for all, places for calls, threads. Whoever is greedy leaves something to the others.

use std::{sync::Arc, time::Duration};

use axum::Router;
use tokio::{net::TcpListener, sync::mpsc};
use wasm_metrics_adapter::{
    egress,
    model::Reason,
    objects::FixedObjects,
    runtime::{CompilerConfig, Limits, Plugin, PluginSettings, Runtime},
    telemetry::Metrics,
};

use crate::{
    crafted::{Crafted, HARMLESS},
    external, limits, probe, support, world,
};

/// A runtime of its own with a small budget.
struct Small {
    runtime: Arc<Runtime>,
    metrics: Arc<Metrics>,
}

impl Small {
    fn new(budget: usize) -> Self {
        let (objects, metrics) = (Arc::new(FixedObjects::default()), Arc::<Metrics>::default());
        let compiler = CompilerConfig { child: Some(support::adapter()), ..CompilerConfig::default() };
        let runtime =
            Runtime::new(compiler, support::guests(), budget, objects.clone(), objects, metrics.clone()).unwrap();
        Self { runtime, metrics }
    }

    async fn load(&self, name: &str, component: bytes::Bytes, origin: &str, limit: impl FnOnce(&mut Limits)) -> Plugin {
        let code = self.runtime.compiler().compile(component).await.unwrap();
        let mut limits = limits::limits();
        limit(&mut limits);
        let config = vec![("behaviour".to_owned(), "imports".to_owned()), ("url".to_owned(), origin.to_owned())];
        let PluginSettings { id, .. } = probe(name).settings().await;
        let origins = std::iter::once(egress::Origin::parse(origin).unwrap()).collect();
        let egress = egress::EgressConfig { origins, response_bytes: 1 << 20, exchanges: 64, ..Default::default() };
        let http = egress::Client::new(id.clone(), egress, world().await.egress.clone());
        self.runtime.load(&code, PluginSettings { id, config, secrets: Vec::new(), http, limits }).unwrap()
    }
}

/// A backend that tells of each request and answers when it is told to.
async fn hanging() -> (String, mpsc::UnboundedReceiver<()>, tokio::sync::watch::Sender<bool>) {
    let (arrive, arrived) = mpsc::unbounded_channel();
    let (release, released) = tokio::sync::watch::channel(false);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(move || {
        arrive.send(()).unwrap();
        let mut released = released.clone();
        async move { released.wait_for(|released| *released).await.map(|_| "late").unwrap() }
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    (origin, arrived, release)
}

/// Takes this many pages and answers.
fn pages(get: &'static str) -> bytes::Bytes {
    Crafted { get, ..HARMLESS }.component()
}

#[tokio::test]
async fn a_plugin_that_holds_its_share_of_memory_is_refused_and_others_are_not() {
    // Each probe holds some 1.1 MiB while its request hangs: with 8 MiB for all, one plugin may hold 4.
    let small = Small::new(8 << 20);
    let (origin, mut arrived, release) = hanging().await;
    let greedy =
        small.load("greedy", support::guest("probe"), &origin, |limits| limits.timeout = Duration::from_secs(8));
    let greedy = Arc::new(greedy.await);
    let calls: Vec<_> = (0..16)
        .map(|_| {
            let greedy = greedy.clone();
            tokio::spawn(async move { external(&greedy, "shop").await })
        })
        .collect();
    arrived.recv().await.unwrap();
    let modest = small.load("modest", HARMLESS.component(), &origin, |_| {}).await;
    for _ in 0..20 {
        external(&modest, "shop").await.unwrap();
    }
    let held = small.metrics.guest_memory.get();
    assert!(0 < held && held <= 8 << 20, "{held} bytes");
    let refused = futures::future::select_all(calls).await;
    let (first, rest) = (refused.0.unwrap(), refused.2);
    let error = first.unwrap_err();
    assert_eq!(error.reason, Reason::Overloaded);
    assert_eq!(
        error.message,
        "the plugin's calls need more memory than is free of the 8 MiB that plugins have together; raise --guest-memory-budget, or run more replicas"
    );
    release.send_replace(true);
    for outcome in futures::future::join_all(rest).await {
        assert!(outcome.unwrap().map_or_else(|error| error.reason == Reason::Overloaded, |_| true));
    }
    external(&modest, "shop").await.unwrap();
    drained(&small).await;
}

/// Waits until all memory was given back: an aborted call ends a moment after its caller.
async fn drained(small: &Small) {
    let drained = async {
        while small.metrics.guest_memory.get() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(limits::PATIENCE, drained).await.unwrap();
}

#[tokio::test]
async fn a_call_that_needs_more_than_half_of_all_memory_is_told_which_flag_to_raise() {
    let small = Small::new(4 << 20);
    let plugin = small.load(
        "large",
        pages("(drop (memory.grow (i32.const 48))) i64.const 0 call $sample"),
        "http://127.0.0.1:1",
        |_| {},
    );
    let error = external(&plugin.await, "shop").await.unwrap_err();
    assert!(error.message.contains("4 MiB that plugins have together; raise --guest-memory-budget"), "{error}");
    drained(&small).await;
}

#[tokio::test]
async fn a_call_waits_for_the_memory_that_calls_needed_before() {
    // 1 MiB a call, and 2 MiB for the plugin: two at once, and the others after them.
    let small = Small::new(4 << 20);
    let plugin = small.load("patient", HARMLESS.component(), "http://127.0.0.1:1", |_| {}).await;
    external(&plugin, "shop").await.unwrap();
    for outcome in futures::future::join_all((0..200).map(|_| external(&plugin, "shop"))).await {
        outcome.unwrap();
    }
    drained(&small).await;
}

#[tokio::test]
async fn places_for_calls_are_never_all_held_by_plugins_whose_backends_hang() {
    let small = Small::new(4 << 30);
    let (origin, mut arrived, _release) = hanging().await;
    let mut hanging = Vec::new();
    // 64 each, the ceiling: five such plugins want more places than there are.
    for number in 0..5 {
        let name = format!("hangs-{number}");
        let plugin = small.load(&name, support::guest("probe"), &origin, |limits| limits.concurrency = 64);
        let plugin = Arc::new(plugin.await);
        for _ in 0..64 {
            let plugin = plugin.clone();
            hanging.push(tokio::spawn(async move { external(&plugin, "shop").await }));
        }
    }
    // 64, 64, 64, 32 and 16 get one, and each asks its backend: then no more come.
    for _ in 0..240 {
        tokio::time::timeout(limits::PATIENCE, arrived.recv()).await.unwrap().unwrap();
    }
    let neighbour = small.load("finds-a-place", HARMLESS.component(), &origin, |_| {}).await;
    for outcome in futures::future::join_all((0..16).map(|_| external(&neighbour, "shop"))).await {
        outcome.unwrap();
    }
    hanging.iter().for_each(tokio::task::JoinHandle::abort);
    drained(&small).await;
}
