//! Discovery: what `kubectl api-resources`, the HPA controller and kube-aggregator's checks read. Always from memory, and equal
//! byte by byte on replicas that serve the same plugins: an APIService is Available only while this answers, and while one is
//! not, no namespace of the cluster can be deleted.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts};
use serde::Serialize;
use sha2::{Digest, Sha512};

use super::{
    documents::{self, Entry, GET, GET_AND_LIST},
    external,
    group::{Group, GroupVersion},
    negotiate::Answer,
    path::Discovery,
    status::Status,
};
use crate::model::{Catalog, Kinds, Provider};

/// Entries per group version. Every kubectl of the cluster fetches and keeps all of them, and thousands have been seen to slow
/// each of its commands (kubernetes/kubernetes#98801). Those beyond, in order of their names, are served and not shown.
const MAX_ENTRIES: usize = 4000;

/// What stands for custom metrics where none is listed: clients take an empty list for a broken server (`emptyResponseError` in
/// client-go `discovery/cached/memory`).
const CUSTOM_PLACEHOLDER: &str = "custommetrics";

/// The type of `/apis` in its aggregated form; kube-aggregator wants its parameters back.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// The documents, prepared when they are first asked for after a change.
#[derive(Default)]
pub(super) struct Documents {
    prepared: Mutex<Option<Arc<Prepared>>>,
}

struct Prepared {
    catalog: Arc<Catalog>,
    revision: u64,
    aggregated: Document,
    groups: Document,
    group: Vec<(Group, Document)>,
    resources: Vec<(GroupVersion, Document)>,
}

/// One document in both of its forms, compact and indented.
struct Document {
    compact: Form,
    pretty: Form,
}

struct Form {
    bytes: Bytes,
    etag: HeaderValue,
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
        let prepared = self.prepared(provider, kinds);
        if which == Discovery::Groups
            && let Some(answer) = Answer::negotiate_aggregated(head)
        {
            return Ok(prepared.aggregated.respond(answer, AGGREGATED, "public", &head.headers));
        }
        let answer = Answer::negotiate(head)?;
        let document = match which {
            Discovery::Groups => Some(&prepared.groups),
            Discovery::Group(group) => {
                prepared.group.iter().find(|(name, _)| *name == group).map(|(_, document)| document)
            }
            Discovery::Resources(version) => {
                prepared.resources.iter().find(|(name, _)| *name == version).map(|(_, document)| document)
            }
        };
        let document = document.ok_or_else(Status::not_found)?;
        Ok(document.respond(answer, "application/json", "no-cache, private", &head.headers))
    }

    fn prepared(&self, provider: &dyn Provider, kinds: &dyn Kinds) -> Arc<Prepared> {
        // The revision is read before the kinds are: a change in between makes a document that is replaced at the next request.
        let (catalog, revision) = (provider.catalog(), kinds.revision());
        let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        match &*prepared {
            Some(current) if Arc::ptr_eq(&current.catalog, &catalog) && current.revision == revision => {
                Arc::clone(current)
            }
            _ => Arc::clone(prepared.insert(Arc::new(Prepared::of(catalog, revision, kinds)))),
        }
    }
}

impl Prepared {
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
            aggregated: Document::of(&documents::aggregated(entries)),
            groups: Document::of(&documents::groups()),
            group: Group::ALL.into_iter().map(|group| (group, Document::of(&documents::group(group)))).collect(),
            resources: versions()
                .map(|version| (version, Document::of(&documents::resources(version, entries(version)))))
                .collect(),
            catalog,
            revision,
        }
    }
}

impl Document {
    fn of<T: Serialize>(object: &T) -> Self {
        // These are plain structures, which can't fail to be written to memory.
        Self {
            compact: Form::of(serde_json::to_vec(object).unwrap_or_default()),
            pretty: Form::of(serde_json::to_vec_pretty(object).unwrap_or_default()),
        }
    }

    fn respond(
        &self,
        answer: Answer,
        content_type: &'static str,
        cache: &'static str,
        request: &HeaderMap,
    ) -> Response {
        let form = if answer.pretty { &self.pretty } else { &self.compact };
        let mut response = Response::new(Body::empty());
        if form.is_known(request) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        } else {
            *response.body_mut() = Body::from(form.bytes.clone());
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        let headers = response.headers_mut();
        headers.insert(header::ETAG, form.etag.clone());
        headers.insert(header::VARY, HeaderValue::from_static("Accept"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
        response
    }
}

impl Form {
    fn of(mut bytes: Vec<u8>) -> Self {
        // As `pkg/endpoints/discovery/aggregated/etag.go` of k8s.io/apiserver makes it.
        let digest: String = Sha512::digest(&bytes).iter().map(|byte| format!("{byte:02X}")).collect();
        let etag = HeaderValue::from_str(&format!("\"{digest}\"")).unwrap_or_else(|_| HeaderValue::from_static("\"\""));
        bytes.push(b'\n');
        Self { bytes: bytes.into(), etag }
    }

    /// Whether the client has these bytes already (`If-None-Match`, RFC 9110, 13.1.2).
    fn is_known(&self, request: &HeaderMap) -> bool {
        let tags = request
            .get_all(header::IF_NONE_MATCH)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','));
        let mut tags = tags.map(|tag| tag.trim().trim_start_matches("W/"));
        tags.any(|tag| tag == "*" || tag.as_bytes() == self.etag.as_bytes())
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

fn external_entries(catalog: &Catalog) -> Vec<Entry> {
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
