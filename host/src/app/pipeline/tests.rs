use std::sync::mpsc::Receiver;

use async_trait::async_trait;
use axum::{
    body::Body,
    http::{StatusCode, header},
};
use clap::Parser;
use tokio::sync::Notify;
use tower::ServiceExt as _;

use super::*;
use crate::{
    app::expiry::Expiry,
    auth::{AccessDecision, Authenticator, AuthorizationOptions, Authorizer, ReviewError, Reviews, TokenVerdict},
    config::ServeArgs,
    model::{
        CacheState, Catalog, CustomAnswer, CustomQuery, ExternalAnswer, ExternalQuery, FetchError, PluginId, Provider,
        Reason, UnixMillis,
    },
    objects::FixedObjects,
    telemetry::{Readiness, RequestLine, RequestLog, RequestLogging},
};

/// Answers `quick` at once, `slow` when told to, fails at `panics`, and knows nothing else.
#[derive(Default)]
struct Fake {
    asked: Notify,
    go_on: Notify,
}

#[async_trait]
impl Provider for Fake {
    fn catalog(&self) -> Arc<Catalog> {
        Arc::default()
    }

    async fn custom(&self, _: &CustomQuery) -> Result<CustomAnswer, FetchError> {
        Err(FetchError::new(Reason::Unavailable, "the backend\nis down").of(&plugin()))
    }

    async fn external(&self, query: &ExternalQuery) -> Result<ExternalAnswer, FetchError> {
        match query.metric.as_str() {
            "quick" => {}
            "panics" => panic!("on purpose"),
            "slow" => {
                self.asked.notify_one();
                self.go_on.notified().await;
            }
            _ => return Err(FetchError::new(Reason::MetricNotFound, "no plugin serves it")),
        }
        let sample = crate::model::ExternalSample {
            labels: Vec::new(),
            value: "1".parse().unwrap(),
            timestamp: UnixMillis(0),
            window: None,
        };
        Ok(ExternalAnswer {
            plugin: plugin(),
            metric: query.metric.clone(),
            samples: [sample].into(),
            cache: CacheState::None,
        })
    }
}

fn plugin() -> PluginId {
    PluginId { namespace: "shop".to_owned(), name: "queue".to_owned() }
}

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    serve: ServeArgs,
}

struct Fixture {
    router: Router,
    fake: Arc<Fake>,
    metrics: Arc<Metrics>,
    lines: Receiver<RequestLine>,
}

/// A pipeline with one place.
fn fixture() -> Fixture {
    let flags = ["serve", "--plugin-dir", "plugins", "--max-requests-inflight", "1"];
    let config = Command::try_parse_from(flags).unwrap().serve.into_config().unwrap();
    let (fake, metrics) = (Arc::new(Fake::default()), Arc::new(Metrics::default()));
    let (log, lines) = RequestLog::new(RequestLogging::All, metrics.request_log_dropped.clone());
    let endpoints = Endpoints {
        readiness: Readiness::default(),
        metrics: metrics.clone(),
        board: Arc::default(),
        expiry: Expiry::default(),
    };
    let auth = Auth { authenticator: Authenticator::local_only(), authorizer: Authorizer::local_only(), trust: None };
    let kinds = Arc::new(FixedObjects::default());
    let requests = Requests { metrics: metrics.clone(), log };
    let pipeline = Pipeline::new(&config, auth, Api::new(fake.clone(), kinds.clone(), kinds), endpoints, requests);
    Fixture { router: pipeline.into_router(), fake, metrics, lines }
}

fn request(path: &str) -> axum::http::request::Builder {
    Request::get(path).header("user-agent", "test/1").header("authorization", "Bearer s3cret")
}

impl Fixture {
    async fn send(&self, request: axum::http::request::Builder) -> Response {
        self.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    async fn get(&self, path: &str) -> Response {
        self.send(request(path)).await
    }

    /// The code and the text of an answer that is none of the metrics APIs'.
    async fn plain(&self, path: &str) -> (StatusCode, String) {
        let answer = self.get(path).await;
        assert_eq!(answer.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "text/plain; charset=utf-8");
        assert!(!answer.headers().contains_key(header::RETRY_AFTER), "client-go would sleep on it");
        assert!(answer.headers().contains_key(&AUDIT_ID));
        let status = answer.status();
        let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }
}

fn external(metric: &str) -> String {
    format!("/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/{metric}")
}

#[tokio::test]
async fn probes_are_answered_when_too_much_is_under_way() {
    let fixture = fixture();
    let slow = tokio::spawn(fixture.router.clone().oneshot(request(&external("slow")).body(Body::empty()).unwrap()));
    fixture.fake.asked.notified().await;
    assert_eq!(fixture.metrics.requests_inflight.get(), 1);

    let refused = (StatusCode::TOO_MANY_REQUESTS, "Too many requests, please try again later.\n".to_owned());
    assert_eq!(fixture.plain(&external("quick")).await, refused);
    for path in ["/healthz", "/livez", "/readyz"] {
        assert_eq!(fixture.get(path).await.status(), StatusCode::OK, "{path}");
    }
    // Not the paths that Kubernetes has for probes.
    assert_eq!(fixture.get("/readyz/shutdown").await.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(fixture.metrics.requests_refused.get(), 2);

    fixture.fake.go_on.notify_one();
    assert_eq!(slow.await.unwrap().unwrap().status(), StatusCode::OK);
    assert_eq!(fixture.metrics.requests_inflight.get(), 0);
    assert_eq!(fixture.get(&external("quick")).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_panic_is_one_failed_request() {
    let fixture = fixture();
    for _ in 0..3 {
        let expected = "This request caused apiserver to panic. Look in the logs for details.\n".to_owned();
        assert_eq!(fixture.plain(&external("panics")).await, (StatusCode::INTERNAL_SERVER_ERROR, expected));
        assert_eq!(fixture.get(&external("quick")).await.status(), StatusCode::OK);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_takes_too_long_is_answered_and_leaves_its_place() {
    let fixture = fixture();
    let answer = fixture.get(&external("slow")).await;
    assert_eq!(answer.status(), StatusCode::GATEWAY_TIMEOUT);
    let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    let status: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        status,
        serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "Timeout: request did not complete within the allotted timeout",
            "reason": "Timeout", "details": {}, "code": 504
        })
    );
    assert_eq!(fixture.get(&external("quick")).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_its_place() {
    let fixture = fixture();
    let slow = tokio::spawn(fixture.router.clone().oneshot(request(&external("slow")).body(Body::empty()).unwrap()));
    fixture.fake.asked.notified().await;
    slow.abort();
    assert!(slow.await.is_err());
    assert_eq!(fixture.metrics.requests_inflight.get(), 0);
    assert_eq!(fixture.get(&external("quick")).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn each_request_has_its_line() {
    let fixture = fixture();
    let custom = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/web-1/rps?metricLabelSelector=a%3Db";
    let answer = fixture.get(&format!("{}?labelSelector=a%3Db", external("quick"))).await;
    let bytes = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap().len();
    for path in [custom, &external("gone"), "/apis", "/openapi/v3", "/nothing"] {
        fixture.get(path).await;
    }
    let lines: Vec<RequestLine> = fixture.lines.try_iter().collect();
    let told: Vec<_> = lines
        .iter()
        .map(|line| (line.group, line.metric.as_deref(), line.plugin.as_deref(), line.status, line.reason))
        .collect();
    assert_eq!(
        told,
        [
            ("external.metrics.k8s.io", Some("quick"), Some("shop/queue"), 200, None),
            ("custom.metrics.k8s.io", Some("pods/rps"), Some("shop/queue"), 503, Some("unavailable")),
            ("external.metrics.k8s.io", Some("gone"), None, 404, Some("metric-not-found")),
            ("discovery", None, None, 200, None),
            ("openapi", None, None, 200, None),
            ("other", None, None, 404, Some("NotFound")),
        ]
    );
    assert_eq!(lines[0].bytes, Some(bytes as u64));
    assert_eq!(lines[0].user.as_deref(), Some("local"));
    assert_eq!(lines[0].user_agent.as_ref().unwrap(), "test/1");
    assert_eq!(lines[1].message.as_deref(), Some("plugin shop/queue: the backend is down"));
    assert_eq!(lines[2].message.as_deref(), Some("no plugin serves it"));
    assert!(!format!("{lines:?}").contains("s3cret"));
}

/// Grants the metrics, and nothing of the adapter's own API group.
struct NothingRaw;

#[async_trait]
impl Reviews for NothingRaw {
    async fn token(&self, _: &str) -> Result<TokenVerdict, ReviewError> {
        panic!("nobody presents a token")
    }

    async fn access(&self, _: &User, attributes: &Attributes) -> Result<AccessDecision, ReviewError> {
        Ok(match attributes {
            Attributes::Resource(resource) if resource.group == "wasm-metrics-adapter.io" => {
                AccessDecision::Denied { reason: "no rule".to_owned() }
            }
            _ => AccessDecision::Allowed,
        })
    }
}

#[tokio::test]
async fn raw_takes_a_right_of_its_own() {
    let authorizer = Authorizer::delegated(Arc::new(NothingRaw), AuthorizationOptions::default());
    let jane = User { name: "jane".to_owned(), ..User::default() };
    let asked = async |query: &str| {
        let target =
            path::parse(&http::Method::GET, &format!("{}{query}", external("quick")).parse().unwrap()).unwrap();
        permit(&authorizer, &jane, [Some(target.attributes()), target.raw_attributes()].into_iter().flatten()).await
    };
    for granted in ["", "?explain=true", "?explain=nonsense"] {
        assert!(asked(granted).await.is_ok(), "{granted}");
    }
    let refused = asked("?explain=raw").await.unwrap_err();
    assert_eq!(refused.code(), StatusCode::FORBIDDEN);
    assert_eq!(
        refused.message(),
        "explanations.wasm-metrics-adapter.io \"quick\" is forbidden: User \"jane\" cannot get resource \"explanations/raw\" \
         in API group \"wasm-metrics-adapter.io\" in the namespace \"shop\": no rule"
    );
}

#[tokio::test]
async fn the_log_says_who_had_a_metric_explained() {
    let fixture = fixture();
    for (query, explain) in [("", None), ("?explain=true", Some("true")), ("?explain=raw", Some("raw"))] {
        let answer = fixture.get(&format!("{}{query}", external("quick"))).await;
        assert_eq!(answer.status(), StatusCode::OK, "{query}");
        let line = fixture.lines.try_recv().unwrap();
        assert_eq!((line.explain, line.plugin.as_deref()), (explain, Some("shop/queue")));
    }
}

#[tokio::test]
async fn an_audit_id_is_the_clients_or_a_new_uuid() {
    let fixture = fixture();
    for sent in ["f089e36c-0d21-4984-99e0-038738d46953".to_owned(), "x".repeat(300)] {
        let answer = fixture.send(request("/livez").header("audit-id", &sent)).await;
        assert_eq!(answer.headers()["audit-id"], sent.as_str());
        assert_eq!(fixture.lines.try_recv().unwrap().audit_id, sent.as_str());
    }
    let mut made = Vec::new();
    for empty in [request("/livez"), request("/livez").header("audit-id", "")] {
        let answer = fixture.send(empty).await;
        let id = answer.headers()["audit-id"].to_str().unwrap().to_owned();
        assert_eq!(uuid::Uuid::parse_str(&id).unwrap().get_version_num(), 4);
        assert_eq!(id.len(), 36);
        made.push(id);
    }
    assert_ne!(made[0], made[1]);
}

#[tokio::test]
async fn where_nothing_is_served_the_paths_are_told() {
    let fixture = fixture();
    let mut bodies = Vec::new();
    for (path, code) in [("/", 200), ("/index.html", 200), ("/nothing", 404), ("/apis/apps/v1", 404)] {
        let answer = fixture.get(path).await;
        assert_eq!(answer.status(), code, "{path}");
        assert_eq!(answer.headers()["content-type"], "application/json");
        bodies.push(axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap());
    }
    assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]));
    let index: serde_json::Value = serde_json::from_slice(&bodies[0]).unwrap();
    let paths: Vec<&str> = index["paths"].as_array().unwrap().iter().map(|path| path.as_str().unwrap()).collect();
    assert!(paths.is_sorted());
    for path in paths {
        assert_eq!(fixture.get(path).await.status(), StatusCode::OK, "{path}");
    }
    assert_eq!(fixture.send(Request::post("/nothing")).await.status(), StatusCode::NOT_FOUND);
}
