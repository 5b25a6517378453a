//! Which plugin answers which metric. [`Reader`] is the provider that the API asks; the one [`Writer`] swaps what it reads. Readers
//! never block on a swap, and the registry does no I/O.
//!
//! Invariant: one plugin owns a metric in a namespace, by the order of `claim::Claim::precedence`, which depends on the plugins' objects alone;
//! so all replicas agree. The owner answers or fails, and no other plugin is asked in its stead.

mod claim;
mod name;
mod overview;
mod plugin;
mod snapshot;

use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;

pub use overview::{Claimed, Conflict};
pub use snapshot::Snapshot;

use crate::model::{
    Catalog, Claims, CustomAnswer, CustomQuery, ExternalAnswer, ExternalQuery, FetchError, Listed, NodeSample,
    PluginId, PodRef, PodSample, Provider, Reason, ResourceAnswer,
};

/// A plugin as the registry knows it.
#[derive(Clone)]
pub struct Entry {
    /// Its ConfigMap.
    pub id: PluginId,
    /// What it may answer.
    pub claims: Claims,
    /// Whether its ConfigMap is in the adapter's own namespace. Others are tenants: they answer for their own namespace alone.
    pub own_namespace: bool,
    /// Whether discovery shows what it lists.
    pub shown: bool,
    /// Whether it can answer yet.
    pub state: State,
}

/// Whether a plugin can answer.
#[derive(Clone)]
pub enum State {
    /// Not yet: what it claims is unavailable, and not unknown.
    Loading,
    /// Yes.
    Ready {
        /// The loaded plugin.
        provider: Arc<dyn Provider>,
        /// What it lists.
        listed: Arc<Listed>,
    },
}

/// An empty registry and its two ends.
pub fn new() -> (Writer, Reader) {
    let current = Arc::new(ArcSwap::from_pointee(Snapshot::default()));
    (Writer { current: Arc::clone(&current) }, Reader { current })
}

/// Changes the registry. There is one.
pub struct Writer {
    current: Arc<ArcSwap<Snapshot>>,
}

impl Writer {
    /// Adds a plugin or puts a new version in the old one's place, in one step.
    pub fn put(&mut self, entry: Entry) {
        self.current.store(Arc::new(self.current.load().with(entry)));
    }

    /// Withdraws a plugin's metrics.
    pub fn remove(&mut self, id: &PluginId) {
        self.current.store(Arc::new(self.current.load().without(id)));
    }

    /// The registry as it is now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }
}

/// Answers metrics, each by the plugin that owns it.
#[derive(Clone)]
pub struct Reader {
    current: Arc<ArcSwap<Snapshot>>,
}

impl Reader {
    /// The registry as it is now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }
}

#[async_trait]
impl Provider for Reader {
    fn catalog(&self) -> Arc<Catalog> {
        self.current.load().catalog()
    }

    async fn custom(&self, query: &CustomQuery) -> Result<CustomAnswer, FetchError> {
        let owner = self.current.load().custom_owner(query);
        let owner = owner.ok_or_else(|| unknown(format!("no plugin serves {}", query.metric)))?;
        owner.provider()?.custom(query).await.map_err(|error| error.of(owner.id()))
    }

    async fn external(&self, query: &ExternalQuery) -> Result<ExternalAnswer, FetchError> {
        let folded = query.metric.folded();
        let owner = self.current.load().external_owner(&folded, &query.namespace);
        let owner = owner.ok_or_else(|| unknown(format!("no plugin serves the external metric {}", query.metric)))?;
        let provider = owner.provider()?;
        let answer = match owner.spelling(&folded) {
            Some(spelling) if *spelling != query.metric => {
                let query = ExternalQuery { metric: spelling.clone(), ..query.clone() };
                provider.external(&query).await
            }
            _ => provider.external(query).await,
        };
        answer.map_err(|error| error.of(owner.id()))
    }

    async fn pods(&self, pods: &[PodRef]) -> Result<ResourceAnswer<PodSample>, FetchError> {
        let owner = self.current.load().resource_owner().ok_or_else(FetchError::nobody_measures)?;
        owner.provider()?.pods(pods).await.map_err(|error| error.of(owner.id()))
    }

    async fn nodes(&self, names: &[String]) -> Result<ResourceAnswer<NodeSample>, FetchError> {
        let owner = self.current.load().resource_owner().ok_or_else(FetchError::nobody_measures)?;
        owner.provider()?.nodes(names).await.map_err(|error| error.of(owner.id()))
    }
}

fn unknown(message: String) -> FetchError {
    FetchError::new(Reason::MetricNotFound, message)
}

#[cfg(test)]
mod tests;
