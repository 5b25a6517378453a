use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;

use super::*;
use crate::model::{
    CustomAnswer, CustomMetric, CustomQuery, ExternalAnswer, ExternalQuery, FetchError, GroupResource, Kind,
    MetricName, Reason,
};

struct Cluster {
    catalog: Mutex<Arc<Catalog>>,
    revision: AtomicU64,
    knows: Mutex<Vec<(&'static str, bool)>>,
}

#[async_trait]
impl Provider for Cluster {
    fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog.lock().unwrap())
    }

    async fn custom(&self, _: &CustomQuery) -> Result<CustomAnswer, FetchError> {
        Err(FetchError::new(Reason::MetricNotFound, ""))
    }

    async fn external(&self, _: &ExternalQuery) -> Result<ExternalAnswer, FetchError> {
        Err(FetchError::new(Reason::MetricNotFound, ""))
    }
}

#[async_trait]
impl Kinds for Cluster {
    async fn kind(&self, resource: &GroupResource) -> Result<Option<Kind>, FetchError> {
        Ok(self.known(resource))
    }

    fn known(&self, resource: &GroupResource) -> Option<Kind> {
        let knows = self.knows.lock().unwrap();
        let (name, namespaced) = *knows.iter().find(|(name, _)| *name == resource.to_string())?;
        Some(Kind { group: resource.group.clone(), version: "v1".to_owned(), kind: name.to_owned(), namespaced })
    }

    fn revision(&self) -> u64 {
        self.revision.load(Ordering::SeqCst)
    }
}

fn cluster(custom: &[&str], external: &[String], knows: &[(&'static str, bool)]) -> Cluster {
    let metric = |text: &&str| {
        let (resource, name) = text.split_once('/').unwrap();
        CustomMetric { resource: resource.parse().unwrap(), name: MetricName::new(name).unwrap() }
    };
    let mut catalog = Catalog {
        custom: custom.iter().map(metric).collect(),
        external: external.iter().map(|name| MetricName::new(name).unwrap()).collect(),
    };
    catalog.custom.sort();
    catalog.external.sort();
    Cluster { catalog: Mutex::new(Arc::new(catalog)), revision: AtomicU64::new(0), knows: Mutex::new(knows.to_vec()) }
}

fn names(documents: &Documents, cluster: &Cluster, version: GroupVersion) -> Vec<(String, bool)> {
    let head = http::Request::get("/").body(()).unwrap().into_parts().0;
    let response = documents.respond(Discovery::Resources(version), cluster, cluster, &head).unwrap();
    let bytes = futures::executor::block_on(axum::body::to_bytes(response.into_body(), usize::MAX)).unwrap();
    let list: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let resources = list["resources"].as_array().unwrap();
    resources
        .iter()
        .map(|entry| (entry["name"].as_str().unwrap().to_owned(), entry["namespaced"].as_bool().unwrap()))
        .collect()
}

const CUSTOM: GroupVersion = GroupVersion::Custom(crate::api::CustomVersion::V1Beta2);

#[test]
fn kinds_that_are_not_known_are_left_out_until_they_are() {
    let cluster =
        cluster(&["pods/qps", "nodes/load", "widgets.example.com/size"], &[], &[("pods", true), ("nodes", false)]);
    let documents = Documents::default();
    let shown = |names: &[(&str, bool)]| {
        names.iter().map(|(name, namespaced)| ((*name).to_owned(), *namespaced)).collect::<Vec<_>>()
    };
    assert_eq!(names(&documents, &cluster, CUSTOM), shown(&[("nodes/load", false), ("pods/qps", true)]));

    // The kind alone changes nothing: documents are prepared again when the revision says so.
    cluster.knows.lock().unwrap().push(("widgets.example.com", true));
    assert_eq!(names(&documents, &cluster, CUSTOM).len(), 2);
    cluster.revision.store(1, Ordering::SeqCst);
    assert_eq!(
        names(&documents, &cluster, CUSTOM),
        shown(&[("nodes/load", false), ("pods/qps", true), ("widgets.example.com/size", true)])
    );

    *cluster.catalog.lock().unwrap() = Arc::default();
    assert_eq!(names(&documents, &cluster, CUSTOM), shown(&[("custommetrics", true)]));
    assert_eq!(names(&documents, &cluster, GroupVersion::External), shown(&[("externalmetrics", true)]));
}

#[test]
fn unchanged_documents_are_prepared_once() {
    let cluster = cluster(&["pods/qps"], &[], &[("pods", true)]);
    let documents = Documents::default();
    let first = documents.current(&cluster, &cluster);
    assert!(Arc::ptr_eq(&first, &documents.current(&cluster, &cluster)));
    cluster.revision.store(1, Ordering::SeqCst);
    assert!(!Arc::ptr_eq(&first, &documents.current(&cluster, &cluster)));
}

#[test]
fn no_more_than_the_cap_is_shown() {
    let external: Vec<String> = (0..MAX_ENTRIES + 7).map(|number| format!("metric_{number:05}")).collect();
    let cluster = cluster(&[], &external, &[]);
    let names = names(&Documents::default(), &cluster, GroupVersion::External);
    assert_eq!(names.len(), MAX_ENTRIES);
    assert_eq!(names[0].0, "metric_00000");
}
