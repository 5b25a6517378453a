//! Plugins from a cluster: the labelled ConfigMaps of one namespace, and what they name. Watches in this order of care:
//! plugins whole, parts and Secrets by their metadata alone, so that neither megabytes of parts nor any Secret's value
//! is ever kept here. Never writes, and never ends by itself: a lost watch is taken up again, with back-off.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use futures::{StreamExt, stream::BoxStream};
use k8s_openapi::{
    api::core::v1::{ConfigMap, Secret as KubernetesSecret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client, Resource,
    core::{DeserializeGuard, NamespaceResourceScope, PartialObjectMeta},
    runtime::{WatchStreamExt, watcher},
};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::Sender;

use crate::model::PluginId;

use super::patience::Patience;
use super::{
    CREDENTIAL_LABEL, Dependencies, Dependency, Event, PART_LABEL, PLUGIN_LABEL, Part, ReadError, Secret, object,
};

/// ConfigMaps in one page of a list. A page is held decoded, and each ConfigMap can have 1 MiB (twice that while it is
/// decoded).
const PLUGINS_PER_PAGE: u32 = 8;

/// Watches one namespace.
pub struct ConfigMapSource {
    client: Client,
    namespace: String,
}

type WatchEvents<K> = BoxStream<'static, watcher::Result<watcher::Event<K>>>;

impl ConfigMapSource {
    /// Will watch `namespace`. Needs list, watch and get on its ConfigMaps and Secrets.
    pub fn new(client: Client, namespace: impl Into<String>) -> Self {
        Self { client, namespace: namespace.into() }
    }

    /// Sends what happens until `events` is closed.
    pub async fn run(self, events: Sender<Event>) {
        let Self { client, namespace } = self;
        let plugins = Api::<DeserializeGuard<ConfigMap>>::namespaced(client.clone(), &namespace);
        let page = watcher::Config::default().labels(&format!("{PLUGIN_LABEL}=true")).page_size(PLUGINS_PER_PAGE);
        let plugins = watcher(plugins, page).backoff(Patience::default()).boxed();
        let parts = watched_metadata::<ConfigMap>(&client, &namespace, PART_LABEL);
        let secrets = watched_metadata::<KubernetesSecret>(&client, &namespace, &format!("{CREDENTIAL_LABEL}=true"));
        let part = |name| Dependency::Part { namespace: namespace.clone(), name };
        let secret = |name| Dependency::Secret { namespace: namespace.clone(), name };
        tokio::select! {
            () = follow_plugins(plugins, &namespace, &events) => {}
            () = follow_dependencies(parts, part, &events) => {}
            () = follow_dependencies(secrets, secret, &events) => {}
            () = events.closed() => {}
        }
    }
}

fn watched_metadata<K>(client: &Client, namespace: &str, labels: &str) -> WatchEvents<PartialObjectMeta<K>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug
        + Send
        + 'static,
{
    let api = Api::<PartialObjectMeta<K>>::namespaced(client.clone(), namespace);
    watcher(api, watcher::Config::default().labels(labels)).backoff(Patience::default()).boxed()
}

/// Returns when nobody listens any more.
async fn follow_plugins(mut watch: WatchEvents<DeserializeGuard<ConfigMap>>, namespace: &str, events: &Sender<Event>) {
    let mut listed = Vec::new();
    while let Some(event) = watch.next().await {
        let event = match event {
            Ok(watcher::Event::Init) => {
                listed.clear();
                None
            }
            Ok(watcher::Event::InitApply(guarded)) => {
                // One that can't be decoded still exists: its last good version stays.
                listed.push(id_of(guarded.meta(), namespace));
                put(guarded, namespace)
            }
            Ok(watcher::Event::InitDone) => Some(Event::Synced(std::mem::take(&mut listed))),
            Ok(watcher::Event::Apply(guarded)) => put(guarded, namespace),
            Ok(watcher::Event::Delete(guarded)) => Some(Event::Remove(id_of(guarded.meta(), namespace))),
            Err(error) => {
                tracing::warn!(namespace, error = %described(&error), "the watch of plugin ConfigMaps failed and is tried again; loaded plugins stay");
                None
            }
        };
        if let Some(event) = event
            && events.send(event).await.is_err()
        {
            return;
        }
    }
}

fn put(guarded: DeserializeGuard<ConfigMap>, namespace: &str) -> Option<Event> {
    match guarded.0 {
        Ok(object) => Some(Event::Put(object::plugin(object, namespace))),
        Err(invalid) => {
            let name = invalid.metadata.name.as_deref().unwrap_or_default();
            tracing::warn!(namespace, name, error = %invalid.error, "a plugin ConfigMap could not be decoded and is left as it was");
            None
        }
    }
}

/// Tells of each object that is new, another, or gone, once. Returns when nobody listens any more.
async fn follow_dependencies<K>(
    mut watch: WatchEvents<PartialObjectMeta<K>>,
    dependency: impl Fn(String) -> Dependency,
    events: &Sender<Event>,
) where
    K: Resource<DynamicType = ()>,
{
    let mut known: HashMap<String, Option<String>> = HashMap::new();
    let mut listed = HashSet::new();
    while let Some(event) = watch.next().await {
        let touched: Vec<String> = match event {
            Ok(watcher::Event::Init) => {
                listed.clear();
                Vec::new()
            }
            Ok(watcher::Event::InitApply(object)) => {
                let name = object.metadata.name.unwrap_or_default();
                listed.insert(name.clone());
                changed(&mut known, name, object.metadata.resource_version)
            }
            Ok(watcher::Event::Apply(object)) => {
                changed(&mut known, object.metadata.name.unwrap_or_default(), object.metadata.resource_version)
            }
            Ok(watcher::Event::Delete(object)) => {
                let name = object.metadata.name.unwrap_or_default();
                known.remove(&name);
                vec![name]
            }
            // What disappeared while the watch was down is in no event.
            Ok(watcher::Event::InitDone) => {
                known.extract_if(|name, _| !listed.contains(name)).map(|(name, _)| name).collect()
            }
            Err(error) => {
                tracing::warn!(kind = %K::kind(&()), error = %described(&error), "the watch of what plugins name failed and is tried again; loaded plugins stay");
                Vec::new()
            }
        };
        for name in touched {
            if events.send(Event::Touched(dependency(name))).await.is_err() {
                return;
            }
        }
    }
}

/// The name, if `version` is not the one that is known.
fn changed(known: &mut HashMap<String, Option<String>>, name: String, version: Option<String>) -> Vec<String> {
    if version.is_some() && known.get(&name) == Some(&version) {
        return Vec::new();
    }
    known.insert(name.clone(), version);
    vec![name]
}

fn id_of(metadata: &ObjectMeta, namespace: &str) -> PluginId {
    PluginId {
        namespace: metadata.namespace.clone().unwrap_or_else(|| namespace.to_owned()),
        name: metadata.name.clone().unwrap_or_default(),
    }
}

/// The error with its cause, which kube's own text leaves out in places, and the rule to add where one is missing.
fn described(error: &watcher::Error) -> String {
    let forbidden = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status.is_forbidden(),
        _ => false,
    };
    let remedy = if forbidden { "; grant its ServiceAccount get, list and watch there" } else { "" };
    format!("{error}{remedy}")
}

/// Reads parts and Secrets with one GET each.
///
/// A GET names no resource version, so it is a quorum read: an answer is never older than what a watch has told. With
/// `resourceVersion=0` an API server whose cache lags could show a Secret as it was before its consent was withdrawn.
pub struct ClusterDependencies {
    client: Client,
}

impl ClusterDependencies {
    /// Will read with `client`'s rights.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    async fn get<K>(&self, namespace: &str, name: &str) -> Result<K, ReadError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let what = format!("{} {namespace}/{name}", K::kind(&()));
        match Api::<K>::namespaced(self.client.clone(), namespace).get(name).await {
            Ok(object) => Ok(object),
            Err(kube::Error::Api(status)) if status.is_not_found() => Err(ReadError::NotFound(what)),
            Err(kube::Error::Api(status)) if status.is_forbidden() => {
                let resource = K::plural(&());
                Err(ReadError::Unavailable(format!(
                    "{what} may not be read by the adapter; grant its ServiceAccount the verb get on {resource} in namespace {namespace}"
                )))
            }
            Err(error) => Err(ReadError::Unavailable(format!("{what} could not be read: {error}"))),
        }
    }
}

#[async_trait]
impl Dependencies for ClusterDependencies {
    async fn part(&self, namespace: &str, name: &str) -> Result<Part, ReadError> {
        object::part(self.get::<ConfigMap>(namespace, name).await?, &format!("{namespace}/{name}"))
    }

    async fn secret(&self, namespace: &str, name: &str) -> Result<Secret, ReadError> {
        Ok(object::secret(self.get::<KubernetesSecret>(namespace, name).await?))
    }
}

#[cfg(test)]
mod tests;
