//! What plugins answered lately: [`Cached`] is a plugin's [`Provider`] with a memory. It spares the backend (one call for a question
//! however many ask it), stands in for a plugin that fails, and refuses what can't be true. What is answered when,
//! `docs/decisions/0010-values.md` tells and why.
//!
//! It never answers across namespaces, metrics or plugins, never asks for what nobody asked for, and never keeps a value beyond its
//! bounds. Times are of a clock that does not jump; a value's own timestamp is compared with the machine's clock once, when the
//! value comes.

mod entry;
mod judge;
mod question;
mod shelf;
mod store;

use std::sync::Arc;

use async_trait::async_trait;

pub use store::Store;

use crate::{
    model::{
        CacheState, CacheView, Catalog, CustomAnswer, CustomQuery, Detail, Explanation, ExternalAnswer, ExternalQuery,
        FetchError, MetricQuery, NodeSample, PluginId, PodRef, PodSample, Provider, ResourceAnswer, ValuePolicy,
    },
    telemetry::AnswerCounters,
};
use entry::Verdict;
use shelf::Shelf;

/// One generation of a plugin, with what it answered. It ends with that generation: the next one starts without memory, so that a
/// changed plugin never answers with old values.
pub struct Cached {
    plugin: PluginId,
    provider: Arc<dyn Provider>,
    custom: Arc<Shelf<CustomQuery>>,
    external: Arc<Shelf<ExternalQuery>>,
    answers: AnswerCounters,
}

impl Cached {
    /// A plugin without memory. It has its part of `store` until it is dropped.
    pub fn new(plugin: PluginId, provider: Arc<dyn Provider>, policy: &ValuePolicy, store: &Arc<Store>) -> Self {
        let states = CacheState::ALL.map(CacheState::as_str);
        Self {
            custom: Shelf::new(plugin.clone(), provider.clone(), policy.clone(), store.clone()),
            external: Shelf::new(plugin.clone(), provider.clone(), policy.clone(), store.clone()),
            answers: store.metrics.answers_of(&plugin.to_string(), states),
            plugin,
            provider,
        }
    }

    fn counted<S>(&self, verdict: Verdict<S>) -> Verdict<S> {
        let cache = verdict.as_ref().map_or_else(|error| error.cache, |value| value.cache);
        self.answers.count(cache.as_str());
        verdict
    }

    /// What is held for a custom metric. Looking changes nothing.
    pub fn view_custom(&self, query: &CustomQuery) -> CacheView {
        self.custom.view(query)
    }

    /// What is held for an external metric. Looking changes nothing.
    pub fn view_external(&self, query: &ExternalQuery) -> CacheView {
        self.external.view(query)
    }
}

#[async_trait]
impl Provider for Cached {
    fn catalog(&self) -> Arc<Catalog> {
        self.provider.catalog()
    }

    async fn custom(&self, query: &CustomQuery) -> Result<CustomAnswer, FetchError> {
        let value = self.counted(self.custom.ask(query).await)?;
        Ok(CustomAnswer { plugin: self.plugin.clone(), samples: value.samples, cache: value.cache })
    }

    async fn external(&self, query: &ExternalQuery) -> Result<ExternalAnswer, FetchError> {
        let value = self.counted(self.external.ask(query).await)?;
        let (plugin, metric) = (self.plugin.clone(), query.metric.clone());
        Ok(ExternalAnswer { plugin, metric, samples: value.samples, cache: value.cache })
    }

    /// How the plugin itself answers now, and what is held here, which stays as it is.
    async fn explain(&self, query: &MetricQuery, detail: Detail) -> Result<Explanation, FetchError> {
        let cache = match query {
            MetricQuery::Custom(query) => Some(self.view_custom(query)),
            MetricQuery::External(query) => Some(self.view_external(query)),
            MetricQuery::Pods(_) | MetricQuery::Nodes(_) => None,
        };
        Ok(Explanation { cache, ..self.provider.explain(query, detail).await? })
    }

    /// Not kept: the lists that are asked for hardly ever repeat, and come from a pipeline that averages anyway.
    async fn pods(&self, pods: &[PodRef]) -> Result<ResourceAnswer<PodSample>, FetchError> {
        self.provider.pods(pods).await
    }

    /// Not kept, as pods are not.
    async fn nodes(&self, names: &[String]) -> Result<ResourceAnswer<NodeSample>, FetchError> {
        self.provider.nodes(names).await
    }
}

#[cfg(test)]
mod tests;
