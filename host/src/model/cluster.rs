//! What rooms need to know of the cluster, as doorways: kinds of objects from discovery, names and addresses from caches.

use async_trait::async_trait;

use super::{FetchError, GroupResource, Selector};

/// A kind of objects as the API server's discovery describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    /// The API group, "" for the core group.
    pub group: String,
    /// The preferred of the group's versions that have it, as in `v1`.
    pub version: String,
    /// The kind, as in `Pod`.
    pub kind: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
}

/// Kinds and scopes, never from a guest.
#[async_trait]
pub trait Kinds: Send + Sync + 'static {
    /// The kind of `resource`, asked of the API server if it is not known yet; `None` if there is none.
    async fn kind(&self, resource: &GroupResource) -> Result<Option<Kind>, FetchError>;

    /// The kind of `resource` if it is known already: for discovery, which answers from memory.
    fn known(&self, resource: &GroupResource) -> Option<Kind>;

    /// Changes whenever an answer of `known` may have changed.
    fn revision(&self) -> u64;
}

/// An object and where to reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The object's name.
    pub name: String,
    /// The object's labels, sorted by key.
    pub labels: Vec<(String, String)>,
    /// Pod IPs, Service cluster IPs or Node internal addresses.
    pub addresses: Vec<String>,
    /// A pod's or node's Ready condition; true for services.
    pub ready: bool,
}

/// Objects of the kinds that the operator allows, from caches.
///
/// A cache that has not synced is an error with `Reason::Loading`, never an empty list; a kind outside the operator's list is
/// `Reason::BadRequest`.
#[async_trait]
pub trait Objects: Send + Sync + 'static {
    /// Names of the objects that `selector` selects, sorted. `namespace` is absent for cluster-scoped kinds.
    async fn names(
        &self,
        namespace: Option<&str>,
        resource: &GroupResource,
        selector: &Selector,
    ) -> Result<Vec<String>, FetchError>;

    /// Pods, services or nodes with their addresses, sorted by name.
    async fn endpoints(
        &self,
        namespace: Option<&str>,
        resource: &GroupResource,
        selector: &Selector,
    ) -> Result<Vec<Endpoint>, FetchError>;
}
