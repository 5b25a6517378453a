//! The plugins that ship with the adapter, as components on the real engine: `static` from its settings, `http-json` against a real
//! HTTP server, with the credential that the host puts on.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod support;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Json, Router, extract::State, http::HeaderMap, http::StatusCode, http::Uri};
use serde_json::{Value, json};
use support::{guest, world};
use wasm_metrics_adapter::{
    egress::{self, Credential, EgressConfig, Origin},
    model::{
        CustomMetric, CustomQuery, ExternalQuery, FetchError, GroupResource, MetricName, ObjectSelection, PluginId,
        Provider, Reason, Selector,
    },
    runtime::{Limits, Plugin, PluginSettings, Validation},
};

/// Long enough that no healthy call meets it, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

async fn load(component: &str, config: &[(&str, String)], egress: EgressConfig) -> Plugin {
    let world = world(&Arc::default()).await;
    let id = PluginId { namespace: "plugins".to_owned(), name: component.to_owned() };
    let code = world.runtime.compiler().compile(guest(component)).await.unwrap();
    let settings = PluginSettings {
        id: id.clone(),
        config: config.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect(),
        http: egress::Client::new(id, egress, world.egress.clone()),
        limits: Limits { memory_bytes: 64 << 20, timeout: PATIENCE, cpu: PATIENCE, concurrency: 16, list_items: 1000 },
    };
    world.runtime.load(&code, settings).unwrap()
}

fn external(metric: &str, series: &str) -> ExternalQuery {
    ExternalQuery {
        namespace: "shop".to_owned(),
        metric: MetricName::new(metric).unwrap(),
        series: Selector::parse(series).unwrap(),
    }
}

fn custom(resource: &str, metric: &str, objects: ObjectSelection) -> CustomQuery {
    let metric =
        CustomMetric { resource: resource.parse::<GroupResource>().unwrap(), name: MetricName::new(metric).unwrap() };
    CustomQuery { metric, namespace: Some("shop".to_owned()), objects, series: Selector::everything() }
}

/// Each series as `key=value,... number`.
async fn series(plugin: &Plugin, metric: &str, selector: &str) -> Result<Vec<String>, FetchError> {
    let answer = plugin.external(&external(metric, selector)).await?;
    let line = |sample: &wasm_metrics_adapter::model::ExternalSample| {
        let labels: Vec<String> = sample.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        format!("{} {}", labels.join(","), sample.value)
    };
    Ok(answer.samples.iter().map(line).collect())
}

/// Each object as `name number`.
async fn objects(plugin: &Plugin, query: CustomQuery) -> Result<Vec<String>, FetchError> {
    let samples = plugin.custom(&query).await?.samples;
    Ok(samples.iter().map(|sample| format!("{} {}", sample.object, sample.value)).collect())
}

#[tokio::test]
async fn static_answers_what_its_settings_say() {
    let config = [
        ("custom", "pods/*/http_requests 10\nservices/front/requests_per_second 2500m\n".to_owned()),
        ("external", "# depth\nqueue_depth{queue=\"orders\"} 42\nqueue_depth{queue=\"mail\"} 1.5k\n".to_owned()),
    ];
    let plugin = load("static", &config, EgressConfig::default()).await;
    assert_eq!(plugin.validate().await, Validation::Good);
    let listed = plugin.list().await.unwrap();
    let names: Vec<String> = listed.custom.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["pods/http_requests", "services/requests_per_second"]);
    assert_eq!(listed.external[0].as_str(), "queue_depth");
    assert_eq!(series(&plugin, "queue_depth", "").await.unwrap(), ["queue=orders 42", "queue=mail 1500"]);
    assert_eq!(series(&plugin, "queue_depth", "queue notin (orders)").await.unwrap(), ["queue=mail 1500"]);
    let front = custom("services", "requests_per_second", ObjectSelection::Named("front".to_owned()));
    assert_eq!(objects(&plugin, front).await.unwrap(), ["front 2500m"]);
    let web = custom("pods", "http_requests", ObjectSelection::Selected(Selector::parse("app=web").unwrap()));
    assert_eq!(objects(&plugin, web).await.unwrap(), ["web-1 10"]);
}

#[tokio::test]
async fn static_names_the_line_that_makes_no_sense() {
    let config = [("external", "queue_depth 42\nqueue_depth{queue=orders} 1\n".to_owned())];
    let plugin = load("static", &config, EgressConfig::default()).await;
    let Validation::Refused(message) = plugin.validate().await else { panic!("accepted") };
    assert!(message.contains("external") && message.contains("line 2"), "{message}");
}

/// What the server saw: paths with their `Authorization`.
type Seen = Arc<Mutex<Vec<(String, Option<String>)>>>;

async fn backend() -> (String, Seen) {
    async fn answer(State(seen): State<Seen>, uri: Uri, headers: HeaderMap) -> (StatusCode, Json<Value>) {
        let authorization = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
        seen.lock().unwrap().push((uri.to_string(), authorization));
        match uri.path() {
            "/queues" => (
                StatusCode::OK,
                Json(json!({ "queues": [
                    { "name": "orders", "messages": 12, "state": "running" },
                    { "name": "mail", "messages": "2500m", "state": "running" },
                    { "name": "old", "messages": 99, "state": "stopped" },
                ]})),
            ),
            "/shop/consumers/web-1" => (StatusCode::OK, Json(json!({ "sessions": 0.1 }))),
            "/down" => (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({ "secret": "stack trace" }))),
            "/denied" => (StatusCode::FORBIDDEN, Json(json!({}))),
            _ => (StatusCode::NOT_FOUND, Json(json!({}))),
        }
    }
    let seen = Seen::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(answer).with_state(seen.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (origin, seen)
}

async fn http_json(origin: &str) -> Plugin {
    let metrics = json!([
        { "name": "queue_depth", "type": "external", "url": format!("{origin}/queues?namespace={{namespace}}"),
          "items": "$.queues[?@.state == 'running']", "value": "$.messages", "labels": { "queue": "$.name", "source": "mq" } },
        { "name": "messages_total", "type": "external", "url": format!("{origin}/queues"), "value": "$.queues[*].messages", "aggregate": "sum" },
        { "name": "sessions", "type": "custom", "resource": "pods", "url": format!("{origin}/{{namespace}}/consumers/{{object}}"), "value": "$.sessions" },
        { "name": "down", "type": "external", "url": format!("{origin}/down"), "value": "$.x" },
        { "name": "denied", "type": "external", "url": format!("{origin}/denied"), "value": "$.x" },
        { "name": "elsewhere", "type": "external", "url": "http://127.0.0.1:1/", "value": "$.x" },
    ]);
    let allowed = Origin::parse(origin).unwrap();
    let egress = EgressConfig {
        origins: std::iter::once(allowed.clone()).collect(),
        credentials: vec![Credential::bearer(allowed, "t0ken").unwrap()],
        response_bytes: 1 << 20,
        exchanges: 4,
        ..EgressConfig::default()
    };
    load("http-json", &[("metrics", metrics.to_string())], egress).await
}

#[tokio::test]
async fn http_json_reads_a_real_server_with_the_hosts_credential() {
    let (origin, seen) = backend().await;
    let plugin = http_json(&origin).await;
    assert_eq!(plugin.validate().await, Validation::Good);
    let depths = series(&plugin, "queue_depth", "").await.unwrap();
    assert_eq!(depths, ["queue=orders,source=mq 12", "queue=mail,source=mq 2500m"]);
    assert_eq!(series(&plugin, "queue_depth", "queue=mail").await.unwrap(), ["queue=mail,source=mq 2500m"]);
    assert_eq!(series(&plugin, "messages_total", "").await.unwrap(), [" 113500m"]);
    let named = custom("pods", "sessions", ObjectSelection::Named("web-1".to_owned()));
    assert_eq!(objects(&plugin, named).await.unwrap(), ["web-1 100m"]);
    let selected = custom("pods", "sessions", ObjectSelection::Selected(Selector::parse("app=web").unwrap()));
    assert_eq!(objects(&plugin, selected).await.unwrap(), ["web-1 100m"]);
    let seen = seen.lock().unwrap().clone();
    assert!(seen.iter().all(|(_, authorization)| authorization.as_deref() == Some("Bearer t0ken")), "{seen:?}");
    assert_eq!(seen[0].0, "/queues?namespace=shop");
}

#[tokio::test]
async fn http_json_says_what_is_wrong_with_its_backend() {
    let (origin, _) = backend().await;
    let plugin = http_json(&origin).await;
    for (metric, reason, word) in [
        ("down", Reason::Unavailable, "500"),
        ("denied", Reason::Unauthorized, "403"),
        ("elsewhere", Reason::BadRequest, "egress"),
        ("unknown", Reason::MetricNotFound, "unknown"),
    ] {
        let error = series(&plugin, metric, "").await.unwrap_err();
        assert_eq!(error.reason, reason, "{error}");
        assert!(error.message.contains(word), "{error}");
        assert!(!error.message.contains("stack trace") && !error.message.contains("t0ken"), "{error}");
    }
    let gone = custom("pods", "sessions", ObjectSelection::Named("db-1".to_owned()));
    assert_eq!(objects(&plugin, gone).await.unwrap_err().reason, Reason::ObjectNotFound);
}
