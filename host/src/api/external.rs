//! external.metrics.k8s.io: series of nothing in the cluster.

use axum::response::Response;
use http::{StatusCode, request::Parts};
use serde::Serialize;

use super::{
    Api,
    group::{Group, GroupVersion},
    negotiate::Answer,
    outcome::Outcome,
    parameters::Parameters,
    path::ExternalTarget,
    status::{Asked, Status},
    wire::{self, List},
};
use crate::model::{ExternalSample, Quantity, UnixMillis};

/// The resource that stands for all external metrics: the placeholder of discovery where none is listed, and the resource in
/// the text of a metric that is not found, since the metric itself takes the place of the resource in this API.
pub(super) const RESOURCE: &str = "externalmetrics";

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Value<'sample> {
    metric_name: &'sample str,
    #[serde(serialize_with = "wire::pairs")]
    metric_labels: &'sample [(String, String)],
    #[serde(serialize_with = "wire::timestamp")]
    timestamp: UnixMillis,
    #[serde(skip_serializing_if = "Option::is_none")]
    window: Option<u64>,
    #[serde(serialize_with = "wire::quantity")]
    value: Quantity,
}

/// Answers a GET on an external metric. No series is an empty list, not an error.
pub(super) async fn respond(
    api: &Api,
    target: &ExternalTarget,
    parameters: &Parameters,
    head: &Parts,
) -> Result<Response, Status> {
    let answer = Answer::negotiate(head)?;
    let query = target.query(parameters)?;
    let asked = Asked {
        resource: format!("{RESOURCE}.{}", Group::External.name()),
        metric: query.metric.as_str(),
        object: &query.namespace,
        series: &query.series,
    };
    let external = api.provider.external(&query).await.map_err(|error| Status::of_fetch(&error, &asked))?;
    let value = |sample| value(external.metric.as_str(), sample);
    let list = List::new(GroupVersion::External, external.samples.iter().map(value).collect());
    Ok(Outcome::of_plugin(external.plugin).attach(answer.write(StatusCode::OK, &list)))
}

fn value<'sample>(metric_name: &'sample str, sample: &'sample ExternalSample) -> Value<'sample> {
    Value {
        metric_name,
        metric_labels: &sample.labels,
        timestamp: sample.timestamp,
        window: wire::seconds(sample.window),
        value: sample.value,
    }
}
