//! `resource-metrics`: its records in the model's words. A negative number is nonsense; bytes are whole, and print as
//! in metrics-server: `64Mi`.

use std::time::Duration;

use super::{bindings::exports::wasm_metrics_adapter::plugin::resource_metrics as wit, printable, quantity, types};
use crate::{
    model::{ContainerUsage, NodeSample, PodRef, PodSample, Quantity, QuantityFormat, UnixMillis, Usage},
    runtime::fault::Fault,
};

pub(super) fn pod_ref(pod: PodRef) -> wit::PodRef {
    wit::PodRef { namespace: pod.namespace, name: pod.name }
}

pub(super) fn pod(pod: wit::Pod) -> Result<PodSample, Fault> {
    let wit::PodRef { namespace, name } = pod.ref_;
    let containers = pod.containers.into_iter().map(|container| {
        let usage = usage(container.usage, || format!("container {} of pod {namespace}/{name}", container.name))?;
        Ok(ContainerUsage { name: container.name, usage })
    });
    Ok(PodSample {
        containers: containers.collect::<Result<_, Fault>>()?,
        timestamp: UnixMillis(pod.timestamp),
        window: Duration::from_millis(pod.window_ms.into()),
        pod: PodRef { namespace, name },
    })
}

pub(super) fn node(node: wit::Node) -> Result<NodeSample, Fault> {
    Ok(NodeSample {
        usage: usage(node.usage, || format!("node {}", node.name))?,
        timestamp: UnixMillis(node.timestamp),
        window: Duration::from_millis(node.window_ms.into()),
        node: node.name,
    })
}

fn usage(usage: wit::Usage, whose: impl Fn() -> String) -> Result<Usage, Fault> {
    let amount = |what: &str, number: types::Number| {
        let wrong = |why: String| Fault::Nonsense(format!("{what} of {}: {why}", printable(&whose())));
        let quantity = quantity(number).map_err(|error| wrong(error.to_string()))?;
        if quantity < Quantity::default() { Err(wrong(format!("{quantity} is negative"))) } else { Ok(quantity) }
    };
    let memory = Quantity::integer(amount("memory", usage.memory)?.units());
    Ok(Usage { cpu: amount("cpu", usage.cpu)?, memory: memory.with_format(QuantityFormat::BinarySi) })
}
