//! What metrics.k8s.io is about: running pods and nodes, by name and label. The adapter's own need, so the operator's list of kinds
//! for plugins has no say here. As metrics-server does, pods are watched by metadata alone, those in phase Running: the API server
//! leaves the others out (`pkg/server/config.go` of kubernetes-sigs/metrics-server).

use std::sync::Arc;

use async_trait::async_trait;
use kube::{
    Api,
    core::{DynamicObject, PartialObjectMeta},
    runtime::watcher,
};

use super::{
    FixedObjects, WatchedObjects,
    index::Object,
    watch::Watch,
    watched::{Detail, api_resource, named},
};
use crate::model::{FetchError, GroupResource, Inventory, Kind, Measurable, Selector};

#[async_trait]
impl Inventory for WatchedObjects {
    async fn running_pods(&self, namespace: Option<&str>, selector: &Selector) -> Result<Vec<Measurable>, FetchError> {
        let running = watcher::Config::default().fields("status.phase=Running");
        let watch = self.watch_metadata("pods", &core("Pod", true), Detail::Running, &running);
        let index = watch.index().await?;
        Ok(match namespace {
            Some(namespace) => index.select(namespace, selector, measurable),
            None => index.select_everywhere(selector, measurable),
        })
    }

    async fn nodes(&self, selector: &Selector) -> Result<Vec<Measurable>, FetchError> {
        let all = watcher::Config::default();
        let watch = self.watch_metadata("nodes", &core("Node", false), Detail::Metadata, &all);
        Ok(watch.index().await?.select("", selector, measurable))
    }
}

impl WatchedObjects {
    fn watch_metadata(&self, resource: &str, kind: &Kind, detail: Detail, which: &watcher::Config) -> Arc<Watch> {
        let resource = GroupResource::core(resource);
        self.watch(&resource, detail, kind, || {
            let described = api_resource(&resource, kind);
            let api: Api<PartialObjectMeta<DynamicObject>> = Api::all_with(self.client(), &described);
            Watch::start_of(self.home(), &resource, api, which.clone(), |object| named(object, Vec::new(), true))
        })
    }
}

/// A kind that every cluster has: no discovery stands between an autoscaler and its pods.
fn core(kind: &str, namespaced: bool) -> Kind {
    Kind { group: String::new(), version: "v1".to_owned(), kind: kind.to_owned(), namespaced }
}

/// Pods of a table run, as far as anybody can tell.
#[async_trait]
impl Inventory for FixedObjects {
    async fn running_pods(&self, namespace: Option<&str>, selector: &Selector) -> Result<Vec<Measurable>, FetchError> {
        let Some(index) = self.index(&GroupResource::core("pods")) else { return Ok(Vec::new()) };
        Ok(match namespace {
            Some(namespace) => index.select(namespace, selector, measurable),
            None => index.select_everywhere(selector, measurable),
        })
    }

    async fn nodes(&self, selector: &Selector) -> Result<Vec<Measurable>, FetchError> {
        let index = self.index(&GroupResource::core("nodes"));
        Ok(index.map(|index| index.select("", selector, measurable)).unwrap_or_default())
    }
}

fn measurable(object: &Object) -> Measurable {
    let Object { namespace, name, labels, .. } = object.clone();
    Measurable { namespace, name, labels }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        model::Reason,
        objects::{ObjectPolicy, mock},
    };

    fn object(namespace: &str, name: &str) -> Object {
        let labels = vec![("app".to_owned(), name.split('-').next().unwrap().to_owned())];
        Object { namespace: namespace.to_owned(), name: name.to_owned(), labels, ..Object::default() }
    }

    #[tokio::test]
    async fn pods_come_of_one_namespace_or_of_all_in_order() {
        let pods = GroupResource::core("pods");
        let fixed = FixedObjects::default()
            .with(&pods, object("shop", "web-2"))
            .with(&pods, object("shop", "web-1"))
            .with(&pods, object("billing", "web-3"))
            .with(&pods, object("billing", "db-1"));
        let names = async |namespace, selector: &str| -> Vec<String> {
            let selector = Selector::parse(selector).unwrap();
            let found = fixed.running_pods(namespace, &selector).await.unwrap();
            found.into_iter().map(|pod| format!("{}/{}", pod.namespace, pod.name)).collect()
        };
        assert_eq!(names(Some("shop"), "").await, ["shop/web-1", "shop/web-2"]);
        assert_eq!(names(None, "app=web").await, ["billing/web-3", "shop/web-1", "shop/web-2"]);
        assert!(names(Some("none"), "").await.is_empty());
        assert!(fixed.nodes(&Selector::everything()).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn running_pods_follow_a_watch_of_their_phase_whatever_plugins_may_see() {
        let (client, mut server) = mock::pair();
        let nothing = ObjectPolicy::parse([]).unwrap();
        let objects = WatchedObjects::new(client, Arc::new(FixedObjects::default()), nothing);
        let metadata = json!({
            "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
            "metadata": { "namespace": "shop", "name": "web-1", "resourceVersion": "8", "labels": { "app": "web" } },
        });
        let listing = json!({
            "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
            "metadata": { "resourceVersion": "7" }, "items": [metadata],
        });
        let script = async {
            let request = server.answer("/api/v1/pods", 200, listing).await;
            let query = request.uri().query().unwrap_or_default().to_owned();
            assert!(query.contains("fieldSelector=status.phase%3DRunning"), "{query}");
            assert!(request.headers()["accept"].to_str().unwrap().contains("as=PartialObjectMetadataList"));
            server.answer_watch("/api/v1/pods").await
        };
        let everything = Selector::everything();
        let (pods, events) = tokio::join!(objects.running_pods(None, &everything), script);
        let labels = vec![("app".to_owned(), "web".to_owned())];
        let web = Measurable { namespace: "shop".to_owned(), name: "web-1".to_owned(), labels };
        assert_eq!(pods.unwrap(), [web]);
        // To this watch a pod that has ended is gone.
        events.send("DELETED", &metadata);
        while !objects.running_pods(Some("shop"), &everything).await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_inventory_that_has_not_come_is_no_empty_one() {
        let (client, _server) = mock::pair();
        let objects = WatchedObjects::new(client, Arc::new(FixedObjects::default()), ObjectPolicy::default());
        let everything = Selector::everything();
        assert_eq!(objects.running_pods(None, &everything).await.unwrap_err().reason, Reason::Loading);
        assert_eq!(objects.nodes(&everything).await.unwrap_err().reason, Reason::Loading);
    }
}
