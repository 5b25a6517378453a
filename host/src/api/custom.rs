//! custom.metrics.k8s.io: values of objects, in the field names of both versions.

use axum::response::Response;
use http::request::Parts;

use super::{
    Api,
    group::{CustomVersion, GroupVersion},
    outcome::Outcome,
    parameters::Parameters,
    path::{CustomTarget, Objects},
    shape::Shaped,
    status::{Asked, Status},
    wire::{DescribedObject, LabelSelector, List, MetricIdentifier, MetricValueV1Beta1, MetricValueV1Beta2},
};
use crate::model::{CustomAnswer, CustomQuery, CustomSample, FetchError, Kind, ObjectSelection, Provider, Reason};

/// Answers a GET on a custom metric.
pub(super) async fn respond(
    api: &Api,
    provider: &dyn Provider,
    target: &CustomTarget,
    parameters: &Parameters,
    head: &Parts,
) -> Result<Response, Status> {
    let shaped = Shaped::negotiate_list(head)?;
    let query = target.query(parameters)?;
    let selector = LabelSelector::of(&query.series)?;
    let asked = Asked {
        resource: query.metric.resource.to_string(),
        metric: query.metric.name.as_str(),
        object: target.object(),
        series: &query.series,
    };
    let kind = kind(api, target, &query, &asked).await?;
    let CustomAnswer { plugin, samples, cache } =
        provider.custom(&query).await.map_err(|error| Status::of_fetch(&error, &asked))?;
    check(&query, &samples).map_err(|error| Status::of_fetch(&error, &asked))?;

    // Group, slash and version even where there is no group: "/v1" is what custom-metrics-apiserver answers for pods.
    let api_version = format!("{}/{}", kind.group, kind.version);
    let selector = (!query.series.is_everything()).then_some(&selector);
    let namespace = query.namespace.as_deref().unwrap_or_default();
    let object = |name| DescribedObject { kind: &kind.kind, namespace, name, api_version: &api_version };
    let metric = MetricIdentifier { name: query.metric.name.as_str(), selector };
    let version = GroupVersion::Custom(target.version);
    let response = match target.version {
        CustomVersion::V1Beta1 => {
            let items = samples.iter().map(|sample| MetricValueV1Beta1::new(sample, object(&sample.object), metric));
            shaped.write_list(&List::new(version, items.collect()))
        }
        CustomVersion::V1Beta2 => {
            let items = samples.iter().map(|sample| MetricValueV1Beta2::new(sample, object(&sample.object), metric));
            shaped.write_list(&List::new(version, items.collect()))
        }
    };
    Ok(Outcome::of_answer(plugin, cache).attach(response))
}

/// The kind of the target's objects, if they live where the path says. Scope is the API server's word, never a guest's: who may
/// read a metric of a namespace's objects may not read one of the cluster's.
async fn kind(api: &Api, target: &CustomTarget, query: &CustomQuery, asked: &Asked<'_>) -> Result<Kind, Status> {
    let kind = api.kinds.kind(&query.metric.resource).await.map_err(|error| Status::of_fetch(&error, asked))?;
    let kind = kind.ok_or_else(|| Status::metric_not_found(asked))?;
    match (kind.namespaced, &target.objects) {
        (true, Objects::InNamespace { .. }) | (false, Objects::InCluster { .. } | Objects::Namespace { .. }) => {
            Ok(kind)
        }
        (true, _) => Err(Status::out_of_scope(
            asked,
            "these objects live in namespaces; put `namespaces/NAMESPACE/` into the path",
        )),
        (false, _) => Err(Status::out_of_scope(
            asked,
            "these objects live in no namespace; leave `namespaces/NAMESPACE/` out of the path",
        )),
    }
}

/// The HPA controller's client fails on any number of values but one for a single object, without saying whose fault it is.
fn check(query: &CustomQuery, samples: &[CustomSample]) -> Result<(), FetchError> {
    let wrong = match (&query.objects, samples) {
        (ObjectSelection::Selected(_), _) => return Ok(()),
        (ObjectSelection::Named(name), [sample]) if sample.object == *name => return Ok(()),
        (ObjectSelection::Named(name), [sample]) => format!("describes {} where {name} was asked for", sample.object),
        (ObjectSelection::Named(name), []) => format!("has no value for {name}"),
        (ObjectSelection::Named(name), _) => format!("has several values for {name}"),
    };
    let message = format!("the metric {} {wrong}; its plugin must answer one value of just that object", query.metric);
    Err(FetchError::new(Reason::Internal, message))
}
