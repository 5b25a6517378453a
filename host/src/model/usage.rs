//! CPU and memory of pods and nodes: what metrics.k8s.io asks for and answers, and which objects there are to measure.

use std::time::Duration;

use async_trait::async_trait;

use super::{FetchError, PluginId, Quantity, Selector, UnixMillis};

/// A pod's name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodRef {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What a container or a node uses; neither is negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Cores, averaged over the sample's window.
    pub cpu: Quantity,
    /// Bytes of the working set, in the format in which they are to be printed.
    pub memory: Quantity,
}

/// One container of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerUsage {
    /// The container's name in the pod's spec.
    pub name: String,
    /// What it uses.
    pub usage: Usage,
}

/// What a pod uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodSample {
    /// Which pod.
    pub pod: PodRef,
    /// When it was measured.
    pub timestamp: UnixMillis,
    /// Over which time CPU was averaged.
    pub window: Duration,
    /// Each container's usage.
    pub containers: Vec<ContainerUsage>,
}

/// What a node uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSample {
    /// The node's name.
    pub node: String,
    /// When it was measured.
    pub timestamp: UnixMillis,
    /// Over which time CPU was averaged.
    pub window: Duration,
    /// The whole node's usage.
    pub usage: Usage,
}

/// What a plugin knows of the objects that it was asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceAnswer<Sample> {
    /// The plugin that answered.
    pub plugin: PluginId,
    /// Of the objects that have a value, in no order.
    pub samples: Vec<Sample>,
}

/// An object that may be measured, as far as metrics.k8s.io shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measurable {
    /// Its namespace, "" for a node.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its labels, sorted by key.
    pub labels: Vec<(String, String)>,
}

/// Which pods and nodes there are, from caches. It is for the API alone: what guests may see, [`super::Objects`] says.
///
/// A cache that has not synced is an error with `Reason::Loading`, never an empty list.
#[async_trait]
pub trait Inventory: Send + Sync + 'static {
    /// The pods in phase Running, of one namespace or of all, that `selector` selects; sorted by namespace and name.
    async fn running_pods(&self, namespace: Option<&str>, selector: &Selector) -> Result<Vec<Measurable>, FetchError>;

    /// The nodes that `selector` selects, sorted by name.
    async fn nodes(&self, selector: &Selector) -> Result<Vec<Measurable>, FetchError>;
}
