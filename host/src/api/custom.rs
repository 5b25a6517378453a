//! custom.metrics.k8s.io: values of objects, in the field names of both versions.

use axum::response::Response;
use http::{StatusCode, request::Parts};
use serde::Serialize;

use super::{
    Api,
    group::{CustomVersion, GroupVersion},
    negotiate::Answer,
    parameters::Parameters,
    path::{CustomTarget, Objects},
    status::{Asked, Status},
    wire::{self, LabelSelector, List},
};
use crate::model::{CustomQuery, CustomSample, FetchError, Kind, ObjectSelection, Quantity, Reason, UnixMillis};

/// `v1.ObjectReference`, as far as metrics fill it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DescribedObject<'sample> {
    kind: &'sample str,
    #[serde(skip_serializing_if = "str::is_empty")]
    namespace: &'sample str,
    name: &'sample str,
    api_version: &'sample str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ValueV1Beta1<'sample> {
    described_object: DescribedObject<'sample>,
    metric_name: &'sample str,
    #[serde(serialize_with = "wire::timestamp")]
    timestamp: UnixMillis,
    #[serde(skip_serializing_if = "Option::is_none")]
    window: Option<u64>,
    #[serde(serialize_with = "wire::quantity")]
    value: Quantity,
    selector: Option<&'sample LabelSelector<'sample>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ValueV1Beta2<'sample> {
    described_object: DescribedObject<'sample>,
    metric: Identifier<'sample>,
    #[serde(serialize_with = "wire::timestamp")]
    timestamp: UnixMillis,
    #[serde(skip_serializing_if = "Option::is_none")]
    window_seconds: Option<u64>,
    #[serde(serialize_with = "wire::quantity")]
    value: Quantity,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct Identifier<'sample> {
    name: &'sample str,
    selector: Option<&'sample LabelSelector<'sample>>,
}

/// Answers a GET on a custom metric.
pub(super) async fn respond(
    api: &Api,
    target: &CustomTarget,
    parameters: &Parameters,
    head: &Parts,
) -> Result<Response, Status> {
    let answer = Answer::negotiate(head)?;
    let query = target.query(parameters)?;
    let selector = LabelSelector::of(&query.series)?;
    let asked = Asked {
        resource: query.metric.resource.to_string(),
        metric: query.metric.name.as_str(),
        object: target.object(),
        series: &query.series,
    };
    let kind = kind(api, target, &query, &asked).await?;
    let samples = api.provider.custom(&query).await.map_err(|error| Status::of_fetch(&error, &asked))?;
    check(&query, &samples).map_err(|error| Status::of_fetch(&error, &asked))?;

    // Group, slash and version even where there is no group: "/v1" is what custom-metrics-apiserver answers for pods.
    let api_version = format!("{}/{}", kind.group, kind.version);
    let selector = (!query.series.is_everything()).then_some(&selector);
    let namespace = query.namespace.as_deref().unwrap_or_default();
    let object = |name| DescribedObject { kind: &kind.kind, namespace, name, api_version: &api_version };
    let metric = Identifier { name: query.metric.name.as_str(), selector };
    let version = GroupVersion::Custom(target.version);
    Ok(match target.version {
        CustomVersion::V1Beta1 => {
            let items = samples.iter().map(|sample| v1beta1(sample, object(&sample.object), metric));
            answer.write(StatusCode::OK, &List::new(version, items.collect()))
        }
        CustomVersion::V1Beta2 => {
            let items = samples.iter().map(|sample| v1beta2(sample, object(&sample.object), metric));
            answer.write(StatusCode::OK, &List::new(version, items.collect()))
        }
    })
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

fn v1beta1<'sample>(
    sample: &CustomSample,
    described_object: DescribedObject<'sample>,
    metric: Identifier<'sample>,
) -> ValueV1Beta1<'sample> {
    ValueV1Beta1 {
        described_object,
        metric_name: metric.name,
        timestamp: sample.timestamp,
        window: wire::seconds(sample.window),
        value: sample.value,
        selector: metric.selector,
    }
}

fn v1beta2<'sample>(
    sample: &CustomSample,
    described_object: DescribedObject<'sample>,
    metric: Identifier<'sample>,
) -> ValueV1Beta2<'sample> {
    ValueV1Beta2 {
        described_object,
        metric,
        timestamp: sample.timestamp,
        window_seconds: wire::seconds(sample.window),
        value: sample.value,
    }
}
