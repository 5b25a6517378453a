//! Kinds from discovery: only the API group that a resource is of is asked, so that another group's broken server breaks nothing
//! here. What was learned is kept when the API server can't be asked.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{APIGroup, APIResourceList};
use kube::Client;
use tokio::time::Instant;

use crate::model::{FetchError, GroupResource, Kind, Kinds, Reason};

/// How often groups that were asked for are asked again: a resource definition's scope and kind rarely change.
pub const REFRESH_PERIOD: Duration = Duration::from_secs(600);
/// A group is asked for at most once in this time, whatever is missing: a "no such kind" is believed for that long.
const ASK_PERIOD: Duration = Duration::from_secs(1);
/// The time for all requests of one group; a request waits for it.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);
/// Groups that are remembered. A cluster has some dozens; without a limit, paths with made-up groups would fill the memory.
const MAX_GROUPS: usize = 1000;

/// Served by this adapter: asking for them would lead back here.
const OWN_GROUPS: [&str; 3] = ["custom.metrics.k8s.io", "external.metrics.k8s.io", "metrics.k8s.io"];

/// Kinds as the API server describes them.
pub struct DiscoveredKinds {
    client: Client,
    groups: RwLock<HashMap<String, Arc<Group>>>,
    revision: AtomicU64,
}

/// One API group, by resource name.
type Resources = BTreeMap<String, Kind>;

#[derive(Default)]
struct Group {
    /// Held while the group is asked: others wait for that answer instead of asking too.
    asking: tokio::sync::Mutex<Option<Asked>>,
    /// The last good answer.
    resources: RwLock<Resources>,
}

struct Asked {
    at: Instant,
    result: Result<(), FetchError>,
}

impl DiscoveredKinds {
    /// Knows nothing yet.
    pub fn new(client: Client) -> Self {
        Self { client, groups: RwLock::default(), revision: AtomicU64::new(0) }
    }

    /// Asks again for every group that has been asked for, each [`REFRESH_PERIOD`], for ever.
    pub async fn keep_fresh(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(REFRESH_PERIOD);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            ticks.tick().await;
            self.refresh().await;
        }
    }

    /// Asks again for every group that is known to have resources, one after the other. The others are forgotten, and asked
    /// for when they are needed.
    pub async fn refresh(&self) {
        self.groups.write().unwrap_or_else(PoisonError::into_inner).retain(|_, group| !group.is_empty());
        let groups: Vec<_> = self.read_groups().iter().map(|(name, group)| (name.clone(), Arc::clone(group))).collect();
        for (name, group) in groups {
            let mut asked = group.asking.lock().await;
            self.ask(&name, &group, &mut asked).await;
        }
    }

    fn read_groups(&self) -> std::sync::RwLockReadGuard<'_, HashMap<String, Arc<Group>>> {
        self.groups.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The group's place, made if there is room; groups that turned out empty make room.
    fn group(&self, name: &str) -> Option<Arc<Group>> {
        if let Some(group) = self.read_groups().get(name) {
            return Some(Arc::clone(group));
        }
        let mut groups = self.groups.write().unwrap_or_else(PoisonError::into_inner);
        if groups.len() >= MAX_GROUPS {
            groups.retain(|_, group| !group.is_empty());
        }
        (groups.len() < MAX_GROUPS).then(|| Arc::clone(groups.entry(name.to_owned()).or_default()))
    }

    async fn ask(&self, name: &str, group: &Group, asked: &mut Option<Asked>) {
        let answer = match tokio::time::timeout(ASK_TIMEOUT, discover(&self.client, name)).await {
            Ok(answer) => answer.map_err(|error| unavailable(name, &error)),
            Err(_) => Err(FetchError::new(
                Reason::Unavailable,
                format!("discovery of API group `{name}` did not answer in time; check the server behind that group"),
            )),
        };
        let result = answer.map(|resources| {
            let mut known = group.resources.write().unwrap_or_else(PoisonError::into_inner);
            if *known != resources {
                *known = resources;
                self.revision.fetch_add(1, Ordering::Release);
            }
        });
        if let Err(error) = &result {
            tracing::warn!(group = name, %error, "discovery failed; what was known of the group stays");
        }
        *asked = Some(Asked { at: Instant::now(), result });
    }
}

#[async_trait]
impl Kinds for DiscoveredKinds {
    async fn kind(&self, resource: &GroupResource) -> Result<Option<Kind>, FetchError> {
        if !may_be_asked(resource) {
            return Ok(None);
        }
        let too_many =
            || FetchError::new(Reason::Unavailable, "too many API groups are known; remove unused ones".to_owned());
        let group = self.group(&resource.group).ok_or_else(too_many)?;
        if let Some(kind) = group.known(&resource.name) {
            return Ok(Some(kind));
        }
        let mut asked = group.asking.lock().await;
        if asked.as_ref().is_none_or(|asked| asked.at.elapsed() >= ASK_PERIOD) {
            self.ask(&resource.group, &group, &mut asked).await;
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

    fn is_empty(&self) -> bool {
        self.resources.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

/// Whether it can be a resource of another server: a group becomes part of a URL, so it must be a DNS name (RFC 1123).
fn may_be_asked(resource: &GroupResource) -> bool {
    let dns = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.'))
    };
    let group = resource.group.as_str();
    !OWN_GROUPS.contains(&group)
        && group.len() <= 253
        && dns(group)
        && !group.starts_with('.')
        && !resource.name.is_empty()
        && dns(&resource.name)
}

/// The resources of a group: of its preferred version, and those that only other versions have, as the REST mapper of client-go
/// finds them. A version that fails is an error unless it is not the preferred one.
async fn discover(client: &Client, group: &str) -> Result<Resources, kube::Error> {
    if group.is_empty() {
        let mut resources = Resources::new();
        collect(&mut resources, group, "v1", client.list_core_api_resources("v1").await?);
        return Ok(resources);
    }
    let Some(described) = found(get::<APIGroup>(client, &format!("/apis/{group}")).await)? else {
        return Ok(Resources::new());
    };
    let preferred = described.preferred_version.map(|preferred| preferred.version);
    let mut versions: Vec<String> = described.versions.into_iter().map(|version| version.version).collect();
    versions.sort_by_key(|version| Some(version) != preferred.as_ref());
    let mut resources = Resources::new();
    for (position, version) in versions.iter().enumerate() {
        match found(client.list_api_group_resources(&format!("{group}/{version}")).await) {
            Ok(list) => collect(&mut resources, group, version, list.unwrap_or_default()),
            Err(error) if position == 0 => return Err(error),
            Err(error) => tracing::warn!(group, version, %error, "a version of an API group can't be discovered"),
        }
    }
    Ok(resources)
}

async fn get<T: serde::de::DeserializeOwned>(client: &Client, path: &str) -> Result<T, kube::Error> {
    client.request(http::Request::get(path).body(Vec::new()).map_err(kube::Error::HttpError)?).await
}

/// A 404 is an answer: there is no such group or version.
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

fn unavailable(group: &str, error: &kube::Error) -> FetchError {
    let message = match error {
        kube::Error::Api(status) if status.code == 403 => {
            format!(
                "the adapter may not discover API group `{group}`; bind its ServiceAccount to the ClusterRole `system:discovery`"
            )
        }
        kube::Error::Api(status) => format!(
            "discovery of API group `{group}` failed with status {}; check the server behind that group",
            status.code
        ),
        _ => format!("the API server can't be asked about API group `{group}`; check that the adapter reaches it"),
    };
    FetchError::new(Reason::Unavailable, message)
}

#[cfg(test)]
mod tests;
