//! Every way in which a metric can fail, row by row: what is wrong, and the Status that reaches `kubectl describe hpa`. The rows of
//! Kubernetes have the texts of k8s.io/apiserver and custom-metrics-apiserver; the rows of plugins come from real guests behind the
//! real registry. Panics, whole-request timeouts and too many requests are in `src/app/pipeline/tests.rs`, with the server around
//! them.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in its helpers too"
)]

#[path = "support/limits.rs"]
mod limits;
#[path = "failures/plugins.rs"]
mod plugins;
#[path = "failures/requests.rs"]
mod requests;
mod support;

use std::sync::{Arc, Mutex};

use axum::response::Response;
use http::{Request, header};
use serde_json::{Value, json};
use wasm_metrics_adapter::{
    api::{Api, Status, path},
    egress::{self, EgressConfig},
    model::{Claims, CustomPattern, FetchError, GroupResource, Kind, Kinds, Pattern, PluginId, Reason},
    objects::FixedObjects,
    registry::{self, Entry, State, Writer},
    runtime::{Limits, PluginSettings},
};

const CUSTOM: &str = "/apis/custom.metrics.k8s.io/v1beta2";
const EXTERNAL: &str = "/apis/external.metrics.k8s.io/v1beta1";

/// An API over a registry of real plugins.
struct Server {
    api: Api,
    plugins: Mutex<Writer>,
}

/// The kinds of any cluster; one API group is out of order.
struct Cluster(FixedObjects);

#[async_trait::async_trait]
impl Kinds for Cluster {
    async fn kind(&self, resource: &GroupResource) -> Result<Option<Kind>, FetchError> {
        match resource.group.as_str() {
            "broken.example.com" => Err(FetchError::new(Reason::Unavailable, "discovery of it failed")),
            _ => self.0.kind(resource).await,
        }
    }

    fn known(&self, resource: &GroupResource) -> Option<Kind> {
        self.0.known(resource)
    }

    fn revision(&self) -> u64 {
        0
    }
}

fn server() -> Server {
    let (writer, reader) = registry::new();
    let (kinds, objects) = (Arc::new(Cluster(FixedObjects::default())), Arc::new(FixedObjects::default()));
    Server { api: Api::new(Arc::new(reader), kinds, objects), plugins: Mutex::new(writer) }
}

impl Server {
    /// Loads a probe that claims the metric of its own name.
    async fn load(&self, name: &str, config: &[(&str, &str)], limit: impl FnOnce(&mut Limits)) {
        self.put(name, name, probe(name, config, limit).await);
    }

    /// Puts a plugin that claims a metric, external and of the kinds that the tests ask for.
    fn put(&self, name: &str, metric: &str, state: State) {
        let claim = |resource| CustomPattern { resource: GroupResource::core(resource), name: Pattern::new(metric) };
        let claims = Claims {
            external: Some(vec![Pattern::new(metric)]),
            custom: Some(["pods", "nodes", "configmaps"].map(claim).into()),
            ..Claims::default()
        };
        self.plugins.lock().unwrap().put(Entry { id: id(name), claims, own_namespace: true, shown: true, state });
    }

    async fn send(&self, method: &str, url: &str, accept: &str) -> Response {
        let request = Request::builder().method(method).uri(url).header("accept", accept);
        let head = request.body(()).unwrap().into_parts().0;
        match path::parse(&head.method, &head.uri) {
            Ok(target) => self.api.respond(&target, &head).await,
            Err(error) => Status::of_path(&error).respond(&head),
        }
    }

    /// Asks twice: a text that changes would be an Event each time.
    async fn fails(&self, url: &str) -> Value {
        let first = told(self.send("GET", url, "*/*").await).await;
        assert_eq!(told(self.send("GET", url, "*/*").await).await, first, "{url}");
        first
    }
}

fn id(name: &str) -> PluginId {
    PluginId { namespace: "plugins".to_owned(), name: name.to_owned() }
}

/// A real guest with these settings.
async fn probe(name: &str, config: &[(&str, &str)], limit: impl FnOnce(&mut Limits)) -> State {
    let world = support::world(&Arc::default()).await;
    let code = world.runtime.compiler().compile(support::guest("probe")).await.unwrap();
    let mut limits = limits::limits();
    limit(&mut limits);
    let mut config: Vec<_> = config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    config.sort();
    let http = egress::Client::new(id(name), EgressConfig::default(), world.egress.clone());
    let plugin =
        world.runtime.load(&code, PluginSettings { id: id(name), config, secrets: Vec::new(), http, limits }).unwrap();
    State::Ready { provider: Arc::new(plugin), listed: Arc::default() }
}

/// The Status, if it is as every Status must be.
async fn told(response: Response) -> Value {
    assert_eq!(response.headers().get(header::RETRY_AFTER), None);
    let code = response.status().as_u16();
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let status: Value = serde_json::from_slice(&body).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&body)));
    assert_eq!(status["code"], code, "{status}");
    assert_eq!(
        (&status["kind"], &status["apiVersion"], &status["status"]),
        (&json!("Status"), &json!("v1"), &json!("Failure"))
    );
    let message = status["message"].as_str().unwrap();
    assert!(!message.is_empty() && message.len() <= 512, "{} bytes: {message}", message.len());
    assert!(!message.chars().any(char::is_control), "{message:?}");
    assert_eq!(status["details"]["retryAfterSeconds"], Value::Null, "{status}");
    status
}

#[track_caller]
fn assert_failure(status: &Value, code: u16, reason: &str, message: &str, details: &Value) {
    let found = (&status["code"], &status["reason"], &status["message"], &status["details"]);
    assert_eq!(found, (&code.into(), &reason.into(), &message.into(), details));
}

/// Details as k8s.io/apimachinery `NewInternalError`, `NewTimeoutError` and, for a path that is none, `NewGenericServerResponse` make
/// them; other constructors of theirs make none.
fn details_of(reason: &str, message: &str) -> Value {
    match reason {
        "InternalError" => {
            json!({ "causes": [{ "message": message.strip_prefix("Internal error occurred: ").unwrap() }] })
        }
        "Timeout" => json!({}),
        "NotFound" if message == "the server could not find the requested resource" => json!({}),
        _ => Value::Null,
    }
}
