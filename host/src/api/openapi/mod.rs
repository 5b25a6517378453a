//! OpenAPI: what `kubectl explain`, generated clients and kube-aggregator read of the types that are served. Documents come from
//! memory; no plugin is asked.
//!
//! One table of group versions, [`groups::DESCRIBED`], makes all documents. v2 is the same as long as the process lives, because
//! kube-apiserver merges it anew with those of the whole cluster at each change. Those of v3 stand alone; the one of external
//! metrics has the path of each listed metric, without which `kubectl explain METRIC.external.metrics.k8s.io` finds nothing
//! (k8s.io/kubectl `pkg/explain/v2/templates/plaintext.tmpl` looks the resource up among the paths).

mod described;
mod dialect;
mod document;
mod groups;
mod paths;
mod served;
mod types;

use std::sync::{Arc, Mutex, PoisonError};

use axum::response::Response;
use http::request::Parts;
use serde_json::{Map, json};

use self::served::Served;
use super::{discovery, documents::Entry, path, status::Status};
use crate::model::Catalog;

/// The documents, prepared when they are first asked for after a change.
pub(super) struct OpenApi {
    v2: Served,
    v3: Mutex<Option<(Arc<Catalog>, Arc<Documents>)>>,
}

/// Those of v3.
struct Documents {
    index: Served,
    /// By what follows `/openapi/v3/` in their URLs.
    documents: Vec<(String, Served)>,
}

impl OpenApi {
    pub(super) fn new() -> Self {
        Self { v2: Served::of(&document::v2()), v3: Mutex::default() }
    }

    /// Answers a GET or HEAD.
    pub(super) fn respond(
        &self,
        which: &path::OpenApi,
        catalog: &Arc<Catalog>,
        head: &Parts,
    ) -> Result<Response, Status> {
        match which {
            path::OpenApi::V2 => Ok(self.v2.respond(head)),
            path::OpenApi::V3Index => Ok(self.v3(catalog).index.respond_always(head)),
            path::OpenApi::V3(key) => {
                let documents = self.v3(catalog);
                let document = documents.documents.iter().find(|(name, _)| name == key);
                let (key, document) = document.ok_or_else(Status::not_found)?;
                Ok(document.respond_by_hash(&url(key, document), head))
            }
        }
    }

    fn v3(&self, catalog: &Arc<Catalog>) -> Arc<Documents> {
        let mut prepared = self.v3.lock().unwrap_or_else(PoisonError::into_inner);
        match &*prepared {
            Some((known, documents)) if Arc::ptr_eq(known, catalog) => Arc::clone(documents),
            _ => {
                let documents = Arc::new(Documents::of(&discovery::external_entries(catalog)));
                *prepared = Some((Arc::clone(catalog), Arc::clone(&documents)));
                documents
            }
        }
    }
}

impl Documents {
    fn of(external: &[Entry]) -> Self {
        let documents: Vec<(String, Served)> =
            document::v3(external).into_iter().map(|(key, document)| (key, Served::of(&document))).collect();
        let paths: Map<_, _> = documents
            .iter()
            .map(|(key, document)| (key.clone(), json!({ "serverRelativeURL": url(key, document) })))
            .collect();
        Self { index: Served::of(&json!({ "paths": paths })), documents }
    }
}

/// Where a document is, with the tag of what it is now: whoever has that URL's content never needs to ask again.
fn url(key: &str, document: &Served) -> String {
    format!("/openapi/v3/{key}?hash={}", document.etag.as_str())
}

#[cfg(test)]
mod tests;
