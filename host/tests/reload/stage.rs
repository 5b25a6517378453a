//! A reloader between a scripted source and a real registry, with objects and an owner's ear in memory.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use wasm_metrics_adapter::{
    bundle::Grants,
    model::{ExternalQuery, FetchError, MetricName, PluginId, Provider as _, Selector},
    objects::FixedObjects,
    policy::{self, Policy},
    registry,
    reload::{Board, Reloader, Roll, Shared, Turns},
    source::{Dependencies, Dependency, Event, Part, RawPlugin, ReadError, Report, Reporter, Secret, is_older},
    telemetry::{Latch, LoadLabels, Metrics, Readiness},
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
    pub(crate) board: Arc<Board>,
    policy: watch::Sender<Arc<Policy>>,
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
    running: JoinHandle<()>,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        Self::with_tenants(&[]).await
    }

    /// Beside the adapter's own namespace, readiness waits for these.
    pub(crate) async fn with_tenants(tenants: &[&str]) -> Self {
        let world = world(&Arc::default()).await;
        let (writer, reader) = registry::new();
        let (events, inbox) = mpsc::channel(1);
        let (tell, reports) = mpsc::unbounded_channel();
        let first_loads = Readiness::default().latch("plugins");
        let objects = Arc::new(Objects::default());
        let metrics = Arc::new(Metrics::default());
        let board = Arc::<Board>::default();
        let policy = watch::Sender::new(Arc::default());
        let shared = Shared {
            board: board.clone(),
            policy: policy.subscribe(),
            namespaces: tenants.iter().copied().chain([NAMESPACE]).map(str::to_owned).collect(),
            roll: Roll::default(),
            turns: Turns::default(),
            changes: tokio::sync::watch::Sender::default(),
            runtime: world.runtime.clone(),
            registry: writer.into(),
            dependencies: objects.clone(),
            reporter: Arc::new(Ear(tell)),
            egress: world.egress.clone(),
            kinds: Arc::new(FixedObjects::default()),
            grants: Grants::default(),
            own_namespace: NAMESPACE.to_owned(),
            metrics: metrics.clone(),
            stopping: CancellationToken::new(),
        };
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(Reloader::new(shared, first_loads.clone()).run(inbox, shutdown.clone()));
        Self { events, reports, reader, first_loads, objects, board, policy, metrics, shutdown, running }
    }

    /// Another policy, of which this is what is below its head.
    pub(crate) fn grant(&self, policy: &str) {
        let text = format!("apiVersion: wasm-metrics-adapter.io/v1alpha1\nkind: Policy\n{policy}\n");
        self.policy.send_replace(Arc::new(policy::parse(&text).unwrap()));
    }

    /// The adapter's own namespace has been listed.
    pub(crate) async fn synced(&self, present: &[PluginId]) {
        self.send(Event::Synced { namespace: Some(NAMESPACE.to_owned()), present: present.to_vec() }).await;
    }

    pub(crate) async fn send(&self, event: Event) {
        self.tell(event).await;
        // The test's runtime has one thread: whoever is woken by the event has been at work before this ends.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    /// The same, and nobody waits for anything: what is told next may come before anybody has looked at this.
    pub(crate) async fn tell(&self, event: Event) {
        self.objects.follow(&event);
        self.events.send(event).await.unwrap();
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
        self.ask_in("shop", metric).await
    }

    pub(crate) async fn ask_in(&self, namespace: &str, metric: &str) -> Result<String, FetchError> {
        let metric = MetricName::new(metric).unwrap();
        let query = ExternalQuery { namespace: namespace.to_owned(), metric, series: Selector::everything() };
        let answer = self.reader.external(&query).await?;
        Ok(answer.samples.iter().map(|sample| sample.value.units().to_string()).collect::<Vec<_>>().join(","))
    }

    /// Asks until the answer is as it should be: a swap without a report has no other sign.
    pub(crate) async fn until(&self, metric: &str, expected: impl Fn(&Result<String, FetchError>) -> bool) {
        self.until_in("shop", metric, expected).await;
    }

    pub(crate) async fn until_in(
        &self,
        namespace: &str,
        metric: &str,
        expected: impl Fn(&Result<String, FetchError>) -> bool,
    ) {
        let asking = async {
            while !expected(&self.ask_in(namespace, metric).await) {
                tokio::task::yield_now().await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, asking).await;
        assert!(waited.is_ok(), "{metric}: {:?}", self.ask_in(namespace, metric).await);
    }

    /// Waits until a plugin has loaded so often, without asking it.
    pub(crate) async fn until_loaded(&self, plugin: &str, count: u64) {
        self.until_loaded_in(&id(plugin), count).await;
    }

    pub(crate) async fn until_loaded_in(&self, plugin: &PluginId, count: u64) {
        let waiting = async {
            while self.loads_of(plugin, "loaded") < count {
                tokio::task::yield_now().await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        assert!(waited.is_ok(), "{plugin} has loaded {} times", self.loads_of(plugin, "loaded"));
    }

    /// Waits until the fate of this version of a plugin is known; without a version, until the plugin is gone.
    pub(crate) async fn until_stands(&self, plugin: &str, version: Option<&str>) {
        let waiting = async {
            while self.standing(plugin)["version"].as_str() != version {
                tokio::task::yield_now().await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        assert!(waited.is_ok(), "{plugin} does not come to {version:?}: {}", self.standing(plugin));
    }

    /// The generation that a plugin is at; 0 for one that there is not.
    pub(crate) fn generation(&self, plugin: &str) -> u64 {
        self.standing(plugin)["generation"].as_u64().unwrap_or_default()
    }

    fn standing(&self, plugin: &str) -> serde_json::Value {
        let board: serde_json::Value = serde_json::from_str(&self.board.to_json()).unwrap();
        let plugins = board["plugins"].as_array().unwrap().iter();
        plugins.filter(|standing| standing["plugin"] == id(plugin).to_string()).cloned().next().unwrap_or_default()
    }

    /// Loads of a plugin that ended so.
    pub(crate) fn loads(&self, plugin: &str, outcome: &'static str) -> u64 {
        self.loads_of(&id(plugin), outcome)
    }

    pub(crate) fn loads_of(&self, plugin: &PluginId, outcome: &'static str) -> u64 {
        let labels = LoadLabels { plugin: plugin.to_string(), outcome };
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

/// A resource version: larger than all before.
pub(crate) fn next_version() -> String {
    static NEWEST: AtomicU64 = AtomicU64::new(1);
    NEWEST.fetch_add(1, Ordering::Relaxed).to_string()
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
        version: next_version(),
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
    plugins: Mutex<BTreeMap<PluginId, RawPlugin>>,
    files: Mutex<BTreeMap<String, Bytes>>,
    parts: Mutex<BTreeMap<String, Part>>,
    secrets: Mutex<BTreeMap<(String, String), Secret>>,
    config_maps: Mutex<BTreeMap<String, Bytes>>,
    held: Mutex<Option<Arc<Semaphore>>>,
    read_again: AtomicUsize,
}

impl Objects {
    /// A plugin can be read as the last event had it.
    fn follow(&self, event: &Event) {
        let mut plugins = self.plugins.lock().unwrap();
        match event {
            Event::Put(raw) => {
                let is_late = plugins.get(&raw.id).is_some_and(|known| is_older(&raw.version, &known.version));
                if !is_late {
                    plugins.insert(raw.id.clone(), raw.clone());
                }
            }
            Event::Remove(id) => drop(plugins.remove(id)),
            Event::Synced { namespace, present } => plugins.retain(|id, _| {
                present.contains(id) || namespace.as_ref().is_some_and(|namespace| *namespace != id.namespace)
            }),
            Event::Touched(_) | Event::Unreadable(_) => {}
        }
    }

    /// Puts a file into the operator's folder.
    pub(crate) fn put_file(&self, path: &str, bytes: Bytes) -> Dependency {
        self.files.lock().unwrap().insert(path.to_owned(), bytes);
        Dependency::File { path: path.to_owned() }
    }

    /// Adds the part that `in_a_part` names.
    pub(crate) fn add_part_of(&self, plugin: &str) -> Dependency {
        let part = Part { bytes: guest("probe"), part_of: Some(plugin.to_owned()), immutable: true };
        let name = format!("{plugin}-part");
        self.parts.lock().unwrap().insert(name.clone(), part);
        Dependency::Part { namespace: NAMESPACE.to_owned(), name }
    }

    /// Adds a Secret with a token that may go to `allowed`.
    pub(crate) fn add_secret(&self, name: &str, allowed: &str) -> Dependency {
        let consent = [("wasm-metrics-adapter.io/allowed-origins", allowed)];
        self.put_secret(NAMESPACE, name, &[("wasm-metrics-adapter.io/credential", "true")], &consent, "hunter2")
    }

    /// Puts a Secret with a token.
    pub(crate) fn put_secret(
        &self,
        namespace: &str,
        name: &str,
        labels: &[(&str, &str)],
        annotations: &[(&str, &str)],
        token: &str,
    ) -> Dependency {
        let map = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let secret = Secret {
            kind: "Opaque".to_owned(),
            labels: map(labels),
            annotations: map(annotations),
            data: BTreeMap::from([("token".to_owned(), Bytes::copy_from_slice(token.as_bytes()))]),
        };
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        self.secrets.lock().unwrap().insert((namespace.clone(), name.clone()), secret);
        Dependency::Secret { namespace, name }
    }

    /// Adds a Secret of these keys that may go to `allowed`.
    pub(crate) fn add_secret_of(&self, name: &str, allowed: &str, data: &[(&str, &str)]) -> Dependency {
        let touched = self.add_secret(name, allowed);
        let data = data.iter().map(|(key, value)| ((*key).to_owned(), Bytes::from((*value).to_owned())));
        self.secrets.lock().unwrap().get_mut(&(NAMESPACE.to_owned(), name.to_owned())).unwrap().data = data.collect();
        touched
    }

    /// Adds a ConfigMap whose keys all hold `value`.
    pub(crate) fn add_config_map(&self, name: &str, value: impl Into<Bytes>) -> Dependency {
        self.config_maps.lock().unwrap().insert(name.to_owned(), value.into());
        Dependency::ConfigMap { namespace: NAMESPACE.to_owned(), name: name.to_owned() }
    }

    /// How often plugins were read again.
    pub(crate) fn read_again(&self) -> usize {
        self.read_again.load(Ordering::Relaxed)
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
    async fn plugin(&self, id: &PluginId) -> Result<RawPlugin, ReadError> {
        self.read_again.fetch_add(1, Ordering::Relaxed);
        let found = self.plugins.lock().unwrap().get(id).cloned();
        found.ok_or_else(|| ReadError::NotFound(format!("ConfigMap {id}")))
    }

    async fn part(&self, namespace: &str, name: &str) -> Result<Part, ReadError> {
        let gate = self.held.lock().unwrap().clone();
        if let Some(gate) = gate {
            gate.acquire().await.unwrap().forget();
        }
        let found = self.parts.lock().unwrap().get(name).cloned();
        found.ok_or_else(|| ReadError::NotFound(format!("ConfigMap {namespace}/{name}")))
    }

    async fn secret(&self, namespace: &str, name: &str) -> Result<Secret, ReadError> {
        let found = self.secrets.lock().unwrap().get(&(namespace.to_owned(), name.to_owned())).cloned();
        found.ok_or_else(|| ReadError::NotFound(format!("Secret {namespace}/{name}")))
    }

    async fn config_map_key(&self, namespace: &str, name: &str, _: &str) -> Result<Bytes, ReadError> {
        let found = self.config_maps.lock().unwrap().get(name).cloned();
        found.ok_or_else(|| ReadError::NotFound(format!("ConfigMap {namespace}/{name}")))
    }

    async fn file(&self, path: &str, _cap: usize) -> Result<Bytes, ReadError> {
        let found = self.files.lock().unwrap().get(path).cloned();
        found.ok_or_else(|| ReadError::NotFound(format!("the file {path}")))
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
