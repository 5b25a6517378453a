//! Objects from watches, one for each kind that anybody has asked for, over the whole cluster. Names come from metadata alone;
//! pods, services and nodes are watched whole only once somebody asks for their addresses.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use kube::{
    Api, Client, ResourceExt,
    core::{ApiResource, DynamicObject, PartialObjectMeta},
};
use tokio::{runtime::Handle, time::Instant};

use super::{ObjectPolicy, index::Object, watch::Watch};
use crate::model::{Endpoint, FetchError, GroupResource, Kind, Kinds, Objects, Reason, Selector};

/// A watch that nobody asks is ended after this time: long enough that a metric which is looked at now and then costs no new
/// listing each time, and forty times what the HPA controller leaves between two looks.
const IDLE: Duration = Duration::from_secs(600);
/// How often idle watches are looked for.
const SWEEP_PERIOD: Duration = Duration::from_secs(60);

/// Objects of the kinds on the operator's list.
pub struct WatchedObjects {
    client: Client,
    kinds: Arc<dyn Kinds>,
    policy: ObjectPolicy,
    /// The runtime on which watches live, whatever runtime a guest waits on.
    home: Handle,
    watches: Mutex<HashMap<(GroupResource, Detail), Kept>>,
}

/// A watch and what it was started for.
struct Kept {
    watch: Arc<Watch>,
    kind: Kind,
    asked: Instant,
}

/// How much of the objects is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Detail {
    Metadata,
    /// Metadata of the pods in phase Running.
    Running,
    Addresses,
}

impl WatchedObjects {
    /// Watches nothing yet. Must be called on the Tokio runtime on which watches are to live.
    pub fn new(client: Client, kinds: Arc<dyn Kinds>, policy: ObjectPolicy) -> Self {
        Self { client, kinds, policy, home: Handle::current(), watches: Mutex::default() }
    }

    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }

    pub(super) fn home(&self) -> &Handle {
        &self.home
    }

    /// Ends watches that nobody has asked for ten minutes, for ever. Their memory is given back with the last answer from them.
    pub async fn end_idle(self: Arc<Self>) {
        loop {
            tokio::time::sleep(SWEEP_PERIOD).await;
            let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
            watches.retain(|_, kept| kept.asked.elapsed() < IDLE);
        }
    }

    /// The watch that is under way, or the one that `start` starts. A kind that is not what it was is watched anew.
    pub(super) fn watch(
        &self,
        resource: &GroupResource,
        detail: Detail,
        kind: &Kind,
        start: impl Fn() -> Watch,
    ) -> Arc<Watch> {
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        let mut key = (resource.clone(), detail);
        if detail == Detail::Metadata {
            // Whoever watches addresses knows the names too.
            let whole = (resource.clone(), Detail::Addresses);
            if watches.get(&whole).is_some_and(|kept| kept.watch.is_ready() && kept.kind == *kind) {
                key = whole;
            }
        }
        let new = || Kept { watch: Arc::new(start()), kind: kind.clone(), asked: Instant::now() };
        let kept = watches.entry(key).or_insert_with(new);
        if kept.kind != *kind || kept.watch.is_spent() {
            *kept = new();
        }
        kept.asked = Instant::now();
        Arc::clone(&kept.watch)
    }

    fn watch_names(&self, resource: &GroupResource, kind: &Kind) -> Arc<Watch> {
        self.watch(resource, Detail::Metadata, kind, || {
            let described = api_resource(resource, kind);
            let api: Api<PartialObjectMeta<DynamicObject>> = Api::all_with(self.client.clone(), &described);
            Watch::start(&self.home, resource, api, |object| named(object, Vec::new(), true))
        })
    }

    fn watch_addresses(&self, resource: &GroupResource, kind: &Kind) -> Result<Arc<Watch>, FetchError> {
        let (client, home) = (|| self.client.clone(), &self.home);
        let watch = |start: &dyn Fn() -> Watch| Ok(self.watch(resource, Detail::Addresses, kind, start));
        match (resource.group.as_str(), resource.name.as_str()) {
            ("", "pods") => watch(&|| Watch::start(home, resource, Api::all(client()), pod)),
            ("", "services") => watch(&|| Watch::start(home, resource, Api::all(client()), service)),
            ("", "nodes") => watch(&|| Watch::start(home, resource, Api::all(client()), node)),
            _ => {
                let message =
                    format!("objects of kind `{resource}` have no addresses; ask for pods, services or nodes");
                Err(FetchError::new(Reason::BadRequest, message))
            }
        }
    }

    /// The kind, if plugins may see it and it lives where the request is.
    async fn visible(&self, namespace: Option<&str>, resource: &GroupResource) -> Result<Kind, FetchError> {
        self.policy.check(resource)?;
        let kind = self.kinds.kind(resource).await?;
        check_scope(namespace, resource, kind)
    }
}

#[async_trait]
impl Objects for WatchedObjects {
    async fn names(
        &self,
        namespace: Option<&str>,
        resource: &GroupResource,
        selector: &Selector,
    ) -> Result<Vec<String>, FetchError> {
        let kind = self.visible(namespace, resource).await?;
        let watch = self.watch_names(resource, &kind);
        Ok(watch.index().await?.select(namespace.unwrap_or_default(), selector, |object| object.name.clone()))
    }

    async fn endpoints(
        &self,
        namespace: Option<&str>,
        resource: &GroupResource,
        selector: &Selector,
    ) -> Result<Vec<Endpoint>, FetchError> {
        let kind = self.visible(namespace, resource).await?;
        let watch = self.watch_addresses(resource, &kind)?;
        Ok(watch.index().await?.select(namespace.unwrap_or_default(), selector, endpoint))
    }
}

/// A request sees objects of its own namespace, and a request without one sees cluster-scoped objects.
pub(super) fn check_scope(
    namespace: Option<&str>,
    resource: &GroupResource,
    kind: Option<Kind>,
) -> Result<Kind, FetchError> {
    let refused = |message: String| Err(FetchError::new(Reason::BadRequest, message));
    match (kind, namespace) {
        (None, _) => {
            refused(format!("there is no kind of objects `{resource}` in this cluster; correct its name or group"))
        }
        (Some(kind), None) if kind.namespaced => refused(format!(
            "`{resource}` live in namespaces, and this request has none; ask for them in a request with a namespace"
        )),
        (Some(kind), Some(_)) if !kind.namespaced => refused(format!(
            "`{resource}` live in no namespace, and this request has one; ask for them in a request without a namespace"
        )),
        (Some(kind), _) => Ok(kind),
    }
}

pub(super) fn endpoint(object: &Object) -> Endpoint {
    let Object { namespace: _, name, labels, addresses, ready } = object.clone();
    Endpoint { name, labels, addresses, ready }
}

pub(super) fn api_resource(resource: &GroupResource, kind: &Kind) -> ApiResource {
    let Kind { group, version, kind, namespaced: _ } = kind.clone();
    let api_version = if group.is_empty() { version.clone() } else { format!("{group}/{version}") };
    ApiResource { group, version, api_version, kind, plural: resource.name.clone() }
}

pub(super) fn named(object: &impl ResourceExt, addresses: Vec<String>, ready: bool) -> Object {
    Object {
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
        labels: object.labels().clone().into_iter().collect(),
        addresses,
        ready,
    }
}

fn pod(pod: &Pod) -> Object {
    let status = pod.status.clone().unwrap_or_default();
    let addresses: Vec<String> = status.pod_ips.unwrap_or_default().into_iter().map(|ip| ip.ip).collect();
    let addresses = if addresses.is_empty() { status.pod_ip.into_iter().collect() } else { addresses };
    let ready = status
        .conditions
        .unwrap_or_default()
        .iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True");
    named(pod, addresses, ready)
}

fn service(service: &Service) -> Object {
    let spec = service.spec.clone().unwrap_or_default();
    let addresses: Vec<String> = spec.cluster_ips.unwrap_or_default();
    let mut addresses = if addresses.is_empty() { spec.cluster_ip.into_iter().collect() } else { addresses };
    // A headless service has no address of its own.
    addresses.retain(|address| !address.is_empty() && address != "None");
    named(service, addresses, true)
}

fn node(node: &Node) -> Object {
    let status = node.status.clone().unwrap_or_default();
    let internal = status.addresses.unwrap_or_default().into_iter().filter(|address| address.type_ == "InternalIP");
    let ready = status
        .conditions
        .unwrap_or_default()
        .iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True");
    named(node, internal.map(|address| address.address).collect(), ready)
}

#[cfg(test)]
mod tests;
