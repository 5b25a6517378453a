//! Discovery's documents: k8s.io/apimachinery `meta/v1` and k8s.io/api `apidiscovery/v2`, field by field in the order in which Go
//! prints them. How protobuf writes them is in `protobuf`.

mod protobuf;

use std::borrow::Cow;

use serde::Serialize;

use super::{
    external,
    group::{Group, GroupVersion},
    wire::{ListMeta, ObjectMeta},
};

/// Metrics are only ever read one by one: further verbs would make the cluster's garbage collector, quota and namespace
/// controllers use them.
pub(super) const GET: &[&str] = &["get"];
/// Pods and nodes of metrics.k8s.io are read as lists too; no watch, so those controllers pass them over as well.
pub(super) const GET_AND_LIST: &[&str] = &["get", "list"];

/// A listed metric, or a resource of metrics.k8s.io.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// The kind of objects of a custom metric; an external metric itself.
    pub(super) resource: String,
    /// The custom metric.
    pub(super) subresource: Option<String>,
    /// Whether the objects live in namespaces.
    pub(super) namespaced: bool,
    /// The kind of the answers.
    pub(super) kind: &'static str,
    /// What may be done.
    pub(super) verbs: &'static [&'static str],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ApiResourceList {
    kind: &'static str,
    api_version: &'static str,
    group_version: String,
    resources: Vec<ApiResource>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ApiResource {
    name: String,
    singular_name: &'static str,
    namespaced: bool,
    kind: &'static str,
    verbs: &'static [&'static str],
}

/// `/apis/{group}/{version}`.
pub(super) fn resources(version: GroupVersion, entries: &[Entry]) -> ApiResourceList {
    let resource = |entry: &Entry| ApiResource {
        name: entry
            .subresource
            .as_ref()
            .map_or_else(|| entry.resource.clone(), |metric| format!("{}/{metric}", entry.resource)),
        singular_name: "",
        namespaced: entry.namespaced,
        kind: entry.kind,
        verbs: entry.verbs,
    };
    ApiResourceList {
        kind: "APIResourceList",
        api_version: "v1",
        group_version: version.to_string(),
        resources: entries.iter().map(resource).collect(),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ApiGroup {
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_version: Option<&'static str>,
    name: &'static str,
    versions: Vec<ApiVersion>,
    preferred_version: Option<ApiVersion>,
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct ApiVersion {
    group_version: String,
    version: &'static str,
}

/// `/apis/{group}`.
pub(super) fn group(group: Group) -> ApiGroup {
    ApiGroup { kind: Some("APIGroup"), api_version: Some("v1"), ..listed_group(group) }
}

fn listed_group(group: Group) -> ApiGroup {
    let version =
        |version: &GroupVersion| ApiVersion { group_version: version.to_string(), version: version.version() };
    let versions: Vec<ApiVersion> = group.versions().iter().map(version).collect();
    ApiGroup {
        kind: None,
        api_version: None,
        name: group.name(),
        preferred_version: versions.first().cloned(),
        versions,
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ApiGroupList {
    kind: &'static str,
    api_version: &'static str,
    groups: Vec<ApiGroup>,
}

/// `/apis`, as clients before Kubernetes 1.26 ask for it.
pub(super) fn groups() -> ApiGroupList {
    ApiGroupList { kind: "APIGroupList", api_version: "v1", groups: Group::ALL.into_iter().map(listed_group).collect() }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ApiGroupDiscoveryList {
    kind: &'static str,
    api_version: &'static str,
    metadata: ListMeta,
    items: Vec<GroupDiscovery>,
}

#[derive(Serialize)]
struct GroupDiscovery {
    metadata: ObjectMeta<'static>,
    versions: Vec<VersionDiscovery>,
}

#[derive(Serialize)]
struct VersionDiscovery {
    version: &'static str,
    resources: Vec<ResourceDiscovery>,
    freshness: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceDiscovery {
    resource: String,
    response_kind: ResponseKind,
    scope: &'static str,
    singular_resource: &'static str,
    verbs: &'static [&'static str],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    subresources: Vec<SubresourceDiscovery>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SubresourceDiscovery {
    subresource: String,
    response_kind: ResponseKind,
    verbs: &'static [&'static str],
}

/// The group and version of the containing list where they are empty.
#[derive(Serialize)]
struct ResponseKind {
    group: &'static str,
    version: &'static str,
    kind: Cow<'static, str>,
}

/// `/apis` in its aggregated form, with everything in it. `entries` are in the order of their resources.
pub(super) fn aggregated<'entries>(entries: impl Fn(GroupVersion) -> &'entries [Entry]) -> ApiGroupDiscoveryList {
    let version = |version: &GroupVersion| VersionDiscovery {
        version: version.version(),
        resources: match version.group() {
            Group::External => discovered_external(entries(*version)),
            Group::Custom | Group::Resource => discovered(entries(*version)),
        },
        freshness: "Current",
    };
    let group = |group: Group| GroupDiscovery {
        metadata: ObjectMeta { name: group.name(), ..ObjectMeta::default() },
        versions: group.versions().iter().map(version).collect(),
    };
    ApiGroupDiscoveryList {
        kind: "APIGroupDiscoveryList",
        api_version: "apidiscovery.k8s.io/v2",
        metadata: ListMeta {},
        items: Group::ALL.into_iter().map(group).collect(),
    }
}

/// Subresources go below a parent that has no verbs and no kind, as in Go's own conversion: kubectl would show a parent with
/// verbs as a resource that could be asked for.
fn discovered(entries: &[Entry]) -> Vec<ResourceDiscovery> {
    let resource = |entry: &Entry, kind, verbs| ResourceDiscovery {
        resource: entry.resource.clone(),
        response_kind: response_kind(kind),
        scope: if entry.namespaced { "Namespaced" } else { "Cluster" },
        singular_resource: "",
        verbs,
        subresources: Vec::new(),
    };
    let below_parents = entries.chunk_by(|left, right| left.resource == right.resource);
    let discovered = below_parents.filter_map(|siblings| {
        let first = siblings.first()?;
        let subresources: Vec<SubresourceDiscovery> = siblings
            .iter()
            .filter_map(|entry| {
                let subresource = entry.subresource.clone()?;
                Some(SubresourceDiscovery { subresource, response_kind: response_kind(entry.kind), verbs: entry.verbs })
            })
            .collect();
        let alone =
            if subresources.is_empty() { resource(first, first.kind, first.verbs) } else { resource(first, "", &[]) };
        Some(ResourceDiscovery { subresources, ..alone })
    });
    discovered.collect()
}

/// kubectl turns a resource into its kind and the kind back into a resource, the last one of that kind: so each metric has a kind
/// of its own, which is its name. For `-o json` it looks for the items' kind too, on a resource that nothing can be done with.
fn discovered_external(entries: &[Entry]) -> Vec<ResourceDiscovery> {
    let mut metrics = discovered(entries);
    if metrics.iter().any(|metric| metric.resource == external::RESOURCE) {
        return metrics;
    }
    for metric in &mut metrics {
        metric.response_kind.kind = metric.resource.clone().into();
    }
    metrics.push(ResourceDiscovery {
        resource: external::RESOURCE.to_owned(),
        response_kind: response_kind(external::KIND),
        scope: "Namespaced",
        singular_resource: "",
        verbs: &[],
        subresources: Vec::new(),
    });
    metrics
}

fn response_kind(kind: &'static str) -> ResponseKind {
    ResponseKind { group: "", version: "", kind: kind.into() }
}

#[cfg(test)]
mod tests;
