//! Kinds and objects from a table, where there is no cluster: for plugins in a local folder.

use async_trait::async_trait;

use super::{
    ObjectPolicy,
    index::{Index, Object},
    watched::{check_scope, endpoint},
};
use crate::model::{Endpoint, FetchError, GroupResource, Kind, Kinds, Objects, Selector};

/// Kinds that every cluster has, and the objects that it is given.
pub struct FixedObjects {
    kinds: Vec<(GroupResource, Kind)>,
    policy: ObjectPolicy,
    objects: Vec<(GroupResource, Index)>,
}

/// Kinds of a Kubernetes cluster without extensions that metrics describe: resource, group, version, kind, whether namespaced.
const KINDS: [(&str, &str, &str, &str, bool); 16] = [
    ("pods", "", "v1", "Pod", true),
    ("services", "", "v1", "Service", true),
    ("nodes", "", "v1", "Node", false),
    ("namespaces", "", "v1", "Namespace", false),
    ("persistentvolumeclaims", "", "v1", "PersistentVolumeClaim", true),
    ("persistentvolumes", "", "v1", "PersistentVolume", false),
    ("replicationcontrollers", "", "v1", "ReplicationController", true),
    ("configmaps", "", "v1", "ConfigMap", true),
    ("deployments", "apps", "v1", "Deployment", true),
    ("statefulsets", "apps", "v1", "StatefulSet", true),
    ("daemonsets", "apps", "v1", "DaemonSet", true),
    ("replicasets", "apps", "v1", "ReplicaSet", true),
    ("jobs", "batch", "v1", "Job", true),
    ("cronjobs", "batch", "v1", "CronJob", true),
    ("ingresses", "networking.k8s.io", "v1", "Ingress", true),
    ("horizontalpodautoscalers", "autoscaling", "v2", "HorizontalPodAutoscaler", true),
];

impl FixedObjects {
    /// Without objects.
    pub fn new(policy: ObjectPolicy) -> Self {
        let kinds = KINDS.into_iter().map(|(name, group, version, kind, namespaced)| {
            let resource = GroupResource { group: group.to_owned(), name: name.to_owned() };
            (resource, Kind { group: group.to_owned(), version: version.to_owned(), kind: kind.to_owned(), namespaced })
        });
        Self { kinds: kinds.collect(), policy, objects: Vec::new() }
    }

    /// With one more object.
    #[must_use]
    pub fn with(mut self, resource: &GroupResource, mut object: Object) -> Self {
        object.labels.sort();
        if !self.objects.iter().any(|(known, _)| known == resource) {
            self.objects.push((resource.clone(), Index::default()));
        }
        if let Some((_, index)) = self.objects.iter().find(|(known, _)| known == resource) {
            index.apply(object);
        }
        self
    }

    pub(super) fn index(&self, resource: &GroupResource) -> Option<&Index> {
        self.objects.iter().find(|(known, _)| known == resource).map(|(_, index)| index)
    }

    fn select<T>(
        &self,
        namespace: Option<&str>,
        resource: &GroupResource,
        selector: &Selector,
        make: impl Fn(&Object) -> T,
    ) -> Result<Vec<T>, FetchError> {
        self.policy.check(resource)?;
        check_scope(namespace, resource, self.known(resource))?;
        Ok(self
            .index(resource)
            .map(|index| index.select(namespace.unwrap_or_default(), selector, make))
            .unwrap_or_default())
    }
}

impl Default for FixedObjects {
    /// Without objects, and with the kinds that are open by default.
    fn default() -> Self {
        Self::new(ObjectPolicy::default())
    }
}

#[async_trait]
impl Kinds for FixedObjects {
    async fn kind(&self, resource: &GroupResource) -> Result<Option<Kind>, FetchError> {
        Ok(self.known(resource))
    }

    fn known(&self, resource: &GroupResource) -> Option<Kind> {
        self.kinds.iter().find(|(known, _)| known == resource).map(|(_, kind)| kind.clone())
    }

    fn revision(&self) -> u64 {
        0
    }
}

#[async_trait]
impl Objects for FixedObjects {
    async fn names(
        &self,
        namespace: Option<&str>,
        resource: &GroupResource,
        selector: &Selector,
    ) -> Result<Vec<String>, FetchError> {
        self.select(namespace, resource, selector, |object| object.name.clone())
    }

    async fn endpoints(
        &self,
        namespace: Option<&str>,
        resource: &GroupResource,
        selector: &Selector,
    ) -> Result<Vec<Endpoint>, FetchError> {
        self.select(namespace, resource, selector, endpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Reason;

    #[tokio::test]
    async fn a_table_answers_as_a_cluster_does() {
        let pod = |name: &str| Object {
            namespace: "shop".to_owned(),
            name: name.to_owned(),
            addresses: vec!["10.0.0.1".to_owned()],
            ready: true,
            ..Object::default()
        };
        let pods = GroupResource::core("pods");
        let table = FixedObjects::new(ObjectPolicy::default()).with(&pods, pod("web-2")).with(&pods, pod("web-1"));
        let everything = Selector::everything();
        assert_eq!(table.names(Some("shop"), &pods, &everything).await.unwrap(), ["web-1", "web-2"]);
        assert_eq!(table.endpoints(Some("shop"), &pods, &everything).await.unwrap()[0].addresses, ["10.0.0.1"]);
        assert!(table.names(Some("other"), &pods, &everything).await.unwrap().is_empty());
        assert!(table.names(None, &GroupResource::core("nodes"), &everything).await.unwrap().is_empty());
        for (namespace, resource) in
            [(Some("shop"), "secrets"), (Some("shop"), "nodes"), (None, "pods"), (Some("shop"), "gadgets.apps")]
        {
            let error = table.names(namespace, &resource.parse().unwrap(), &everything).await.unwrap_err();
            assert_eq!(error.reason, Reason::BadRequest, "{resource}");
        }
        assert_eq!(table.kind(&"deployments.apps".parse().unwrap()).await.unwrap().unwrap().kind, "Deployment");
        assert_eq!(table.kind(&"gadgets.apps".parse().unwrap()).await.unwrap(), None);
    }
}
