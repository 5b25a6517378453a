//! The one doorway to metrics: what the API asks, what the registry is, and what a loaded plugin is. The verbs are those of
//! custom-metrics-apiserver's `pkg/provider/interfaces.go`.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use super::{
    CacheState, CustomMetric, Detail, Explanation, FetchError, MetricName, MetricQuery, NodeSample, PluginId, PodRef,
    PodSample, Quantity, ResourceAnswer, Selector, UnixMillis,
};

/// Answers metrics.
#[async_trait]
pub trait Provider: Send + Sync + 'static {
    /// What discovery shows, from memory. The same `Arc` comes back as long as nothing changed.
    fn catalog(&self) -> Arc<Catalog>;

    /// A custom metric of one object (then exactly one sample) or of the objects that a selector selects.
    async fn custom(&self, query: &CustomQuery) -> Result<CustomAnswer, FetchError>;

    /// Every series of an external metric that the query's selector selects.
    async fn external(&self, query: &ExternalQuery) -> Result<ExternalAnswer, FetchError>;

    /// What the named pods use; those without a value are left out. By default there is nobody who knows.
    async fn pods(&self, _pods: &[PodRef]) -> Result<ResourceAnswer<PodSample>, FetchError> {
        Err(FetchError::nobody_measures())
    }

    /// What the named nodes use; those without a value are left out. By default there is nobody who knows.
    async fn nodes(&self, _names: &[String]) -> Result<ResourceAnswer<NodeSample>, FetchError> {
        Err(FetchError::nobody_measures())
    }

    /// Answers `query` anew, whatever is cached, and tells how it came to the answer. By default there is nothing to tell.
    ///
    /// # Errors
    ///
    /// Why it can't be explained now, as with too many who ask. A metric that fails is no such error: that is explained.
    async fn explain(&self, query: &MetricQuery, _detail: Detail) -> Result<Explanation, FetchError> {
        Ok(Explanation::of(query.ask(self).await))
    }
}

/// The listed metrics, each list sorted and without repetition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalog {
    /// Metrics of custom.metrics.k8s.io.
    pub custom: Vec<CustomMetric>,
    /// Metrics of external.metrics.k8s.io, in the case in which they were listed.
    pub external: Vec<MetricName>,
}

/// A question to custom.metrics.k8s.io.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CustomQuery {
    /// Which metric of which kind of objects.
    pub metric: CustomMetric,
    /// Absent for cluster-scoped objects, and for the Namespace object that a metric describes.
    pub namespace: Option<String>,
    /// Which objects.
    pub objects: ObjectSelection,
    /// `metricLabelSelector`: which series of the metric.
    pub series: Selector,
}

/// The objects that a custom metric is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ObjectSelection {
    /// One, by name.
    Named(String),
    /// All (`*`) that `labelSelector` selects.
    Selected(Selector),
}

/// The values of a custom metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomAnswer {
    /// Whose answer it is.
    pub plugin: PluginId,
    /// A value for each object; shared, because a cached answer is given to many.
    pub samples: Arc<[CustomSample]>,
    /// What the value cache had to do with it.
    pub cache: CacheState,
}

/// One object's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomSample {
    /// The object's name.
    pub object: String,
    /// The value.
    pub value: Quantity,
    /// When it was true.
    pub timestamp: UnixMillis,
    /// Over which time a rate was computed.
    pub window: Option<Duration>,
}

/// A question to external.metrics.k8s.io.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ExternalQuery {
    /// The namespace in the URL.
    pub namespace: String,
    /// As the client sent it: any case.
    pub metric: MetricName,
    /// Which series.
    pub series: Selector,
}

/// The series of an external metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalAnswer {
    /// Whose answer it is.
    pub plugin: PluginId,
    /// The metric's name as its plugin listed it, or as the client sent it.
    pub metric: MetricName,
    /// Its series; shared as those of [`CustomAnswer`].
    pub samples: Arc<[ExternalSample]>,
    /// What the value cache had to do with it.
    pub cache: CacheState,
}

/// One series' value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalSample {
    /// What tells the series from others, sorted by key, keys unique.
    pub labels: Vec<(String, String)>,
    /// The value.
    pub value: Quantity,
    /// When it was true.
    pub timestamp: UnixMillis,
    /// Over which time a rate was computed.
    pub window: Option<Duration>,
}
