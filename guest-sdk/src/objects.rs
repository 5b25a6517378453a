//! Kubernetes objects in the namespace of the request under way, and cluster-scoped ones for a request without a
//! namespace. The adapter answers from its own caches, for the kinds that the operator allows. While metrics are listed
//! and settings validated there is no namespace, so only cluster-scoped objects are seen.

pub use crate::bindings::imports::wasm_metrics_adapter::plugin::objects::Endpoint;
use crate::{Failure, GroupResource, Selector, host};

/// Names of the objects of `resource` that `selector` selects, sorted. Fails as `unavailable` while the adapter's cache is
/// filling, and never answers an empty list for that.
pub fn names(resource: &GroupResource, selector: &Selector) -> Result<Vec<String>, Failure> {
    host::objects::names(resource, selector.requirements())
}

/// Pods, services or nodes with their addresses, sorted by name; `bad-request` for other kinds.
pub fn endpoints(resource: &GroupResource, selector: &Selector) -> Result<Vec<Endpoint>, Failure> {
    host::objects::endpoints(resource, selector.requirements())
}
