//! external.metrics.k8s.io: series of nothing in the cluster.

use axum::response::Response;
use http::request::Parts;

use super::{
    Api,
    group::{Group, GroupVersion},
    outcome::Outcome,
    parameters::Parameters,
    path::ExternalTarget,
    shape::Shaped,
    status::{Asked, Status},
    wire::{ExternalMetricValue, List},
};

/// The resource that stands for all external metrics: the placeholder of discovery where none is listed, and the resource in
/// the text of a metric that is not found, since the metric itself takes the place of the resource in this API.
pub(super) const RESOURCE: &str = "externalmetrics";

/// The kind of one series' value.
pub(super) const KIND: &str = "ExternalMetricValue";

/// Answers a GET on an external metric. No series is an empty list, not an error.
pub(super) async fn respond(
    api: &Api,
    target: &ExternalTarget,
    parameters: &Parameters,
    head: &Parts,
) -> Result<Response, Status> {
    let shaped = Shaped::negotiate_list(head)?;
    let query = target.query(parameters)?;
    let asked = Asked {
        resource: format!("{RESOURCE}.{}", Group::External.name()),
        metric: query.metric.as_str(),
        object: &query.namespace,
        series: &query.series,
    };
    let external = api.provider.external(&query).await.map_err(|error| Status::of_fetch(&error, &asked))?;
    let item = |sample| ExternalMetricValue::new(external.metric.as_str(), sample);
    let list = List::new(GroupVersion::External, external.samples.iter().map(item).collect());
    Ok(Outcome::of_plugin(external.plugin).attach(shaped.write_list(&list)))
}
