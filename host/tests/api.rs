//! The API room through its public door, with a fake provider behind it. Answers are compared whole with `golden/api`; the lists of
//! external metrics and the placeholder there are captures of custom-metrics-apiserver v1.36.0 behind a real kube-apiserver.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and so do its helpers")]

#[path = "api/accept.rs"]
mod accept;
#[path = "api/encodings.rs"]
mod encodings;
#[path = "api/selectors.rs"]
mod selectors;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use axum::response::Response;
use http::{Method, Request, StatusCode, header};
use wasm_metrics_adapter::{
    api::{Api, Status, path},
    model::{
        CacheState, Catalog, CustomAnswer, CustomMetric, CustomQuery, CustomSample, ExternalAnswer, ExternalQuery,
        ExternalSample, FetchError, GroupResource, Kind, Kinds, MetricName, ObjectSelection, PluginId, Provider,
        Reason, UnixMillis,
    },
    objects::FixedObjects,
};

/// 2026-01-02T03:04:05.678Z
const THEN: UnixMillis = UnixMillis(1_767_323_045_678);
/// 2026-11-21T20:58:53Z
const CAPTURED: UnixMillis = UnixMillis(1_795_294_733_000);

/// Answers by the metric's name; what it was asked is kept.
struct Fake {
    catalog: Mutex<Arc<Catalog>>,
    asked: Mutex<Vec<String>>,
}

#[async_trait]
impl Provider for Fake {
    fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog.lock().unwrap())
    }

    async fn custom(&self, query: &CustomQuery) -> Result<CustomAnswer, FetchError> {
        let objects = match &query.objects {
            ObjectSelection::Named(name) => name.clone(),
            ObjectSelection::Selected(selector) => format!("[{selector}]"),
        };
        self.asked.lock().unwrap().push(format!("{:?} {objects} {} [{}]", query.namespace, query.metric, query.series));
        let sample = |object: &str, value: &str, window| CustomSample {
            object: object.to_owned(),
            value: value.parse().unwrap(),
            timestamp: THEN,
            window,
        };
        let samples = match query.metric.name.as_str() {
            "qps" => Ok(vec![sample("p", "10.5", Some(Duration::from_secs(60)))]),
            "rps" if objects == "ns" => Ok(vec![sample("ns", "7", None)]),
            "rps" => Ok(vec![sample("web", "1000", None)]),
            "none" => Ok(Vec::new()),
            "two" => Ok(vec![sample("p", "1", None), sample("p", "2", None)]),
            "stranger" => Ok(vec![sample("another", "1", None)]),
            "down" => Err(FetchError::new(Reason::Unavailable, "the backend\nis down").of(&plugin())),
            _ => Err(FetchError::new(Reason::MetricNotFound, "no plugin serves it")),
        };
        samples.map(|samples| CustomAnswer { plugin: plugin(), samples: samples.into(), cache: CacheState::None })
    }

    async fn external(&self, query: &ExternalQuery) -> Result<ExternalAnswer, FetchError> {
        self.asked.lock().unwrap().push(format!("{} {} [{}]", query.namespace, query.metric, query.series));
        let sample = |label: &str, value: &str| ExternalSample {
            labels: vec![("foo".to_owned(), label.to_owned())],
            value: value.parse().unwrap(),
            timestamp: CAPTURED,
            window: None,
        };
        let samples = match query.metric.as_str() {
            "my-external-metric" => vec![sample("bar", "42"), sample("baz", "43")],
            "empty" => Vec::new(),
            "many" => (0..2000).map(|number| sample(&format!("bar{number}"), "42")).collect(),
            _ => return Err(FetchError::new(Reason::MetricNotFound, "no plugin serves it")),
        };
        Ok(ExternalAnswer {
            plugin: plugin(),
            metric: query.metric.clone(),
            samples: samples.into(),
            cache: CacheState::None,
        })
    }
}

#[async_trait]
impl Kinds for Fake {
    async fn kind(&self, resource: &GroupResource) -> Result<Option<Kind>, FetchError> {
        if resource.name == "unreachable" {
            return Err(FetchError::new(Reason::Unavailable, "the API server did not tell its kinds"));
        }
        Ok(self.known(resource))
    }

    fn known(&self, resource: &GroupResource) -> Option<Kind> {
        let (kind, namespaced) = match resource.to_string().as_str() {
            "pods" => ("Pod", true),
            "deployments.apps" => ("Deployment", true),
            "nodes" => ("Node", false),
            "namespaces" => ("Namespace", false),
            _ => return None,
        };
        Some(Kind { group: resource.group.clone(), version: "v1".to_owned(), kind: kind.to_owned(), namespaced })
    }

    fn revision(&self) -> u64 {
        1
    }
}

fn plugin() -> PluginId {
    PluginId { namespace: "shop".to_owned(), name: "queue".to_owned() }
}

fn name(name: &str) -> MetricName {
    MetricName::new(name).unwrap()
}

fn catalog() -> Catalog {
    let metric =
        |resource: &str, metric: &str| CustomMetric { resource: resource.parse().unwrap(), name: name(metric) };
    let custom = [
        ("namespaces", "rps"),
        ("nodes", "load"),
        ("pods", "qps"),
        ("pods", "rps"),
        ("deployments.apps", "rps"),
        ("unknown.io", "x"),
    ];
    Catalog {
        custom: custom.map(|(resource, name)| metric(resource, name)).to_vec(),
        external: vec![name("Queue_Ready"), name("my-external-metric")],
    }
}

struct Fixture {
    fake: Arc<Fake>,
    api: Api,
}

fn fixture(catalog: Catalog) -> Fixture {
    let fake = Arc::new(Fake { catalog: Mutex::new(Arc::new(catalog)), asked: Mutex::default() });
    Fixture { api: Api::new(fake.clone(), fake.clone(), Arc::new(FixedObjects::default())), fake }
}

impl Fixture {
    async fn send(&self, method: Method, url: &str, headers: &[(&str, &str)]) -> Response {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let head = request.body(()).unwrap().into_parts().0;
        match path::parse(&head.method, &head.uri) {
            Ok(target) => self.api.respond(&target, &head).await,
            Err(error) => Status::of_path(&error).respond(&head),
        }
    }

    async fn get(&self, url: &str) -> (StatusCode, String) {
        told(self.send(Method::GET, url, &[]).await).await
    }
}

async fn told(response: Response) -> (StatusCode, String) {
    assert_eq!(response.headers().get(header::RETRY_AFTER), None);
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

const CUSTOM: &str = "/apis/custom.metrics.k8s.io/v1beta2";
const EXTERNAL: &str = "/apis/external.metrics.k8s.io/v1beta1";
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

#[tokio::test]
async fn answers_are_the_golden_ones() {
    let fixture = fixture(catalog());
    let selector = "metricLabelSelector=verb%3DGET%2Ccode+notin+%28500%2C503%29%2Cpath";
    for (url, code, golden) in [
        (
            format!("{EXTERNAL}/namespaces/default/my-external-metric"),
            200,
            include_str!("golden/api/external-list.json"),
        ),
        (format!("{EXTERNAL}/namespaces/default/empty"), 200, include_str!("golden/api/external-empty.json")),
        (format!("{CUSTOM}/namespaces/ns/pods/p/qps"), 200, include_str!("golden/api/custom-v1beta2.json")),
        (
            format!("{CUSTOM}/namespaces/ns/pods/%2A/qps?labelSelector=a%3Db"),
            200,
            include_str!("golden/api/custom-v1beta2.json"),
        ),
        (format!("{CUSTOM}/namespaces/ns/pods/*/none"), 200, include_str!("golden/api/custom-empty.json")),
        (format!("{CUSTOM}/namespaces/ns/metrics/rps"), 200, include_str!("golden/api/custom-namespace.json")),
        (
            "/apis/custom.metrics.k8s.io/v1beta1/namespaces/ns/pods/p/qps".to_owned(),
            200,
            include_str!("golden/api/custom-v1beta1.json"),
        ),
        (
            format!("{CUSTOM}/namespaces/ns/deployments.apps/web/rps?{selector}"),
            200,
            include_str!("golden/api/custom-v1beta2-selector.json"),
        ),
        (
            format!("/apis/custom.metrics.k8s.io/v1beta1/namespaces/ns/deployments.apps/web/rps?{selector}"),
            200,
            include_str!("golden/api/custom-v1beta1-selector.json"),
        ),
        (CUSTOM.to_owned(), 200, include_str!("golden/api/custom-resources.json")),
        (EXTERNAL.to_owned(), 200, include_str!("golden/api/external-resources.json")),
        ("/apis".to_owned(), 200, include_str!("golden/api/groups.json")),
        ("/apis/custom.metrics.k8s.io".to_owned(), 200, include_str!("golden/api/group.json")),
        (format!("{CUSTOM}/namespaces/ns/pods/p/unknown"), 404, include_str!("golden/api/status-not-found.json")),
        (format!("{EXTERNAL}/namespaces/ns/unknown"), 404, include_str!("golden/api/status-external-not-found.json")),
        (
            format!("{EXTERNAL}/namespaces/ns/my-external-metric?labelSelector=a%3D%3D%3Db"),
            400,
            include_str!("golden/api/status-bad-selector.json"),
        ),
        (
            format!("{CUSTOM}/namespaces/ns/pods/p/qps?metricLabelSelector=a%3D%3D%3Db"),
            400,
            include_str!("golden/api/status-bad-selector.json"),
        ),
        (
            format!("{EXTERNAL}/namespaces/ns/my-external-metric?watch=true"),
            405,
            include_str!("golden/api/status-watch.json"),
        ),
        (format!("{CUSTOM}/namespaces/ns/pods"), 400, include_str!("golden/api/status-path.json")),
    ] {
        assert_eq!(fixture.get(&url).await, (StatusCode::from_u16(code).unwrap(), golden.to_owned()), "{url}");
    }
}

#[tokio::test]
async fn an_empty_catalog_is_never_an_empty_list() {
    let fixture = fixture(Catalog::default());
    assert_eq!(fixture.get(EXTERNAL).await.1, include_str!("golden/api/external-resources-placeholder.json"));
    let (_, custom) = fixture.get(CUSTOM).await;
    assert!(
        custom.contains(r#""resources":[{"name":"custommetrics","singularName":"","namespaced":true,"#),
        "{custom}"
    );
}

#[tokio::test]
async fn aggregated_discovery_is_true_cached_and_conditional() {
    let fixture = fixture(catalog());
    let accept = format!("{AGGREGATED},application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList");
    let response = fixture.send(Method::GET, "/apis", &[("accept", &accept)]).await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], AGGREGATED);
    assert_eq!(response.headers()[header::CACHE_CONTROL], "public");
    assert_eq!(response.headers()[header::VARY], "Accept");
    let etag = response.headers()[header::ETAG].to_str().unwrap().to_owned();
    assert_eq!(etag.len(), 130);
    assert!(
        etag.starts_with('"')
            && etag.ends_with('"')
            && etag.bytes().all(|byte| matches!(byte, b'"' | b'0'..=b'9' | b'A'..=b'F')),
        "{etag}"
    );
    assert_eq!(told(response).await, (StatusCode::OK, include_str!("golden/api/aggregated.json").to_owned()));

    let known = fixture.send(Method::GET, "/apis", &[("accept", &accept), ("if-none-match", &etag)]).await;
    assert_eq!(known.headers()[header::ETAG], etag.as_str());
    assert_eq!(told(known).await, (StatusCode::NOT_MODIFIED, String::new()));

    *fixture.fake.catalog.lock().unwrap() = Arc::new(Catalog { external: vec![name("new")], ..catalog() });
    let changed = fixture.send(Method::GET, "/apis", &[("accept", &accept), ("if-none-match", &etag)]).await;
    assert_eq!(changed.status(), StatusCode::OK);
    assert_ne!(changed.headers()[header::ETAG], etag.as_str());
}

#[tokio::test]
async fn metric_answers_have_the_headers_of_the_go_adapter() {
    let response =
        fixture(catalog()).send(Method::GET, &format!("{EXTERNAL}/namespaces/ns/my-external-metric"), &[]).await;
    let headers: Vec<_> =
        response.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    assert_eq!(headers, [("content-type", "application/json"), ("cache-control", "no-cache, private")]);
}

#[tokio::test]
async fn the_provider_is_asked_what_the_url_says_and_only_then() {
    let fixture = fixture(catalog());
    let url =
        format!("{CUSTOM}/namespaces/ns/pods/%2A/qps?labelSelector=app+in+%28b%2Ca%29&metricLabelSelector=verb%3DGET");
    fixture.get(&url).await;
    fixture.get(&format!("{CUSTOM}/nodes/n1/rps")).await;
    fixture.get(&format!("{EXTERNAL}/namespaces/shop/my-external-metric?labelSelector=foo%3Dbar")).await;
    // None of these reaches it.
    for refused in [
        format!("{CUSTOM}/namespaces/ns/pods/p/qps?metricLabelSelector=a%3E1"),
        format!("{CUSTOM}/namespaces/ns/pods/p/qps?fieldSelector=metadata.name%3Dother"),
        format!("{CUSTOM}/namespaces/ns/widgets/w/qps"),
        format!("{CUSTOM}/namespaces/ns/nodes/n1/qps"),
        format!("{CUSTOM}/pods/p/qps"),
        format!("{CUSTOM}/unreachable/p/qps"),
    ] {
        fixture.get(&refused).await;
    }
    for (method, accept) in [(Method::HEAD, "*/*"), (Method::POST, "*/*"), (Method::GET, "text/html")] {
        fixture.send(method, &format!("{EXTERNAL}/namespaces/shop/my-external-metric"), &[("accept", accept)]).await;
    }
    assert_eq!(
        *fixture.fake.asked.lock().unwrap(),
        [
            r#"Some("ns") [app in (a,b)] pods/qps [verb=GET]"#,
            "None n1 nodes/rps []",
            "shop my-external-metric [foo=bar]"
        ]
    );
}

#[tokio::test]
async fn failures_name_the_cause() {
    let fixture = fixture(catalog());
    let message = async |url: String| {
        let (code, body) = fixture.get(&url).await;
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["code"], code.as_u16());
        (code.as_u16(), body["message"].as_str().unwrap().to_owned())
    };
    let pods = format!("{CUSTOM}/namespaces/ns/pods/p");
    for (url, code, expected) in [
        (format!("{pods}/down"), 503, "plugin shop/queue: the backend is down"),
        (
            format!("{pods}/two"),
            500,
            "Internal error occurred: the metric pods/two has several values for p; its plugin must answer one value of just that object",
        ),
        (
            format!("{pods}/none"),
            500,
            "Internal error occurred: the metric pods/none has no value for p; its plugin must answer one value of just that object",
        ),
        (
            format!("{pods}/stranger"),
            500,
            "Internal error occurred: the metric pods/stranger describes another where p was asked for; its plugin must answer one value of just that object",
        ),
        (format!("{pods}/qps?metricLabelSelector=a%3E1"), 400, "\"gt\" isn't supported in label selectors"),
        (format!("{CUSTOM}/namespaces/ns/widgets/w/qps"), 404, "the server could not find the metric qps for widgets"),
        (
            format!("{CUSTOM}/pods/p/qps"),
            404,
            "the server could not find the metric qps for pods: these objects live in namespaces; put `namespaces/NAMESPACE/` into the path",
        ),
        (
            format!("{CUSTOM}/namespaces/ns/nodes/n1/qps"),
            404,
            "the server could not find the metric qps for nodes: these objects live in no namespace; leave `namespaces/NAMESPACE/` out of the path",
        ),
        (format!("{CUSTOM}/unreachable/p/qps"), 503, "the API server did not tell its kinds"),
        ("/healthz".to_owned(), 404, "the server could not find the requested resource"),
        (
            format!("{CUSTOM}/nodes/n%2F1/qps"),
            404,
            "path segment \"n%2F1\" is refused: decoded, it must be plain text without `/`, `%` and control characters, and not `.` or `..`",
        ),
    ] {
        assert_eq!(message(url.clone()).await, (code, expected.to_owned()), "{url}");
    }
}
