//! metrics.k8s.io out of Prometheus: what pods and nodes use, by four PromQL queries, in the place of metrics-server.
//!
//! ```yaml
//! serves: { resource: true }
//! egress: ["http://prometheus.monitoring.svc:9090"]
//! config: { url: "http://prometheus.monitoring.svc:9090" }
//! ```
//!
//! README.md has every key. The plugin keeps nothing between calls; each call sends two queries at once.

mod queries;
mod vector;

use std::collections::BTreeMap;

use metrics_plugin::http::{Request, send_all};
use metrics_plugin::resource::{Container, Node, Pod, PodRef, Usage};
use metrics_plugin::{Failure, Number, ResourceMetrics, Settings};
use queries::Queries;
use vector::{Point, Vector};

struct PrometheusUsage;

impl ResourceMetrics for PrometheusUsage {
    fn pods(pods: &[PodRef]) -> Result<Vec<Pod>, Failure> {
        let queries = Queries::load()?;
        let selection = queries::select_pods(pods);
        let key = |series: &vector::Series| {
            let label = |name| series.label(name).map(str::to_owned);
            Ok((label("namespace")?, label("pod")?, label("container")?))
        };
        let [cpu, memory] = both(&queries, [&queries.container_cpu, &queries.container_memory], &selection, key)?;
        let mut containers = by_pod(cpu, memory);
        let answers = pods.iter().filter_map(|pod| {
            let (timestamp, containers) = containers.remove(&(pod.namespace.clone(), pod.name.clone()))??;
            Some(Pod { ref_: pod.clone(), timestamp, window_ms: queries.window.milliseconds, containers })
        });
        Ok(answers.collect())
    }

    fn nodes(names: &[String]) -> Result<Vec<Node>, Failure> {
        let queries = Queries::load()?;
        let selection = queries::select_nodes(names);
        let key = |series: &vector::Series| series.label("node").map(str::to_owned);
        let [mut cpu, mut memory] = both(&queries, [&queries.node_cpu, &queries.node_memory], &selection, key)?;
        let answers = names.iter().filter_map(|name| {
            let (cpu, memory) = (cpu.remove(name)?, memory.remove(name)?);
            let timestamp = cpu.timestamp.min(memory.timestamp);
            let window_ms = queries.window.milliseconds;
            Some(Node { name: name.clone(), timestamp, window_ms, usage: usage(cpu, memory) })
        });
        Ok(answers.collect())
    }
}

impl Settings for PrometheusUsage {
    fn validate() -> Result<(), Failure> {
        Queries::load().map(|_| ())
    }
}

metrics_plugin::export!(PrometheusUsage: resource, settings);

/// The answers to two queries, by what `key` makes of their series.
fn both<Key: Ord>(
    queries: &Queries,
    templates: [&String; 2],
    selection: &str,
    key: impl Fn(&vector::Series) -> Result<Key, Failure>,
) -> Result<[BTreeMap<Key, Point>; 2], Failure> {
    let texts = templates.map(|template| queries.fill(template, selection));
    let requests = texts.iter().map(|query| Request::get(queries.endpoint()).query("query", query)).collect();
    let mut answers = send_all(requests).into_iter();
    let mut read = || {
        let response = answers.next().unwrap_or_else(|| Err(Failure::internal("a query had no answer")))?;
        response.json::<Vector>()?.points(&key)
    };
    Ok([read()?, read()?])
}

/// By namespace, pod and container.
type Containers = BTreeMap<(String, String, String), Point>;

/// By namespace and pod.
type Pods = BTreeMap<(String, String), Option<(u64, Vec<Container>)>>;

/// Each pod's containers and the time of the oldest of their values. Those that run are those with memory: the rate of one that ended,
/// such as an init container, is there until the window has passed. None for a pod of which a container has no rate yet: what is left
/// would look like the whole, and an autoscaler would take the pod for idle.
fn by_pod(mut cpu: Containers, memory: Containers) -> Pods {
    let mut pods = Pods::new();
    for (key, memory) in memory {
        let cpu = cpu.remove(&key);
        let (namespace, pod, name) = key;
        let entry = pods.entry((namespace, pod)).or_insert_with(|| Some((u64::MAX, Vec::new())));
        match (entry.as_mut(), cpu) {
            (Some((timestamp, containers)), Some(cpu)) => {
                *timestamp = cpu.timestamp.min(memory.timestamp).min(*timestamp);
                containers.push(Container { name, usage: usage(cpu, memory) });
            }
            _ => *entry = None,
        }
    }
    pods
}

fn usage(cpu: Point, memory: Point) -> Usage {
    Usage { cpu: Number::Float(cpu.value), memory: Number::Float(memory.value) }
}

#[cfg(test)]
mod tests;
