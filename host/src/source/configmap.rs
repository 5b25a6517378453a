//! Plugins from a cluster: the labelled ConfigMaps of one namespace, and what they name. Watches in this order of care:
//! plugins whole, parts, Secrets and other ConfigMaps by their metadata alone, so that neither megabytes of parts nor any
//! Secret's value is ever kept here. Never writes, and never ends by itself: a lost watch is taken up again, with back-off.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use k8s_openapi::{
    api::{
        authentication::v1::{TokenRequest, TokenRequestSpec, TokenReview, TokenReviewSpec},
        core::v1::{ConfigMap, Secret as KubernetesSecret, ServiceAccount as KubernetesServiceAccount},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client, Resource,
    api::PostParams,
    core::{DeserializeGuard, NamespaceResourceScope, PartialObjectMeta},
    runtime::{WatchStreamExt, watcher},
};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::Sender;

use crate::model::PluginId;

use super::patience::Patience;
use super::{
    CREDENTIAL_LABEL, Dependencies, Dependency, Event, IssuedToken, PART_LABEL, PLUGIN_LABEL, Part, RawPlugin,
    ReadError, Secret, ServiceAccount, object, order::Newest, plugin_files::no_folder,
};

/// ConfigMaps in one page of a list. A page is held as text and decoded, which is 3 MiB for a full ConfigMap, and while it is
/// worked through, the one before is still on its way through the reload.
const PLUGINS_PER_PAGE: u32 = 2;
/// How long the API server keeps a watch open, in seconds. A minute instead of kube's five: a connection that died in silence is
/// noticed as late as this, and plugins change in the meantime. Taking a watch up again costs one request.
pub const WATCH_SECONDS: u32 = 60;

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
        let page = watched(&format!("{PLUGIN_LABEL}=true")).page_size(PLUGINS_PER_PAGE);
        let plugins = watcher(plugins, page).backoff(Patience::default()).boxed();
        let parts = watched_metadata::<ConfigMap>(&client, &namespace, PART_LABEL);
        let secrets = watched_metadata::<KubernetesSecret>(&client, &namespace, &format!("{CREDENTIAL_LABEL}=true"));
        // Bundles of certificate authorities: whatever made them knows nothing of a label for the adapter.
        let others = watched_metadata::<ConfigMap>(&client, &namespace, &format!("!{PLUGIN_LABEL},!{PART_LABEL}"));
        let part = |name| Dependency::Part { namespace: namespace.clone(), name };
        let secret = |name| Dependency::Secret { namespace: namespace.clone(), name };
        let other = |name| Dependency::ConfigMap { namespace: namespace.clone(), name };
        tokio::select! {
            () = follow_plugins(plugins, &namespace, &events) => {}
            () = follow_dependencies(parts, part, &events) => {}
            () = follow_dependencies(secrets, secret, &events) => {}
            () = follow_dependencies(others, other, &events) => {}
            () = events.closed() => {}
        }
    }
}

/// What has these labels. Lists name no resource version, so they are quorum reads: a list from an API server whose cache lags would
/// lack plugins that a watch has told of.
fn watched(labels: &str) -> watcher::Config {
    watcher::Config::default().labels(labels).timeout(WATCH_SECONDS)
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
    watcher(api, watched(labels)).backoff(Patience::default()).boxed()
}

/// Returns when nobody listens any more.
async fn follow_plugins(mut watch: WatchEvents<DeserializeGuard<ConfigMap>>, namespace: &str, events: &Sender<Event>) {
    let (mut listed, mut newest) = (Vec::new(), Newest::default());
    while let Some(event) = watch.next().await {
        let event = match event {
            Ok(watcher::Event::Init) => {
                listed.clear();
                None
            }
            Ok(watcher::Event::InitApply(guarded)) => {
                // One that can't be decoded still exists: its last good version stays.
                listed.push(id_of(guarded.meta(), namespace));
                put(guarded, namespace, &mut newest)
            }
            Ok(watcher::Event::InitDone) => {
                newest.keep(&listed);
                let present = std::mem::take(&mut listed);
                Some(Event::Synced { namespace: Some(namespace.to_owned()), present })
            }
            Ok(watcher::Event::Apply(guarded)) => put(guarded, namespace, &mut newest),
            Ok(watcher::Event::Delete(guarded)) => {
                let (id, version) = (id_of(guarded.meta(), namespace), version_of(guarded.meta()));
                newest.removes(&id, version).then_some(Event::Remove(id))
            }
            Err(error) => {
                tracing::warn!(namespace, error = %described(&error), "the watch of plugin ConfigMaps failed and is tried again; loaded plugins stay");
                is_forbidden(&error).then(|| Event::Unreadable(namespace.to_owned()))
            }
        };
        if let Some(event) = event
            && events.send(event).await.is_err()
        {
            return;
        }
    }
}

fn put(guarded: DeserializeGuard<ConfigMap>, namespace: &str, newest: &mut Newest) -> Option<Event> {
    if !newest.takes(&id_of(guarded.meta(), namespace), version_of(guarded.meta())) {
        return None;
    }
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

fn version_of(metadata: &ObjectMeta) -> &str {
    metadata.resource_version.as_deref().unwrap_or_default()
}

/// The error with its cause, which kube's own text leaves out in places, and the rule to add where one is missing.
fn described(error: &watcher::Error) -> String {
    let remedy = if is_forbidden(error) { "; grant its ServiceAccount get, list and watch there" } else { "" };
    format!("{error}{remedy}")
}

/// Whether it will stay so until somebody grants a right.
fn is_forbidden(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status.is_forbidden(),
        _ => false,
    }
}

/// Reads plugins, parts and Secrets with one GET each.
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
        let got = Api::<K>::namespaced(self.client.clone(), namespace).get(name).await;
        got.map_err(|error| failed(error, what, "get", &K::plural(&()), namespace))
    }
}

/// What an error of the Kubernetes client means; where a right is missing, which.
fn failed(error: kube::Error, what: String, verb: &str, resource: &str, namespace: &str) -> ReadError {
    match error {
        kube::Error::Api(status) if status.is_not_found() => ReadError::NotFound(what),
        kube::Error::Api(status) if status.is_forbidden() => ReadError::Unavailable(format!(
            "{what} may not be read by the adapter; grant its ServiceAccount the verb {verb} on {resource} in namespace {namespace}"
        )),
        error => ReadError::Unavailable(format!("{what} could not be read: {error}")),
    }
}

#[async_trait]
impl Dependencies for ClusterDependencies {
    async fn plugin(&self, id: &PluginId) -> Result<RawPlugin, ReadError> {
        let object = self.get::<ConfigMap>(&id.namespace, &id.name).await?;
        let label = object.metadata.labels.as_ref().and_then(|labels| labels.get(PLUGIN_LABEL));
        match label.map(String::as_str) {
            Some("true") => Ok(object::plugin(object, &id.namespace)),
            _ => Err(ReadError::NotFound(format!("ConfigMap {id} with the label `{PLUGIN_LABEL}: \"true\"`"))),
        }
    }

    async fn part(&self, namespace: &str, name: &str) -> Result<Part, ReadError> {
        object::part(self.get::<ConfigMap>(namespace, name).await?, &format!("{namespace}/{name}"))
    }

    async fn secret(&self, namespace: &str, name: &str) -> Result<Secret, ReadError> {
        Ok(object::secret(self.get::<KubernetesSecret>(namespace, name).await?))
    }

    async fn file(&self, path: &str, _cap: usize) -> Result<Bytes, ReadError> {
        Err(no_folder(path))
    }

    async fn config_map_key(&self, namespace: &str, name: &str, key: &str) -> Result<Bytes, ReadError> {
        object::config_map_key(self.get::<ConfigMap>(namespace, name).await?, &format!("{namespace}/{name}"), key)
    }

    async fn service_account(&self, namespace: &str, name: &str) -> Result<ServiceAccount, ReadError> {
        Ok(object::service_account(self.get::<KubernetesServiceAccount>(namespace, name).await?))
    }

    async fn service_account_token(
        &self,
        namespace: &str,
        name: &str,
        audience: &str,
        lifetime: Duration,
    ) -> Result<IssuedToken, ReadError> {
        let what = format!("a token of ServiceAccount {namespace}/{name}");
        let accounts = Api::<KubernetesServiceAccount>::namespaced(self.client.clone(), namespace);
        let expiration_seconds = i64::try_from(lifetime.as_secs()).ok();
        let audiences = Some(vec![audience.to_owned()]);
        let spec = TokenRequestSpec { audiences, expiration_seconds, ..TokenRequestSpec::default() };
        let request = TokenRequest { spec: Some(spec), ..TokenRequest::default() };
        let answer = accounts.create_token_request(name, &PostParams::default(), &request).await;
        let answer =
            answer.map_err(|error| failed(error, what.clone(), "create", "serviceaccounts/token", namespace))?;
        let token = object::token(answer)
            .ok_or_else(|| ReadError::Unavailable(format!("{what} came without its life or itself")))?;
        if self.is_taken_by_the_api_server(&token, &what).await? {
            return Err(ReadError::Malformed(format!(
                "{what} for audience {audience} is one that the API server takes, and no backend may have that; name the backend's own audience"
            )));
        }
        Ok(token)
    }
}

impl ClusterDependencies {
    /// A review that names no audience is about the API server's own (`TokenReviewSpec` of k8s.io/api/authentication/v1).
    async fn is_taken_by_the_api_server(&self, token: &IssuedToken, what: &str) -> Result<bool, ReadError> {
        let spec = TokenReviewSpec { token: token.value.to_string(), audiences: None };
        let review = TokenReview { spec, ..TokenReview::default() };
        let reviews = Api::<TokenReview>::all(self.client.clone());
        let reviewed = reviews.create(&PostParams::default(), &review).await;
        // Without the error's own text: it may hold what was sent.
        let reviewed = reviewed.map_err(|_| {
            ReadError::Unavailable(format!("whether {what} is one for the API server could not be asked"))
        })?;
        Ok(reviewed.status.is_none_or(|status| status.authenticated == Some(true)))
    }
}

#[cfg(test)]
mod tests;
