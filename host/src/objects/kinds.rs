//! Kinds from discovery: only the API group that a resource is of is asked, so that another group's broken server breaks nothing
//! here. What was learned is kept when the API server can't be asked.
//!
//! Whoever asks for resources that don't exist costs the API server little: one list of groups a second at most, and one look at
//! each group that does exist.

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{APIGroup, APIResourceList};
use kube::Client;
use tokio::{sync::Mutex, time::Instant};

use super::definitions;
use crate::model::{FetchError, GroupResource, Kind, Kinds, Reason};

/// How often groups that were asked for are asked again without a cause: for the kinds of aggregated API servers, whose changes
/// nobody tells, and which rarely change.
const REFRESH_PERIOD: Duration = Duration::from_secs(600);
/// A group is asked for at most once in this time, whatever is missing: a "no such kind" is believed for that long.
const ASK_PERIOD: Duration = Duration::from_secs(1);
/// A list of the groups that is so young is as good as a new one.
const FRESH: Duration = Duration::from_millis(100);
/// The time for one question; a request waits for it.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// Served by this adapter: asking for them would lead back here.
const OWN_GROUPS: [&str; 3] = ["custom.metrics.k8s.io", "external.metrics.k8s.io", "metrics.k8s.io"];

/// Kinds as the API server describes them.
pub struct DiscoveredKinds {
    client: Client,
    /// Held while the groups are listed: others wait for that answer instead of asking too.
    listed: Mutex<Option<Asked<Arc<Groups>>>>,
    groups: RwLock<HashMap<String, Arc<Group>>>,
    revision: AtomicU64,
}

/// The versions of every API group but the core group, the preferred one first.
type Groups = BTreeMap<String, Vec<String>>;

/// One API group, by resource name.
type Resources = BTreeMap<String, Kind>;

#[derive(Default)]
struct Group {
    /// Held while the group is asked, as above.
    asking: Mutex<Option<Asked<()>>>,
    /// The last good answer.
    resources: RwLock<Resources>,
}

/// The last question and what came of it.
struct Asked<T> {
    at: Instant,
    result: Result<T, FetchError>,
}

impl DiscoveredKinds {
    /// Knows nothing yet.
    pub fn new(client: Client) -> Self {
        Self { client, listed: Mutex::default(), groups: RwLock::default(), revision: AtomicU64::new(0) }
    }

    /// Follows changes of what was asked for, for ever: those of custom resource definitions at once, all others by and by.
    pub async fn keep_fresh(self: Arc<Self>) {
        let regularly = async {
            loop {
                tokio::time::sleep(REFRESH_PERIOD).await;
                self.refresh().await;
            }
        };
        tokio::join!(regularly, definitions::follow(self.client.clone(), &self));
    }

    /// Asks again for every group that has been asked for, one after the other.
    pub(super) async fn refresh(&self) {
        let names: Vec<_> = self.read_groups().keys().cloned().collect();
        for name in names {
            self.refresh_group(&name).await;
        }
    }

    /// Asks again for a group, if anybody has asked for it.
    pub(super) async fn refresh_group(&self, name: &str) {
        let Some(group) = self.read_groups().get(name).cloned() else { return };
        if let Ok(Some(versions)) = self.versions(name, FRESH).await {
            let mut asked = group.asking.lock().await;
            self.ask(name, &versions, &group, &mut asked).await;
        }
    }

    fn read_groups(&self) -> std::sync::RwLockReadGuard<'_, HashMap<String, Arc<Group>>> {
        self.groups.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The place of a group that exists.
    fn group(&self, name: &str) -> Arc<Group> {
        if let Some(group) = self.read_groups().get(name) {
            return Arc::clone(group);
        }
        let mut groups = self.groups.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(groups.entry(name.to_owned()).or_default())
    }

    /// The versions of a group by a list that is younger than `age`; `None` if there is no such group.
    async fn versions(&self, group: &str, age: Duration) -> Result<Option<Vec<String>>, FetchError> {
        if group.is_empty() {
            return Ok(Some(vec!["v1".to_owned()]));
        }
        let mut listed = self.listed.lock().await;
        let result = match listed.as_ref().filter(|asked| asked.at.elapsed() < age) {
            Some(asked) => asked.result.clone(),
            None => {
                let result = in_time("the API groups", list(&self.client)).await.map(Arc::new);
                *listed = Some(Asked { at: Instant::now(), result: result.clone() });
                result.inspect(|groups| self.forget_absent(groups))
            }
        };
        Ok(result?.get(group).cloned())
    }

    fn forget_absent(&self, present: &Groups) {
        let mut groups = self.groups.write().unwrap_or_else(PoisonError::into_inner);
        let before = groups.len();
        groups.retain(|name, _| name.is_empty() || present.contains_key(name));
        if groups.len() < before {
            self.revision.fetch_add(1, Ordering::Release);
        }
    }

    async fn ask(&self, name: &str, versions: &[String], group: &Group, asked: &mut Option<Asked<()>>) {
        let answer = in_time(&format!("the kinds of API group `{name}`"), discover(&self.client, name, versions)).await;
        let result = answer.map(|resources| {
            let mut known = group.resources.write().unwrap_or_else(PoisonError::into_inner);
            if *known != resources {
                *known = resources;
                self.revision.fetch_add(1, Ordering::Release);
            }
        });
        *asked = Some(Asked { at: Instant::now(), result });
    }
}

#[async_trait]
impl Kinds for DiscoveredKinds {
    async fn kind(&self, resource: &GroupResource) -> Result<Option<Kind>, FetchError> {
        if !may_be_asked(resource) {
            return Ok(None);
        }
        if let Some(kind) = self.known(resource) {
            return Ok(Some(kind));
        }
        let Some(versions) = self.versions(&resource.group, ASK_PERIOD).await? else { return Ok(None) };
        let group = self.group(&resource.group);
        let mut asked = group.asking.lock().await;
        if asked.as_ref().is_none_or(|asked| asked.at.elapsed() >= ASK_PERIOD) {
            self.ask(&resource.group, &versions, &group, &mut asked).await;
        }
        match (group.known(&resource.name), asked.as_ref().map(|asked| asked.result.clone())) {
            (Some(kind), _) => Ok(Some(kind)),
            (None, Some(Err(error))) => Err(error),
            (None, _) => Ok(None),
        }
    }

    fn known(&self, resource: &GroupResource) -> Option<Kind> {
        self.read_groups().get(&resource.group)?.known(&resource.name)
    }

    fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }
}

impl Group {
    fn known(&self, name: &str) -> Option<Kind> {
        self.resources.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }
}

/// Whether it can be a resource of another server: names of API groups and resources are DNS names (RFC 1123).
fn may_be_asked(resource: &GroupResource) -> bool {
    let dns = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.'))
    };
    let group = resource.group.as_str();
    !OWN_GROUPS.contains(&group) && dns(group) && !resource.name.is_empty() && dns(&resource.name)
}

/// Waits for the API server's word about `what`, but not longer than a request can.
async fn in_time<T>(what: &str, question: impl Future<Output = Result<T, kube::Error>>) -> Result<T, FetchError> {
    let answer = tokio::time::timeout(ASK_TIMEOUT, question).await;
    let result = match answer {
        Ok(answer) => answer.map_err(|error| unavailable(what, &error)),
        Err(_) => Err(FetchError::new(
            Reason::Unavailable,
            format!("discovery of {what} did not answer in time; check the server that has them"),
        )),
    };
    result.inspect_err(|error| tracing::warn!(what, %error, "discovery failed; what was known stays"))
}

async fn list(client: &Client) -> Result<Groups, kube::Error> {
    let groups = client.list_api_groups().await?.groups;
    Ok(groups.into_iter().map(|group| (group.name.clone(), versions(group))).collect())
}

/// The preferred version first.
fn versions(group: APIGroup) -> Vec<String> {
    let preferred = group.preferred_version.map(|preferred| preferred.version);
    let mut versions: Vec<String> = group.versions.into_iter().map(|version| version.version).collect();
    versions.sort_by_key(|version| Some(version) != preferred.as_ref());
    versions
}

/// The resources of a group: of its preferred version, and those that only other versions have, as the REST mapper of client-go
/// finds them. A version that fails is an error unless it is not the preferred one.
async fn discover(client: &Client, group: &str, versions: &[String]) -> Result<Resources, kube::Error> {
    let mut resources = Resources::new();
    for (position, version) in versions.iter().enumerate() {
        let listed = if group.is_empty() {
            client.list_core_api_resources(version).await
        } else {
            client.list_api_group_resources(&format!("{group}/{version}")).await
        };
        match found(listed) {
            Ok(list) => collect(&mut resources, group, version, list.unwrap_or_default()),
            Err(error) if position == 0 => return Err(error),
            Err(error) => tracing::warn!(group, version, %error, "a version of an API group can't be discovered"),
        }
    }
    Ok(resources)
}

/// A 404 is an answer: there is no such version.
fn found<T>(result: Result<T, kube::Error>) -> Result<Option<T>, kube::Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}

fn collect(resources: &mut Resources, group: &str, version: &str, list: APIResourceList) {
    for resource in list.resources.into_iter().filter(|resource| !resource.name.contains('/')) {
        let kind = Kind {
            group: group.to_owned(),
            version: version.to_owned(),
            kind: resource.kind,
            namespaced: resource.namespaced,
        };
        resources.entry(resource.name).or_insert(kind);
    }
}

fn unavailable(what: &str, error: &kube::Error) -> FetchError {
    let message = match error {
        kube::Error::Api(status) if status.code == 403 => {
            format!(
                "the adapter may not discover {what}; bind its ServiceAccount to the ClusterRole `system:discovery`"
            )
        }
        kube::Error::Api(status) => {
            format!("discovery of {what} failed with status {}; check the server that has them", status.code)
        }
        _ => format!("the API server can't be asked about {what}; check that the adapter reaches it"),
    };
    FetchError::new(Reason::Unavailable, message)
}

#[cfg(test)]
mod tests;
