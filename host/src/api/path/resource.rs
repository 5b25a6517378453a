//! Paths of metrics.k8s.io: pods and nodes, one or all of them.

use super::{PathError, Target, namespace};
use crate::{
    api::group::{Group, GroupVersion},
    model::{PodRef, ResourceAttributes},
};

/// A path of metrics.k8s.io.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResourceTarget {
    /// `/nodes`
    Nodes,
    /// `/nodes/{name}`
    Node(String),
    /// `/pods` without a namespace, `/namespaces/{namespace}/pods` with one.
    Pods(Option<String>),
    /// `/namespaces/{namespace}/pods/{name}`
    Pod(PodRef),
}

impl ResourceTarget {
    /// The resource.
    pub fn resource(&self) -> &'static str {
        match self {
            Self::Nodes | Self::Node(_) => "nodes",
            Self::Pods(_) | Self::Pod(_) => "pods",
        }
    }

    /// The namespace in the path.
    pub fn namespace(&self) -> Option<&str> {
        match self {
            Self::Pods(namespace) => namespace.as_deref(),
            Self::Pod(pod) => Some(&pod.namespace),
            Self::Nodes | Self::Node(_) => None,
        }
    }

    /// Whether it is a list.
    pub fn is_collection(&self) -> bool {
        matches!(self, Self::Nodes | Self::Pods(_))
    }

    /// As RequestInfo of k8s.io/apiserver has them: a field selector for one name makes a list one about that name.
    pub(super) fn attributes(&self, target: &Target) -> ResourceAttributes {
        let (namespace, name) = match self {
            Self::Nodes => ("", None),
            Self::Node(name) => ("", Some(name.clone())),
            Self::Pods(namespace) => (namespace.as_deref().unwrap_or_default(), None),
            Self::Pod(PodRef { namespace, name }) => (namespace.as_str(), Some(name.clone())),
        };
        let is_collection = self.is_collection();
        let parameters = &target.parameters;
        let labels = is_collection.then(|| parameters.labels().ok().filter(|labels| !labels.is_everything()));
        ResourceAttributes {
            verb: target.verb(is_collection).to_owned(),
            group: Group::Resource.name().to_owned(),
            version: GroupVersion::Resource.version().to_owned(),
            namespace: namespace.to_owned(),
            resource: self.resource().to_owned(),
            name: name.or_else(|| parameters.fields().ok()?.exact_name()).unwrap_or_default(),
            label_selector: labels.flatten(),
            ..ResourceAttributes::default()
        }
    }
}

/// The routes that the generic API server installs for a namespaced and a cluster-scoped resource.
pub(super) fn resource(segments: &[&str]) -> Result<ResourceTarget, PathError> {
    Ok(match *segments {
        ["nodes"] => ResourceTarget::Nodes,
        ["nodes", name] => ResourceTarget::Node(name.to_owned()),
        ["pods"] => ResourceTarget::Pods(None),
        ["namespaces", name, "pods"] => ResourceTarget::Pods(Some(namespace(name)?)),
        ["namespaces", namespace_name, "pods", name] => {
            ResourceTarget::Pod(PodRef { namespace: namespace(namespace_name)?, name: name.to_owned() })
        }
        _ => return Err(PathError::NotFound),
    })
}
