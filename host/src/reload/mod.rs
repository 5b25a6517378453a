//! Events of a source to swaps of the registry. Each plugin has a worker of its own, so that one that compiles for seconds or
//! waits for its backend never delays another; a worker takes the newest version and skips those in between. A version that fails
//! in any step changes nothing: the last good one serves on. Never serves requests, never writes to the source.

mod board;
mod conflicts;
mod inbox;
mod outcome;
mod permit;
mod resource;
mod settings;
mod turns;
mod version;
mod worker;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::future::join_all;
use tokio::sync::{mpsc, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

pub use self::{
    board::{Board, Standing},
    permit::Roll,
    turns::Turns,
};
use self::{
    inbox::{Inbox, Newest},
    version::Version,
    worker::Worker,
};
use crate::{
    bundle::Grants,
    egress,
    model::{Kinds, PluginId},
    policy::Policy,
    registry,
    runtime::Runtime,
    source::{Dependencies, Event, RawPlugin, Reporter},
    telemetry::{Latch, Metrics},
};

/// How long readiness waits for the plugins that were there at the start, so that a rolling update never answers 404 for a metric
/// that the old replica served.
const FIRST_LOADS: Duration = Duration::from_secs(60);

/// What workers share.
pub struct Shared {
    /// Runs guests.
    pub runtime: Arc<Runtime>,
    /// Where plugins are swapped in.
    pub registry: Mutex<registry::Writer>,
    /// Parts and Secrets.
    pub dependencies: Arc<dyn Dependencies>,
    /// Owners' ears.
    pub reporter: Arc<dyn Reporter>,
    /// For the plugins' HTTP clients.
    pub egress: Arc<egress::Shared>,
    /// Kinds of objects, asked for when a plugin lists one, so that discovery knows it.
    pub kinds: Arc<dyn Kinds>,
    /// What the operator grants to every plugin.
    pub grants: Grants,
    /// What the operator grants to the plugins of each namespace, as it is now.
    pub policy: watch::Receiver<Arc<Policy>>,
    /// The adapter's own namespace: its plugins come before those of tenants.
    pub own_namespace: String,
    /// The namespaces whose plugins readiness waits for; empty for a folder, which is one.
    pub namespaces: BTreeSet<String>,
    /// The plugins that there are, for quotas.
    pub roll: Roll,
    /// How many load at once.
    pub turns: Turns,
    /// Where plugins stand.
    pub board: Arc<Board>,
    /// Counted up after each change of the registry, so that workers look for conflicts.
    pub changes: watch::Sender<u64>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Ends the workers, which leave their plugins serving.
    pub stopping: CancellationToken,
}

impl Shared {
    fn changed(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    fn registry(&self) -> MutexGuard<'_, registry::Writer> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Turns events into swaps until it is told to stop.
pub struct Reloader {
    shared: Arc<Shared>,
    /// Opened when every plugin that was there at the start has loaded or failed.
    first_loads: Latch,
    /// Namespaces that have not been listed yet.
    awaited: BTreeSet<String>,
    workers: HashMap<PluginId, Handle>,
    tasks: TaskTracker,
}

/// A plugin's worker, from outside.
struct Handle {
    inbox: Arc<Inbox>,
    settled: watch::Receiver<bool>,
}

impl Reloader {
    /// A reloader without plugins.
    pub fn new(shared: Shared, first_loads: Latch) -> Self {
        let awaited = shared.namespaces.clone();
        Self { shared: Arc::new(shared), first_loads, awaited, workers: HashMap::new(), tasks: TaskTracker::new() }
    }

    /// Works until the source or `shutdown` ends it. Plugins stay in the registry.
    pub async fn run(mut self, mut events: mpsc::Receiver<Event>, shutdown: CancellationToken) {
        let mut policy = self.shared.policy.clone();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = changed(&mut policy) => self.workers.values().for_each(|worker| worker.inbox.judge_again()),
                event = events.recv() => match event {
                    Some(event) => self.take(event),
                    None => break,
                },
            }
        }
        self.shared.stopping.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Put(raw) => self.put(raw),
            Event::Remove(id) => self.remove(&id),
            Event::Touched(dependency) => {
                // Each worker knows what it needs; telling all of them is a comparison each.
                for worker in self.workers.values() {
                    worker.inbox.touch(&dependency);
                }
            }
            Event::Synced { namespace, present } => self.synced(namespace.as_deref(), present),
            // Nothing is known of it; but of the adapter's own namespace readiness waits to know.
            Event::Unreadable(namespace) if !self.shared.is_own(&namespace) => self.no_longer_awaited(Some(&namespace)),
            Event::Unreadable(_) => {}
        }
    }

    fn put(&mut self, raw: RawPlugin) {
        self.workers.retain(|_, worker| !worker.inbox.has_ended());
        let id = raw.id.clone();
        if self.shared.roll.enter(&id) {
            self.count_again(&id);
        }
        let mut newest = Newest::Version(Box::new(Version::of(raw)));
        // A plugin that comes back stays with its worker, which may be at the old one still: two of them would race for the
        // registry. It gets another only if that one ended this very moment.
        while let Err(given_back) = self.worker(&id).inbox.put(newest) {
            self.workers.remove(&id);
            newest = given_back;
        }
    }

    fn worker(&mut self, id: &PluginId) -> &Handle {
        let (shared, tasks) = (&self.shared, &self.tasks);
        self.workers.entry(id.clone()).or_insert_with(|| {
            let inbox = Arc::new(Inbox::default());
            let (settle, settled) = watch::channel(false);
            tasks.spawn(Worker::new(id.clone(), shared.clone(), inbox.clone(), settle).run());
            Handle { inbox, settled }
        })
    }

    fn remove(&mut self, id: &PluginId) {
        if self.shared.roll.leave(id) {
            self.count_again(id);
        }
        // The worker withdraws its plugin, after a load that is under way.
        if let Some(worker) = self.workers.get(id) {
            // A worker that has ended has withdrawn it already.
            let _ = worker.inbox.put(Newest::Gone);
        }
    }

    /// Those of the namespace whose names come after `id` have another place now.
    fn count_again(&self, id: &PluginId) {
        if !self.shared.has_quota(&id.namespace) {
            return;
        }
        let after = self.workers.iter().filter(|(other, _)| other.namespace == id.namespace && other.name > id.name);
        after.for_each(|(_, worker)| worker.inbox.judge_again());
    }

    /// What the source no longer has was removed while nobody watched.
    fn synced(&mut self, namespace: Option<&str>, present: Vec<PluginId>) {
        let present: HashSet<PluginId> = present.into_iter().collect();
        let in_scope = |id: &&PluginId| namespace.is_none_or(|namespace| id.namespace == namespace);
        let gone: Vec<PluginId> =
            self.workers.keys().filter(in_scope).filter(|id| !present.contains(id)).cloned().collect();
        gone.iter().for_each(|id| self.remove(id));
        self.no_longer_awaited(namespace);
    }

    /// Once every namespace has been listed, what was found is waited for.
    fn no_longer_awaited(&mut self, namespace: Option<&str>) {
        match namespace {
            Some(namespace) => drop(self.awaited.remove(namespace)),
            None => self.awaited.clear(),
        }
        if !self.awaited.is_empty() || self.first_loads.is_open() {
            return;
        }
        let settled = self.workers.values().map(|worker| settled(worker.settled.clone()));
        let (all, latch, count) = (join_all(settled.collect::<Vec<_>>()), self.first_loads.clone(), self.workers.len());
        let stopping = self.shared.stopping.clone();
        self.tasks.spawn(async move {
            let Some(waited) = stopping.run_until_cancelled(tokio::time::timeout(FIRST_LOADS, all)).await else {
                return;
            };
            match waited {
                Ok(_) => info!(plugins = count, "every plugin that was there at the start has loaded or failed"),
                Err(_) => {
                    warn!(plugins = count, "some plugins have not loaded after {FIRST_LOADS:?}; starting without them");
                }
            }
            latch.open();
        });
    }
}

/// Waits for another policy; for ever once nobody can give one.
async fn changed(policy: &mut watch::Receiver<Arc<Policy>>) {
    if policy.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Waits for a worker's first outcome, or its end.
async fn settled(mut settled: watch::Receiver<bool>) {
    // An error means that the worker has ended.
    let _ = settled.wait_for(|settled| *settled).await;
}
