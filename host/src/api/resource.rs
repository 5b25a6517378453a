//! metrics.k8s.io: what pods and nodes use, in the manner of metrics-server (`pkg/api` of kubernetes-sigs/metrics-server). Which
//! objects there are comes from the inventory, what they use from the provider; an object without a value is left out of a list.

use std::collections::HashMap;

use async_trait::async_trait;
use axum::response::Response;
use http::request::Parts;

use super::{
    Api,
    fields::FieldSelector,
    group::Group,
    parameters::{BadParameter, Parameters},
    path::ResourceTarget,
    shape::Shaped,
    status::Status,
    wire::{Kind as _, NodeMetrics, PodMetrics},
};
use crate::model::{
    FetchError, GroupResource, Inventory, Measurable, NodeSample, PodRef, PodSample, Reason, Selector, UnixMillis,
};

/// Answers a GET on metrics.k8s.io.
pub(super) async fn respond(
    api: &Api,
    target: &ResourceTarget,
    parameters: &Parameters,
    head: &Parts,
) -> Result<Response, Status> {
    let shaped = if target.is_collection() { Shaped::negotiate_list(head) } else { Shaped::negotiate_object(head) }?;
    let now = UnixMillis::now();
    Ok(match target {
        ResourceTarget::Pods(namespace) => {
            let Selection { labels, fields } = Selection::of(parameters)?;
            let mut pods = api.inventory.running_pods(namespace.as_deref(), &labels).await.map_err(failed)?;
            pods.retain(|pod| fields.matches(pod));
            let samples = measure_pods(api, &pods).await?;
            let measured = pods.iter().zip(&samples).filter_map(|(pod, sample)| Some((pod, sample.as_ref()?)));
            let items = measured.map(|(pod, sample)| PodMetrics::new(pod, sample, now)).collect();
            shaped.write_list(&PodMetrics::list(items))
        }
        ResourceTarget::Nodes => {
            let Selection { labels, fields } = Selection::of(parameters)?;
            let mut nodes = api.inventory.nodes(&labels).await.map_err(failed)?;
            nodes.retain(|node| fields.matches(node));
            let samples = measure_nodes(api, &nodes).await?;
            let measured = nodes.iter().zip(&samples).filter_map(|(node, sample)| Some((node, sample.as_ref()?)));
            let items = measured.map(|(node, sample)| NodeMetrics::new(node, sample, now)).collect();
            shaped.write_list(&NodeMetrics::list(items))
        }
        ResourceTarget::Pod(PodRef { namespace, name }) => {
            let everything = Selector::everything();
            let pods = api.inventory.running_pods(Some(namespace), &everything).await.map_err(failed)?;
            let pod = named(pods, name).ok_or_else(|| Status::named_not_found(&GroupResource::core("pods"), name))?;
            let sample = measure_pods(api, std::slice::from_ref(&pod)).await?.pop().flatten();
            let unmeasured = || Status::named_not_found(&metrics_of("podmetrics"), &format!("{namespace}/{name}"));
            let sample = sample.ok_or_else(unmeasured)?;
            shaped.write_object(&PodMetrics::new(&pod, &sample, now).single())
        }
        ResourceTarget::Node(name) => {
            let nodes = api.inventory.nodes(&Selector::everything()).await.map_err(failed)?;
            let node = named(nodes, name).ok_or_else(|| Status::named_not_found(&GroupResource::core("node"), name))?;
            let sample = measure_nodes(api, std::slice::from_ref(&node)).await?.pop().flatten();
            let sample = sample.ok_or_else(|| Status::named_not_found(&metrics_of("nodemetrics"), name))?;
            shaped.write_object(&NodeMetrics::new(&node, &sample, now).single())
        }
    })
}

/// The inventory of nothing.
pub(super) struct Nothing;

#[async_trait]
impl Inventory for Nothing {
    async fn running_pods(&self, _: Option<&str>, _: &Selector) -> Result<Vec<Measurable>, FetchError> {
        Ok(Vec::new())
    }

    async fn nodes(&self, _: &Selector) -> Result<Vec<Measurable>, FetchError> {
        Ok(Vec::new())
    }
}

/// What a list is asked for.
struct Selection {
    labels: Selector,
    fields: FieldSelector,
}

impl Selection {
    fn of(parameters: &Parameters) -> Result<Self, BadParameter> {
        Ok(Self { labels: parameters.labels()?, fields: parameters.fields()?.check()? })
    }
}

/// Each pod's sample, where it has one.
async fn measure_pods(api: &Api, pods: &[Measurable]) -> Result<Vec<Option<PodSample>>, Status> {
    let refs = pods.iter().map(|pod| PodRef { namespace: pod.namespace.clone(), name: pod.name.clone() });
    let refs: Vec<PodRef> = refs.collect();
    let samples = known(api.provider.pods(&refs).await)?;
    let mut samples: HashMap<PodRef, PodSample> =
        samples.into_iter().map(|sample| (sample.pod.clone(), sample)).collect();
    Ok(refs.iter().map(|pod| samples.remove(pod)).collect())
}

/// Each node's sample, where it has one.
async fn measure_nodes(api: &Api, nodes: &[Measurable]) -> Result<Vec<Option<NodeSample>>, Status> {
    let names: Vec<String> = nodes.iter().map(|node| node.name.clone()).collect();
    let samples = known(api.provider.nodes(&names).await)?;
    let mut samples: HashMap<String, NodeSample> =
        samples.into_iter().map(|sample| (sample.node.clone(), sample)).collect();
    Ok(names.iter().map(|name| samples.remove(name)).collect())
}

/// A plugin that knows nothing of what it was asked for has no value of it.
fn known<Sample>(outcome: Result<Vec<Sample>, FetchError>) -> Result<Vec<Sample>, Status> {
    match outcome {
        Err(FetchError { reason: Reason::MetricNotFound | Reason::ObjectNotFound, .. }) => Ok(Vec::new()),
        outcome => outcome.map_err(failed),
    }
}

fn failed(error: FetchError) -> Status {
    Status::of_failure(&error)
}

fn named(objects: Vec<Measurable>, name: &str) -> Option<Measurable> {
    objects.into_iter().find(|object| object.name == name)
}

fn metrics_of(resource: &str) -> GroupResource {
    GroupResource { group: Group::Resource.name().to_owned(), name: resource.to_owned() }
}
