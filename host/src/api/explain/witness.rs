//! A provider that has each answer explained, and keeps what it is told.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use crate::{
    api::status::Status,
    model::{
        Catalog, CustomAnswer, CustomQuery, Detail, Explanation, ExternalAnswer, ExternalQuery, FetchError,
        MetricAnswer, MetricQuery, NodeSample, PodRef, PodSample, Provider, Reason, ResourceAnswer,
    },
};

/// Stands between one request and the provider.
pub(super) struct Witness {
    provider: Arc<dyn Provider>,
    detail: Detail,
    /// Absent as long as nothing was asked, as for a request that makes no sense.
    told: Mutex<Option<Result<Explanation, FetchError>>>,
}

impl Witness {
    pub(super) fn new(provider: Arc<dyn Provider>, detail: Detail) -> Self {
        Self { provider, detail, told: Mutex::default() }
    }

    /// What was told, or why nothing could be explained.
    pub(super) fn conclude(self) -> Result<Option<Explanation>, Status> {
        let told = self.told.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(told.transpose()?)
    }

    async fn ask(&self, query: MetricQuery) -> Result<MetricAnswer, FetchError> {
        let told = self.provider.explain(&query, self.detail).await;
        let answer = told.as_ref().map_or_else(|error| Err(error.clone()), |explanation| explanation.answer.clone());
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
        answer
    }
}

#[async_trait]
impl Provider for Witness {
    fn catalog(&self) -> Arc<Catalog> {
        self.provider.catalog()
    }

    async fn custom(&self, query: &CustomQuery) -> Result<CustomAnswer, FetchError> {
        match self.ask(MetricQuery::Custom(query.clone())).await? {
            MetricAnswer::Custom(answer) => Ok(answer),
            _ => Err(mismatch()),
        }
    }

    async fn external(&self, query: &ExternalQuery) -> Result<ExternalAnswer, FetchError> {
        match self.ask(MetricQuery::External(query.clone())).await? {
            MetricAnswer::External(answer) => Ok(answer),
            _ => Err(mismatch()),
        }
    }

    async fn pods(&self, pods: &[PodRef]) -> Result<ResourceAnswer<PodSample>, FetchError> {
        match self.ask(MetricQuery::Pods(pods.to_vec())).await? {
            MetricAnswer::Pods(answer) => Ok(answer),
            _ => Err(mismatch()),
        }
    }

    async fn nodes(&self, names: &[String]) -> Result<ResourceAnswer<NodeSample>, FetchError> {
        match self.ask(MetricQuery::Nodes(names.to_vec())).await? {
            MetricAnswer::Nodes(answer) => Ok(answer),
            _ => Err(mismatch()),
        }
    }
}

/// A provider that answers another question than the one asked: impossible while each pairs them, and not worth a panic.
fn mismatch() -> FetchError {
    FetchError::new(Reason::Internal, "the adapter explained another question than the one asked; please report this")
}
