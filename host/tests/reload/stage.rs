//! A reloader between a scripted source and a real registry, with objects and an owner's ear in memory.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use wasm_metrics_adapter::{
    bundle::Grants,
    model::{ExternalQuery, FetchError, MetricName, PluginId, Provider as _, Selector},
    objects::FixedObjects,
    registry,
    reload::{Reloader, Shared},
    source::{Dependencies, Dependency, Event, Part, RawPlugin, ReadError, Report, Reporter, Secret},
    telemetry::{Latch, LoadLabels, Metrics, Readiness},
    values,
};

use crate::support::{guest, world};

/// Long enough that nothing healthy meets it, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The namespace of the adapter and its plugins.
pub(crate) const NAMESPACE: &str = "plugins";

/// Everything around one reloader.
pub(crate) struct Stage {
    events: mpsc::Sender<Event>,
    reports: mpsc::UnboundedReceiver<Report>,
    pub(crate) reader: registry::Reader,
    pub(crate) first_loads: Latch,
    pub(crate) objects: Arc<Objects>,
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
    running: JoinHandle<()>,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        let world = world(&Arc::default()).await;
        let (writer, reader) = registry::new();
        let (events, inbox) = mpsc::channel(1);
        let (tell, reports) = mpsc::unbounded_channel();
        let first_loads = Readiness::default().latch("plugins");
        let objects = Arc::new(Objects::default());
        let metrics = Arc::new(Metrics::default());
        let shared = Shared {
            board: Arc::default(),
            changes: tokio::sync::watch::Sender::default(),
            runtime: world.runtime.clone(),
            registry: writer.into(),
            dependencies: objects.clone(),
            reporter: Arc::new(Ear(tell)),
            egress: world.egress.clone(),
            values: Arc::new(values::Store::new(metrics.clone())),
            kinds: Arc::new(FixedObjects::default()),
            grants: Grants::default(),
            own_namespace: NAMESPACE.to_owned(),
            metrics: metrics.clone(),
            stopping: CancellationToken::new(),
        };
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(Reloader::new(shared, first_loads.clone()).run(inbox, shutdown.clone()));
        Self { events, reports, reader, first_loads, objects, metrics, shutdown, running }
    }

    pub(crate) async fn send(&self, event: Event) {
        self.events.send(event).await.unwrap();
        // The test's runtime has one thread: whoever is woken by the event has been at work before this ends.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    pub(crate) async fn put(&self, plugin: RawPlugin) {
        self.send(Event::Put(plugin)).await;
    }

    /// The next word to an owner.
    pub(crate) async fn report(&mut self) -> Report {
        tokio::time::timeout(PATIENCE, self.reports.recv()).await.expect("no report came").unwrap()
    }

    /// Puts a plugin of which the owner is to hear that it serves.
    pub(crate) async fn load(&mut self, plugin: RawPlugin) {
        let id = plugin.id.clone();
        self.put(plugin).await;
        let report = self.report().await;
        assert_eq!((report.id, report.good, report.reason), (id, true, "Loaded"), "{}", report.message);
    }

    /// Nobody was told anything more.
    pub(crate) fn is_silent(&mut self) -> bool {
        self.reports.try_recv().is_err()
    }

    pub(crate) async fn ask(&self, metric: &str) -> Result<String, FetchError> {
        let metric = MetricName::new(metric).unwrap();
        let query = ExternalQuery { namespace: "shop".to_owned(), metric, series: Selector::everything() };
        let answer = self.reader.external(&query).await?;
        Ok(answer.samples.iter().map(|sample| sample.value.units().to_string()).collect::<Vec<_>>().join(","))
    }

    /// Asks until the answer is as it should be: a swap without a report has no other sign.
    pub(crate) async fn until(&self, metric: &str, expected: impl Fn(&Result<String, FetchError>) -> bool) {
        let asking = async {
            while !expected(&self.ask(metric).await) {
                tokio::task::yield_now().await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, asking).await;
        assert!(waited.is_ok(), "{metric}: {:?}", self.ask(metric).await);
    }

    /// Waits until a plugin has loaded so often, without asking it.
    pub(crate) async fn until_loaded(&self, plugin: &str, count: u64) {
        let waiting = async {
            while self.loads(plugin, "loaded") < count {
                tokio::task::yield_now().await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        assert!(waited.is_ok(), "{plugin} has loaded {} times", self.loads(plugin, "loaded"));
    }

    /// Loads of a plugin that ended so.
    pub(crate) fn loads(&self, plugin: &str, outcome: &'static str) -> u64 {
        let labels = LoadLabels { plugin: id(plugin).to_string(), outcome };
        self.metrics.loads.get_or_create(&labels).get()
    }

    /// Ends within a patience however much there is to do; what serves stays.
    pub(crate) async fn stop(self) -> registry::Reader {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.running).await.expect("it did not stop").unwrap();
        self.reader
    }
}

pub(crate) fn id(name: &str) -> PluginId {
    PluginId { namespace: NAMESPACE.to_owned(), name: name.to_owned() }
}

/// A probe plugin with a body of plugin.yaml in YAML's flow style.
pub(crate) fn plugin(name: &str, config: &str, body: &str) -> RawPlugin {
    let manifest = format!(
        "apiVersion: wasm-metrics-adapter.io/v1alpha1\nkind: PluginConfiguration\n\
         limits: {{ timeout: 5s, cpu: 5s }}\nconfig: {{ {config} }}\n{body}\n"
    );
    RawPlugin {
        id: id(name),
        uid: "u-1".to_owned(),
        version: "1".to_owned(),
        manifest: Some(manifest),
        code: BTreeMap::from([("plugin.wasm".to_owned(), guest("probe"))]),
        unknown_keys: Vec::new(),
    }
}

/// The same with other code.
pub(crate) fn with_code(mut plugin: RawPlugin, code: impl Into<Bytes>) -> RawPlugin {
    plugin.code.insert("plugin.wasm".to_owned(), code.into());
    plugin
}

/// A probe plugin whose code is in the part `NAME-part`, which is not there yet.
pub(crate) fn in_a_part(name: &str, config: &str, body: &str) -> RawPlugin {
    use sha2::Digest as _;
    let sha256 = format!("{:x}", sha2::Sha256::digest(guest("probe")));
    let parts = format!("component: {{ parts: {{ names: [{name}-part], sha256: {sha256} }} }}\n{body}");
    let mut plugin = plugin(name, config, &parts);
    plugin.code.clear();
    plugin
}

/// The objects that plugins name, in memory.
#[derive(Default)]
pub(crate) struct Objects {
    parts: Mutex<BTreeMap<String, Part>>,
    secrets: Mutex<BTreeMap<String, Secret>>,
    held: Mutex<Option<Arc<Semaphore>>>,
}

impl Objects {
    /// Adds the part that `in_a_part` names.
    pub(crate) fn add_part_of(&self, plugin: &str) -> Dependency {
        let part = Part { bytes: guest("probe"), part_of: Some(plugin.to_owned()), immutable: true };
        let name = format!("{plugin}-part");
        self.parts.lock().unwrap().insert(name.clone(), part);
        Dependency::Part { namespace: NAMESPACE.to_owned(), name }
    }

    /// Adds a Secret with a token that may go to `allowed`.
    pub(crate) fn add_secret(&self, name: &str, allowed: &str) -> Dependency {
        let pair = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
        let secret = Secret {
            kind: "Opaque".to_owned(),
            labels: pair("wasm-metrics-adapter.io/credential", "true"),
            annotations: pair("wasm-metrics-adapter.io/allowed-origins", allowed),
            data: BTreeMap::from([("token".to_owned(), Bytes::from_static(b"hunter2"))]),
        };
        self.secrets.lock().unwrap().insert(name.to_owned(), secret);
        Dependency::Secret { namespace: NAMESPACE.to_owned(), name: name.to_owned() }
    }

    /// From now on reading a part takes until this is released.
    pub(crate) fn hold(&self) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        *self.held.lock().unwrap() = Some(gate.clone());
        gate
    }
}

#[async_trait]
impl Dependencies for Objects {
    async fn part(&self, namespace: &str, name: &str) -> Result<Part, ReadError> {
        let gate = self.held.lock().unwrap().clone();
        if let Some(gate) = gate {
            gate.acquire().await.unwrap().forget();
        }
        let found = self.parts.lock().unwrap().get(name).cloned();
        found.ok_or_else(|| ReadError::NotFound(format!("ConfigMap {namespace}/{name}")))
    }

    async fn secret(&self, namespace: &str, name: &str) -> Result<Secret, ReadError> {
        let found = self.secrets.lock().unwrap().get(name).cloned();
        found.ok_or_else(|| ReadError::NotFound(format!("Secret {namespace}/{name}")))
    }
}

struct Ear(mpsc::UnboundedSender<Report>);

#[async_trait]
impl Reporter for Ear {
    async fn report(&self, report: Report) {
        // A test that has ended hears nothing more.
        let _ = self.0.send(report);
    }
}
