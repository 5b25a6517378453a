//! Discovery: what `kubectl api-resources`, the HPA controller and kube-aggregator's checks read. Always from memory, and equal
//! byte by byte on replicas that serve the same plugins: an APIService is Available only while this answers, and while one is
//! not, no namespace of the cluster can be deleted.

use std::sync::{Arc, Mutex, PoisonError};

use axum::response::Response;
use http::request::Parts;

use super::{
    documents::{self, ApiGroup, ApiGroupDiscoveryList, ApiGroupList, ApiResourceList, Entry, GET, GET_AND_LIST},
    external,
    group::{Group, GroupVersion},
    negotiate::Answer,
    path::Discovery,
    prepared::{Headers, Prepared},
    status::Status,
};
use crate::model::{Catalog, Kinds, Provider};

/// Entries per group version. Every kubectl of the cluster fetches and keeps all of them, and thousands have been seen to slow
/// each of its commands (kubernetes/kubernetes#98801). Those beyond, in order of their names, are served and not shown.
const MAX_ENTRIES: usize = 4000;

/// What stands for custom metrics where none is listed: clients take an empty list for a broken server (`emptyResponseError` in
/// client-go `discovery/cached/memory`).
const CUSTOM_PLACEHOLDER: &str = "custommetrics";

const LEGACY: Headers = Headers { cache_control: "no-cache, private", parameters: "" };
const AGGREGATED: Headers =
    Headers { cache_control: "public", parameters: ";g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList" };

/// The documents, prepared when they are first asked for after a change.
#[derive(Default)]
pub(super) struct Documents {
    current: Mutex<Option<Arc<Current>>>,
}

/// The documents of one catalog.
struct Current {
    catalog: Arc<Catalog>,
    revision: u64,
    aggregated: Prepared<ApiGroupDiscoveryList>,
    groups: Prepared<ApiGroupList>,
    group: Vec<(Group, Prepared<ApiGroup>)>,
    resources: Vec<(GroupVersion, Prepared<ApiResourceList>)>,
}

impl Documents {
    /// Answers a GET on a discovery path.
    pub(super) fn respond(
        &self,
        which: Discovery,
        provider: &dyn Provider,
        kinds: &dyn Kinds,
        head: &Parts,
    ) -> Result<Response, Status> {
        let current = self.current(provider, kinds);
        if which == Discovery::Groups
            && let Some(answer) = Answer::negotiate_aggregated(head)
        {
            return Ok(current.aggregated.respond(answer, AGGREGATED, &head.headers));
        }
        let answer = Answer::negotiate(head)?;
        let response = match which {
            Discovery::Groups => Some(current.groups.respond(answer, LEGACY, &head.headers)),
            Discovery::Group(group) => {
                let document = current.group.iter().find(|(name, _)| *name == group);
                document.map(|(_, document)| document.respond(answer, LEGACY, &head.headers))
            }
            Discovery::Resources(version) => {
                let document = current.resources.iter().find(|(name, _)| *name == version);
                document.map(|(_, document)| document.respond(answer, LEGACY, &head.headers))
            }
        };
        response.ok_or_else(Status::not_found)
    }

    fn current(&self, provider: &dyn Provider, kinds: &dyn Kinds) -> Arc<Current> {
        // The revision is read before the kinds are: a change in between makes a document that is replaced at the next request.
        let (catalog, revision) = (provider.catalog(), kinds.revision());
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        match &*current {
            Some(same) if Arc::ptr_eq(&same.catalog, &catalog) && same.revision == revision => Arc::clone(same),
            _ => Arc::clone(current.insert(Arc::new(Current::of(catalog, revision, kinds)))),
        }
    }
}

impl Current {
    fn of(catalog: Arc<Catalog>, revision: u64, kinds: &dyn Kinds) -> Self {
        let custom = custom_entries(&catalog, kinds);
        let external = external_entries(&catalog);
        let resource = resource_entries();
        let entries = |version: GroupVersion| match version.group() {
            Group::Custom => custom.as_slice(),
            Group::External => external.as_slice(),
            Group::Resource => resource.as_slice(),
        };
        let versions = || Group::ALL.into_iter().flat_map(|group| group.versions()).copied();
        Self {
            aggregated: Prepared::new(documents::aggregated(entries)),
            groups: Prepared::new(documents::groups()),
            group: Group::ALL.into_iter().map(|group| (group, Prepared::new(documents::group(group)))).collect(),
            resources: versions()
                .map(|version| (version, Prepared::new(documents::resources(version, entries(version)))))
                .collect(),
            catalog,
            revision,
        }
    }
}

/// Custom metrics, of the kinds whose scope is known: one whose scope is guessed wrong fails the conversion of the whole group
/// in kube-aggregator (`ConvertGroupVersionIntoToDiscovery` in k8s.io/apiserver `pkg/endpoints/installer.go`).
fn custom_entries(catalog: &Catalog, kinds: &dyn Kinds) -> Vec<Entry> {
    let known = catalog.custom.iter().filter_map(|metric| {
        let namespaced = kinds.known(&metric.resource)?.namespaced;
        let subresource = Some(metric.name.to_string());
        Some(Entry { subresource, namespaced, ..entry(Group::Custom, metric.resource.to_string()) })
    });
    shown(Group::Custom, known, CUSTOM_PLACEHOLDER)
}

/// External metrics, or their placeholder.
pub(super) fn external_entries(catalog: &Catalog) -> Vec<Entry> {
    let listed = catalog.external.iter().map(|name| entry(Group::External, name.to_string()));
    shown(Group::External, listed, external::RESOURCE)
}

/// What metrics-server shows, whether or not a plugin claims it: an APIService is Available only while its resources are listed.
fn resource_entries() -> [Entry; 2] {
    let entry = |resource, kind| Entry { kind, verbs: GET_AND_LIST, ..entry(Group::Resource, resource) };
    [Entry { namespaced: false, ..entry("nodes".to_owned(), "NodeMetrics") }, entry("pods".to_owned(), "PodMetrics")]
}

fn entry(group: Group, resource: String) -> Entry {
    let kind = group.versions().first().map(|version| version.list_kind()).unwrap_or_default();
    Entry { resource, subresource: None, namespaced: true, kind, verbs: GET }
}

fn shown(group: Group, mut entries: impl Iterator<Item = Entry>, placeholder: &str) -> Vec<Entry> {
    let mut shown: Vec<Entry> = entries.by_ref().take(MAX_ENTRIES).collect();
    let left_out = entries.count();
    if left_out > 0 {
        tracing::warn!(
            group = group.name(),
            left_out,
            shown = MAX_ENTRIES,
            "discovery shows the first metrics only; all of them are served"
        );
    }
    if shown.is_empty() {
        shown.push(entry(group, placeholder.to_owned()));
    }
    shown
}

#[cfg(test)]
mod tests;
