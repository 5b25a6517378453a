//! metrics.k8s.io through the API room's door: paths, selection, answers and refusals as metrics-server has them.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking, and so do its helpers")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use http::{Method, Request};
use serde_json::{Value, json};
use wasm_metrics_adapter::{
    api::{Api, Outcome, Status, path},
    model::{
        Attributes, Catalog, ContainerUsage, CustomAnswer, CustomQuery, ExternalAnswer, ExternalQuery, FetchError,
        GroupResource, NodeSample, PluginId, PodRef, PodSample, Provider, Reason, ResourceAnswer, ResourceAttributes,
        UnixMillis, Usage,
    },
    objects::{FixedObjects, Object},
};

const ROOT: &str = "/apis/metrics.k8s.io/v1beta1";
/// 2026-01-02T03:04:05.678Z
const THEN: UnixMillis = UnixMillis(1_767_323_045_678);

/// Knows every object's usage but that of `unmeasured`; fails as it is told to.
#[derive(Default)]
struct Fake {
    failure: Option<Reason>,
    asked: Mutex<Vec<String>>,
}

impl Fake {
    fn note(&self, question: String) -> Result<(), FetchError> {
        self.asked.lock().unwrap().push(question);
        self.failure.map_or(Ok(()), |reason| Err(FetchError::new(reason, "the backend is down").of(&plugin())))
    }
}

fn plugin() -> PluginId {
    PluginId { namespace: "adapter".to_owned(), name: "usage".to_owned() }
}

fn usage() -> Usage {
    Usage { cpu: "250m".parse().unwrap(), memory: "64Mi".parse().unwrap() }
}

#[async_trait]
impl Provider for Fake {
    fn catalog(&self) -> Arc<Catalog> {
        Arc::default()
    }

    async fn custom(&self, _: &CustomQuery) -> Result<CustomAnswer, FetchError> {
        Err(FetchError::new(Reason::MetricNotFound, "none"))
    }

    async fn external(&self, _: &ExternalQuery) -> Result<ExternalAnswer, FetchError> {
        Err(FetchError::new(Reason::MetricNotFound, "none"))
    }

    async fn pods(&self, pods: &[PodRef]) -> Result<ResourceAnswer<PodSample>, FetchError> {
        let names: Vec<_> = pods.iter().map(|pod| format!("{}/{}", pod.namespace, pod.name)).collect();
        self.note(names.join(" "))?;
        let containers = vec![ContainerUsage { name: "main".to_owned(), usage: usage() }];
        let sample = |pod: &PodRef| PodSample {
            pod: pod.clone(),
            timestamp: THEN,
            window: Duration::from_secs(15),
            containers: containers.clone(),
        };
        // In no order that a client may see.
        let samples = pods.iter().rev().filter(|pod| pod.name != "unmeasured").map(sample).collect();
        Ok(ResourceAnswer { plugin: plugin(), samples })
    }

    async fn nodes(&self, names: &[String]) -> Result<ResourceAnswer<NodeSample>, FetchError> {
        self.note(names.join(" "))?;
        let sample = |name: &String| NodeSample {
            node: name.clone(),
            timestamp: THEN,
            window: Duration::from_millis(1500),
            usage: usage(),
        };
        let samples = names.iter().rev().filter(|name| *name != "unmeasured").map(sample).collect();
        Ok(ResourceAnswer { plugin: plugin(), samples })
    }
}

fn objects() -> Arc<FixedObjects> {
    let object = |namespace: &str, name: &str, app: &str| Object {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        labels: vec![("app".to_owned(), app.to_owned())],
        ..Object::default()
    };
    let pods = GroupResource::core("pods");
    let nodes = GroupResource::core("nodes");
    Arc::new(
        FixedObjects::default()
            .with(&pods, object("shop", "web-2", "web"))
            .with(&pods, object("shop", "web-1", "web"))
            .with(&pods, object("shop", "unmeasured", "db"))
            .with(&pods, object("billing", "web-3", "web"))
            .with(&nodes, object("", "n2", "edge"))
            .with(&nodes, object("", "n1", "core"))
            .with(&nodes, object("", "unmeasured", "core")),
    )
}

struct Fixture {
    fake: Arc<Fake>,
    api: Api,
}

fn fixture(failure: Option<Reason>) -> Fixture {
    let fake = Arc::new(Fake { failure, ..Fake::default() });
    Fixture { api: Api::new(fake.clone(), objects(), objects()), fake }
}

impl Fixture {
    async fn answer(&self, method: Method, accept: &str, path: &str) -> (u16, Vec<u8>) {
        let request = Request::builder().method(method).header("accept", accept).uri(format!("{ROOT}{path}"));
        let head = request.body(()).unwrap().into_parts().0;
        let response = match path::parse(&head.method, &head.uri) {
            Ok(target) => self.api.respond(&target, &head).await,
            Err(error) => Status::of_path(&error).respond(&head),
        };
        if response.status().is_success() {
            assert_eq!(response.extensions().get::<Outcome>().and_then(|told| told.plugin.clone()), Some(plugin()));
        }
        let status = response.status().as_u16();
        (status, axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap().into())
    }

    async fn accepting(&self, accept: &str, path: &str) -> (u16, Vec<u8>) {
        self.answer(Method::GET, accept, path).await
    }

    async fn send(&self, method: Method, path: &str) -> (u16, Value) {
        let (status, body) = self.answer(method, "application/json", path).await;
        (status, serde_json::from_slice(&body).unwrap())
    }

    /// The names of a list's items, `namespace/name` for pods.
    async fn names(&self, path: &str) -> Vec<String> {
        let (status, list) = self.send(Method::GET, path).await;
        assert_eq!(status, 200, "{path}: {list}");
        let name = |item: &Value| {
            let (namespace, name) =
                (item["metadata"]["namespace"].as_str(), item["metadata"]["name"].as_str().unwrap());
            namespace.map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}"))
        };
        list["items"].as_array().unwrap().iter().map(name).collect()
    }

    async fn refusal(&self, path: &str) -> (u16, String) {
        let (status, body) = self.send(Method::GET, path).await;
        assert_eq!(body["kind"], "Status", "{path}: {body}");
        (status, body["message"].as_str().unwrap().to_owned())
    }
}

#[tokio::test]
async fn lists_are_selected_sorted_and_without_objects_that_have_no_value() {
    let fixture = fixture(None);
    for (path, expected) in [
        ("/pods", &["billing/web-3", "shop/web-1", "shop/web-2"][..]),
        ("/namespaces/shop/pods", &["shop/web-1", "shop/web-2"]),
        ("/namespaces/shop/pods?labelSelector=app%3Ddb", &[]),
        ("/namespaces/none/pods", &[]),
        ("/pods?labelSelector=app+in+%28web%29&fieldSelector=metadata.namespace%3Dbilling", &["billing/web-3"]),
        ("/pods?fieldSelector=metadata.name%21%3Dweb-1", &["billing/web-3", "shop/web-2"]),
        ("/nodes", &["n1", "n2"]),
        ("/nodes?labelSelector=app%3Dedge", &["n2"]),
        ("/nodes?fieldSelector=metadata.name%3Dn1", &["n1"]),
        ("/nodes?fieldSelector=metadata.namespace%3Dshop", &[]),
    ] {
        assert_eq!(fixture.names(path).await, expected, "{path}");
    }
    let asked = fixture.fake.asked.lock().unwrap();
    assert_eq!(asked[0], "billing/web-3 shop/unmeasured shop/web-1 shop/web-2", "all at once, and no others");
}

#[tokio::test]
async fn one_object_says_what_it_is() {
    let fixture = fixture(None);
    let (status, mut pod) = fixture.send(Method::GET, "/namespaces/shop/pods/web-1").await;
    assert_eq!(status, 200);
    assert!(pod["metadata"]["creationTimestamp"].take().as_str().unwrap().ends_with('Z'));
    assert_eq!(
        pod,
        json!({
            "kind": "PodMetrics", "apiVersion": "metrics.k8s.io/v1beta1",
            "metadata": { "name": "web-1", "namespace": "shop", "creationTimestamp": null, "labels": { "app": "web" } },
            "timestamp": "2026-01-02T03:04:05Z", "window": "15s",
            "containers": [{ "name": "main", "usage": { "cpu": "250m", "memory": "64Mi" } }],
        })
    );
    let (_, mut node) = fixture.send(Method::GET, "/nodes/n1").await;
    node["metadata"]["creationTimestamp"].take();
    assert_eq!(
        node,
        json!({
            "kind": "NodeMetrics", "apiVersion": "metrics.k8s.io/v1beta1",
            "metadata": { "name": "n1", "creationTimestamp": null, "labels": { "app": "core" } },
            "timestamp": "2026-01-02T03:04:05Z", "window": "1.5s", "usage": { "cpu": "250m", "memory": "64Mi" },
        })
    );
}

#[tokio::test]
async fn kubectl_gets_tables_and_controllers_protobuf() {
    let fixture = fixture(None);
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    for (path, first) in
        [("/pods", "web-3"), ("/namespaces/shop/pods/web-1", "web-1"), ("/nodes", "n1"), ("/nodes/n2", "n2")]
    {
        let (status, body) = fixture.accepting(table, path).await;
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((status, body["kind"].as_str()), (200, Some("Table")), "{path}");
        let window = if path.contains("pods") { "15s" } else { "1.5s" };
        assert_eq!(body["rows"][0]["cells"], json!([first, "250m", "64Mi", window]), "{path}");
        assert_eq!(body["rows"][0]["object"]["metadata"]["name"], first, "{path}");
    }
    let (status, body) = fixture.accepting("application/vnd.kubernetes.protobuf", "/pods").await;
    assert!(status == 200 && body.starts_with(b"k8s\0"));
    assert_eq!(fixture.accepting("text/html", "/pods").await.0, 406);
}

#[tokio::test]
async fn refusals_are_in_the_words_of_metrics_server() {
    let fixture = fixture(None);
    for (path, code, expected) in [
        ("/namespaces/shop/pods/gone", 404, r#"pods "gone" not found"#),
        ("/namespaces/shop/pods/web-3", 404, r#"pods "web-3" not found"#),
        ("/namespaces/shop/pods/unmeasured", 404, r#"podmetrics.metrics.k8s.io "shop/unmeasured" not found"#),
        ("/nodes/gone", 404, r#"node "gone" not found"#),
        ("/nodes/unmeasured", 404, r#"nodemetrics.metrics.k8s.io "unmeasured" not found"#),
        ("/pods/web-1", 404, "the server could not find the requested resource"),
        ("/namespaces/shop/nodes", 404, "the server could not find the requested resource"),
        ("/namespaces/shop/pods/web-1/containers", 404, "the server could not find the requested resource"),
        ("/nodes?watch=true", 405, r#"watch is not supported on resources of kind "nodes.metrics.k8s.io""#),
        (
            "/pods?fieldSelector=status.phase%3DRunning",
            400,
            r#""status.phase" is not a known field selector: only "metadata.name", "metadata.namespace""#,
        ),
        ("/pods?limit=ten", 400, "strconv.ParseInt: parsing \"ten\": invalid syntax"),
        ("/pods?fieldSelector=nonsense", 400, "invalid selector: 'nonsense'; can't understand 'nonsense'"),
    ] {
        assert_eq!(fixture.refusal(path).await, (code, expected.to_owned()), "{path}");
    }
    assert_eq!(fixture.send(Method::POST, "/namespaces/shop/pods").await.0, 405);
    assert_eq!(fixture.send(Method::DELETE, "/nodes/n1").await.0, 405);
    assert_eq!(fixture.send(Method::GET, "/nodes/n1?watch=true").await.0, 200, "watch means nothing beside a name");
    assert_eq!(fixture.refusal("/pods?labelSelector=a%3D%3D%3Db").await.0, 400);
    let (_, details) = fixture.send(Method::GET, "/nodes/unmeasured").await;
    assert_eq!(details["details"], json!({ "name": "unmeasured", "group": "metrics.k8s.io", "kind": "nodemetrics" }));
}

#[tokio::test]
async fn a_failure_is_told_and_a_plugin_that_knows_nothing_is_none() {
    for (reason, code) in [(Reason::Unavailable, 503), (Reason::Loading, 503), (Reason::Timeout, 504)] {
        let fixture = fixture(Some(reason));
        for path in ["/pods", "/nodes", "/nodes/n1", "/namespaces/shop/pods/web-1"] {
            let (status, message) = fixture.refusal(path).await;
            assert_eq!(status, code, "{path}");
            assert!(message.ends_with("plugin adapter/usage: the backend is down"), "{message}");
        }
    }
    let ignorant = fixture(Some(Reason::ObjectNotFound));
    assert!(ignorant.names("/pods").await.is_empty());
    assert_eq!(ignorant.refusal("/nodes/n1").await.0, 404);
}

#[test]
fn authorization_asks_what_request_info_says() {
    let attributes = |method: Method, url: &str| {
        let uri = format!("{ROOT}{url}").parse().unwrap();
        match path::parse(&method, &uri).unwrap().attributes() {
            Attributes::Resource(ResourceAttributes { verb, group, version, namespace, resource, name, .. }) => {
                assert_eq!((group.as_str(), version.as_str()), ("metrics.k8s.io", "v1beta1"));
                format!("{verb} {resource} {namespace}/{name}")
            }
            Attributes::NonResource { path, verb } => format!("{verb} {path}"),
        }
    };
    for (url, expected) in [
        ("/pods", "list pods /"),
        ("/namespaces/shop/pods", "list pods shop/"),
        ("/namespaces/shop/pods/web-1", "get pods shop/web-1"),
        ("/nodes", "list nodes /"),
        ("/nodes/n1", "get nodes /n1"),
        ("/nodes?fieldSelector=metadata.name%3Dn1", "list nodes /n1"),
        ("/nodes?watch=1", "watch nodes /"),
        ("/nodes/n1?watch=1", "get nodes /n1"),
        ("", "get /apis/metrics.k8s.io/v1beta1"),
    ] {
        assert_eq!(attributes(Method::GET, url), expected, "{url}");
    }
    assert_eq!(attributes(Method::DELETE, "/nodes"), "deletecollection nodes /");
    assert_eq!(attributes(Method::PATCH, "/namespaces/shop/pods/web-1"), "patch pods shop/web-1");
    let selected = path::parse(&Method::GET, &format!("{ROOT}/pods?labelSelector=app%3Dweb").parse().unwrap()).unwrap();
    let Attributes::Resource(selected) = selected.attributes() else { unreachable!("it is a resource") };
    assert_eq!(selected.label_selector.unwrap().to_string(), "app=web");
}

#[tokio::test]
async fn discovery_is_that_of_metrics_server() {
    let head = Request::builder().uri(ROOT).header("accept", "application/json").body(()).unwrap().into_parts().0;
    let target = path::parse(&head.method, &head.uri).unwrap();
    let response = fixture(None).api.respond(&target, &head).await;
    assert_eq!(response.status(), 200);
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let list: Value = serde_json::from_slice(&body).unwrap();
    let resource = |name: &str, namespaced: bool, kind: &str| json!({ "name": name, "singularName": "", "namespaced": namespaced, "kind": kind, "verbs": ["get", "list"] });
    assert_eq!(
        list,
        json!({
            "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "metrics.k8s.io/v1beta1",
            "resources": [resource("nodes", false, "NodeMetrics"), resource("pods", true, "PodMetrics")],
        })
    );
}
