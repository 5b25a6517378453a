//! metrics.k8s.io: what pods and nodes use, in the manner of metrics-server (`pkg/api` of kubernetes-sigs/metrics-server). Which
//! objects there are comes from the inventory, what they use from the provider; an object without a value is left out of a list.

use std::collections::HashMap;

use axum::response::Response;
use http::request::Parts;

use super::{
    Api,
    fields::FieldSelector,
    group::Group,
    outcome::Outcome,
    parameters::{BadParameter, Parameters},
    path::ResourceTarget,
    shape::Shaped,
    status::Status,
    wire::{Kind as _, NodeMetrics, PodMetrics},
};
use crate::model::{
    FetchError, GroupResource, Measurable, NodeSample, PluginId, PodRef, PodSample, Provider, Reason, ResourceAnswer,
    Selector, UnixMillis,
};

/// Answers a GET on metrics.k8s.io.
pub(super) async fn respond(
    api: &Api,
    provider: &dyn Provider,
    target: &ResourceTarget,
    parameters: &Parameters,
    head: &Parts,
) -> Result<Response, Status> {
    let shaped = if target.is_collection() { Shaped::negotiate_list(head) } else { Shaped::negotiate_object(head) }?;
    let now = UnixMillis::now();
    let (plugin, response) = match target {
        ResourceTarget::Pods(namespace) => {
            let Selection { labels, fields } = Selection::of(parameters)?;
            let mut pods = api.inventory.running_pods(namespace.as_deref(), &labels).await?;
            pods.retain(|pod| fields.matches(pod));
            let (plugin, samples) = measure_pods(provider, &pods).await?;
            let measured = pods.iter().zip(&samples).filter_map(|(pod, sample)| Some((pod, sample.as_ref()?)));
            let items = measured.map(|(pod, sample)| PodMetrics::new(pod, sample, now)).collect();
            (plugin, shaped.write_list(&PodMetrics::list(items)))
        }
        ResourceTarget::Nodes => {
            let Selection { labels, fields } = Selection::of(parameters)?;
            let mut nodes = api.inventory.nodes(&labels).await?;
            nodes.retain(|node| fields.matches(node));
            let (plugin, samples) = measure_nodes(provider, &nodes).await?;
            let measured = nodes.iter().zip(&samples).filter_map(|(node, sample)| Some((node, sample.as_ref()?)));
            let items = measured.map(|(node, sample)| NodeMetrics::new(node, sample, now)).collect();
            (plugin, shaped.write_list(&NodeMetrics::list(items)))
        }
        ResourceTarget::Pod(PodRef { namespace, name }) => {
            let everything = Selector::everything();
            let pods = api.inventory.running_pods(Some(namespace), &everything).await?;
            let pod = named(pods, name).ok_or_else(|| Status::named_not_found(&GroupResource::core("pods"), name))?;
            let (plugin, mut samples) = measure_pods(provider, std::slice::from_ref(&pod)).await?;
            let unmeasured = || Status::named_not_found(&metrics_of("podmetrics"), &format!("{namespace}/{name}"));
            let sample = samples.pop().flatten().ok_or_else(unmeasured)?;
            (plugin, shaped.write_object(&PodMetrics::new(&pod, &sample, now).single()))
        }
        ResourceTarget::Node(name) => {
            let nodes = api.inventory.nodes(&Selector::everything()).await?;
            let node = named(nodes, name).ok_or_else(|| Status::named_not_found(&GroupResource::core("node"), name))?;
            let (plugin, mut samples) = measure_nodes(provider, std::slice::from_ref(&node)).await?;
            let unmeasured = || Status::named_not_found(&metrics_of("nodemetrics"), name);
            let sample = samples.pop().flatten().ok_or_else(unmeasured)?;
            (plugin, shaped.write_object(&NodeMetrics::new(&node, &sample, now).single()))
        }
    };
    Ok(Outcome { plugin, ..Outcome::default() }.attach(response))
}

/// What a list is asked for.
struct Selection {
    labels: Selector,
    fields: FieldSelector,
}

impl Selection {
    fn of(parameters: &Parameters) -> Result<Self, BadParameter> {
        parameters.check_integers()?;
        Ok(Self { labels: parameters.labels()?, fields: parameters.fields()?.check()? })
    }
}

/// Who answered, if somebody knew anything, and each object's sample, where it has one.
type Measured<Sample> = (Option<PluginId>, Vec<Option<Sample>>);

async fn measure_pods(provider: &dyn Provider, pods: &[Measurable]) -> Result<Measured<PodSample>, Status> {
    let refs = pods.iter().map(|pod| PodRef { namespace: pod.namespace.clone(), name: pod.name.clone() });
    let refs: Vec<PodRef> = refs.collect();
    let (plugin, samples) = known(provider.pods(&refs).await)?;
    let mut samples: HashMap<PodRef, PodSample> =
        samples.into_iter().map(|sample| (sample.pod.clone(), sample)).collect();
    Ok((plugin, refs.iter().map(|pod| samples.remove(pod)).collect()))
}

async fn measure_nodes(provider: &dyn Provider, nodes: &[Measurable]) -> Result<Measured<NodeSample>, Status> {
    let names: Vec<String> = nodes.iter().map(|node| node.name.clone()).collect();
    let (plugin, samples) = known(provider.nodes(&names).await)?;
    let mut samples: HashMap<String, NodeSample> =
        samples.into_iter().map(|sample| (sample.node.clone(), sample)).collect();
    Ok((plugin, names.iter().map(|name| samples.remove(name)).collect()))
}

/// A plugin that says that there is no such thing has no value of what it was asked for.
fn known<Sample>(
    outcome: Result<ResourceAnswer<Sample>, FetchError>,
) -> Result<(Option<PluginId>, Vec<Sample>), Status> {
    match outcome {
        Ok(ResourceAnswer { plugin, samples }) => Ok((Some(plugin), samples)),
        Err(FetchError { reason: Reason::MetricNotFound | Reason::ObjectNotFound, plugin, .. }) => {
            Ok((plugin, Vec::new()))
        }
        Err(error) => Err(error.into()),
    }
}

fn named(objects: Vec<Measurable>, name: &str) -> Option<Measurable> {
    objects.into_iter().find(|object| object.name == name)
}

fn metrics_of(resource: &str) -> GroupResource {
    GroupResource { group: Group::Resource.name().to_owned(), name: resource.to_owned() }
}
