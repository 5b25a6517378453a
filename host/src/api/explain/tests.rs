use std::time::Duration;

use async_trait::async_trait;
use http::Method;
use serde_json::json;

use super::*;
use crate::{
    api::path,
    model::{
        BackendCall, BackendOutcome, CacheState, CacheView, CallLimits, Catalog, ConsideredClaim, CustomAnswer,
        CustomQuery, Excerpt, Explanation, ExternalAnswer, ExternalQuery, ExternalSample, FetchError, GroupResource,
        GuestValue, Inventory, Kind, Kinds, Measurable, MetricAnswer, MetricQuery, PluginCall, PluginId, Precedence,
        Provider, RawExchange, Reason, Selector, Standing, UnixMillis,
    },
};

/// Explains every external metric; `plain` knows no more than its answer.
struct Fake;

fn plugin(name: &str) -> PluginId {
    PluginId { namespace: "plugins".to_owned(), name: name.to_owned() }
}

#[async_trait]
impl Provider for Fake {
    fn catalog(&self) -> std::sync::Arc<Catalog> {
        std::sync::Arc::default()
    }

    /// No value for one object is nonsense, which the API finds and no provider.
    async fn custom(&self, _: &CustomQuery) -> Result<CustomAnswer, FetchError> {
        Ok(CustomAnswer { plugin: plugin("queues"), samples: [].into(), cache: CacheState::None })
    }

    async fn external(&self, query: &ExternalQuery) -> Result<ExternalAnswer, FetchError> {
        let sample = |number: i64| ExternalSample {
            labels: vec![("number".to_owned(), number.to_string())],
            value: "2500m".parse().unwrap(),
            timestamp: UnixMillis(0),
            window: None,
        };
        match query.metric.as_str() {
            "down" => Err(FetchError::new(Reason::Unavailable, "the backend is down").of(&plugin("queues"))),
            "many" => Ok(ExternalAnswer {
                plugin: plugin("queues"),
                metric: query.metric.clone(),
                samples: (0..57).map(sample).collect(),
                cache: CacheState::None,
            }),
            _ => Ok(ExternalAnswer {
                plugin: plugin("queues"),
                metric: query.metric.clone(),
                samples: [sample(1)].into(),
                cache: CacheState::None,
            }),
        }
    }

    async fn explain(&self, query: &MetricQuery, detail: Detail) -> Result<Explanation, FetchError> {
        match query {
            MetricQuery::External(external) if external.metric.as_str() == "crowded" => {
                Err(FetchError::new(Reason::Overloaded, "ask again in a second").of(&plugin("queues")))
            }
            _ => Ok(explanation(query.ask(self).await, detail)),
        }
    }
}

#[async_trait]
impl Kinds for Fake {
    async fn kind(&self, resource: &GroupResource) -> Result<Option<Kind>, FetchError> {
        Ok(self.known(resource))
    }

    fn known(&self, _: &GroupResource) -> Option<Kind> {
        Some(Kind { group: String::new(), version: "v1".to_owned(), kind: "Pod".to_owned(), namespaced: true })
    }

    fn revision(&self) -> u64 {
        0
    }
}

#[async_trait]
impl Inventory for Fake {
    async fn running_pods(&self, _: Option<&str>, _: &Selector) -> Result<Vec<Measurable>, FetchError> {
        Ok(Vec::new())
    }

    async fn nodes(&self, _: &Selector) -> Result<Vec<Measurable>, FetchError> {
        Ok(Vec::new())
    }
}

fn explanation(answer: Result<MetricAnswer, FetchError>, detail: Detail) -> Explanation {
    let claim =
        |name: &str, claim: &str, standing| ConsideredClaim { plugin: plugin(name), claim: claim.to_owned(), standing };
    let claims = vec![
        claim("queues", "queue_depth", Standing::Owns),
        claim("other", "queue_*", Standing::Loses(Precedence::Exact)),
    ];
    let raw = RawExchange { url: "https://mq.example.com/api?key=1".to_owned(), ..RawExchange::default() };
    let backend = BackendCall {
        method: "GET".to_owned(),
        origin: Some("https://mq.example.com".to_owned()),
        after: Duration::from_micros(1500),
        duration: Some(Duration::from_millis(12)),
        outcome: BackendOutcome::Response { status: 200, bytes: 42 },
        raw: (detail == Detail::Raw).then_some(raw),
    };
    let value = GuestValue {
        of: "queue=orders".to_owned(),
        number: "2.5 (float)".to_owned(),
        quantity: Ok("2500m".parse().unwrap()),
        timestamp: Some(UnixMillis(1_767_323_045_678)),
        window: None,
    };
    let call = PluginCall {
        function: "external-metrics.get",
        arguments: vec![("namespace", "shop".to_owned())],
        calls: 1,
        duration: Duration::from_millis(14),
        cpu: Duration::from_micros(250),
        memory_bytes: Some(1 << 20),
        limits: CallLimits {
            memory_bytes: 64 << 20,
            timeout: Duration::from_secs(2),
            cpu: Duration::from_millis(200),
            concurrency: 16,
            list_items: 1000,
        },
        backend_calls: Excerpt { items: vec![backend], left_out: 37 },
        lookups: Excerpt::default(),
        log_lines: 3,
        log: Excerpt::default(),
        values: Excerpt { items: vec![value], left_out: 0 },
    };
    let age = Some(Duration::from_millis(500));
    let cache = CacheView { state: CacheState::Hit, age, ..CacheView::default() };
    let claims = Excerpt { items: claims, left_out: 0 };
    Explanation { claims, cache: Some(cache), call: Some(call), ..Explanation::of(answer) }
}

async fn ask(url: &str, accept: &str) -> (u16, String, Outcome) {
    let fake = std::sync::Arc::new(Fake);
    let api = Api::new(fake.clone(), fake.clone(), fake);
    let head = Request::get(url).header("accept", accept).body(()).unwrap().into_parts().0;
    let response = api.respond(&path::parse(&Method::GET, &head.uri).unwrap(), &head).await;
    let outcome = response.extensions().get::<Outcome>().cloned().unwrap();
    let code = response.status().as_u16();
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (code, String::from_utf8_lossy(&body).into_owned(), outcome)
}

async fn explained(path: &str) -> Value {
    let (code, body, _) = ask(path, "application/json, */*").await;
    assert_eq!(code, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

const EXTERNAL: &str = "/apis/external.metrics.k8s.io/v1beta1/namespaces/shop";

#[tokio::test]
async fn a_metric_is_explained_with_the_answer_that_a_client_gets() {
    let document = explained(&format!("{EXTERNAL}/queue_depth?labelSelector=queue%3Dorders&explain=true")).await;
    assert_eq!(
        document,
        json!({
            "kind": "MetricExplanation",
            "apiVersion": "wasm-metrics-adapter.io/v1alpha1",
            "metric": {
                "api": "external.metrics.k8s.io/v1beta1", "namespace": "shop", "name": "queue_depth",
                "labelSelector": "queue=orders",
            },
            "response": { "code": 200, "body": {
                "kind": "ExternalMetricValueList", "apiVersion": "external.metrics.k8s.io/v1beta1", "metadata": {},
                "items": [{ "metricName": "queue_depth", "metricLabels": { "number": "1" },
                    "timestamp": "1970-01-01T00:00:00Z", "value": "2500m" }],
            } },
            "plugin": "plugins/queues",
            "claims": { "items": [
                { "plugin": "plugins/queues", "claim": "queue_depth", "standing": "owns",
                    "because": "no claim on this metric comes before it" },
                { "plugin": "plugins/other", "claim": "queue_*", "standing": "loses",
                    "because": "an exact claim comes before a pattern" },
            ] },
            "cache": { "state": "hit", "ageMs": 500.0, "asking": false, "failures": 0 },
            "call": {
                "function": "external-metrics.get", "arguments": { "namespace": "shop" }, "calls": 1,
                "durationMs": 14.0, "cpuMs": 0.25, "memoryBytes": 1_048_576,
                "limits": { "memoryBytes": 67_108_864, "timeoutMs": 2000.0, "cpuMs": 200.0, "concurrency": 16, "listItems": 1000 },
                "backendCalls": { "items": [{ "method": "GET", "origin": "https://mq.example.com", "afterMs": 1.5,
                    "durationMs": 12.0, "status": 200, "bytes": 42 }], "leftOut": 37 },
                "lookups": { "items": [] },
                "logLines": 3,
                "values": { "items": [{ "of": "queue=orders", "number": "2.5 (float)", "quantity": "2500m",
                    "timestamp": "2026-01-02T03:04:05Z" }] },
            },
        })
    );
}

#[tokio::test]
async fn a_failing_metric_is_explained_with_200_and_its_status() {
    let (code, body, outcome) = ask(&format!("{EXTERNAL}/down?explain=true"), "*/*").await;
    assert_eq!((code, outcome.reason, outcome.plugin), (200, Some("unavailable"), Some(plugin("queues"))));
    let document: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(document["response"]["code"], 503);
    let status = &document["response"]["body"];
    assert_eq!((&status["kind"], &status["reason"]), (&json!("Status"), &json!("ServiceUnavailable")));
    assert_eq!(status["message"], "plugin plugins/queues: the backend is down");

    // What the API itself finds wrong, before the provider is asked and after.
    let document = explained(&format!("{EXTERNAL}/queue_depth?labelSelector=%3D%3D&explain=true")).await;
    assert_eq!((&document["response"]["code"], document.get("call")), (&json!(400), None), "{document}");
    let custom = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/web/none?explain=1";
    let document = explained(custom).await;
    assert_eq!(document["response"]["code"], 500, "{document}");
    assert_eq!((&document["metric"]["resource"], &document["metric"]["object"]), (&json!("pods"), &json!("web")));
}

#[tokio::test]
async fn a_long_answer_is_cut_and_says_so() {
    let document = explained(&format!("{EXTERNAL}/many?explain=true")).await;
    assert_eq!(document["response"]["body"]["items"].as_array().unwrap().len(), 20);
    assert_eq!(document["response"]["itemsLeftOut"], 37);
}

#[tokio::test]
async fn urls_and_log_lines_take_raw() {
    let plain = explained(&format!("{EXTERNAL}/queue_depth?explain=true")).await;
    assert!(!plain.to_string().contains("key=1") && plain["call"].get("log").is_none(), "{plain}");
    let raw = explained(&format!("{EXTERNAL}/queue_depth?explain=raw")).await;
    assert_eq!(raw["call"]["backendCalls"]["items"][0]["raw"]["url"], "https://mq.example.com/api?key=1");
    assert_eq!(raw["call"]["log"], json!({ "items": [] }));
}

#[tokio::test]
async fn who_asks_too_often_is_told_and_not_explained() {
    let (code, body, _) = ask(&format!("{EXTERNAL}/crowded?explain=true"), "*/*").await;
    assert_eq!(code, 429, "{body}");
    assert!(body.contains("plugin plugins/queues: ask again in a second"), "{body}");
}

#[tokio::test]
async fn explain_says_yes_raw_or_no() {
    for no in ["", "?explain=false", "?explain=0"] {
        let (code, body, _) = ask(&format!("{EXTERNAL}/queue_depth{no}"), "*/*").await;
        assert!(
            code == 200 && body.contains("ExternalMetricValueList") && !body.contains("MetricExplanation"),
            "{body}"
        );
    }
    for nonsense in ["?explain", "?explain=verbose"] {
        let (code, body, _) = ask(&format!("{EXTERNAL}/queue_depth{nonsense}"), "*/*").await;
        assert!(code == 400 && body.contains("use explain=true, or explain=raw"), "{code} {body}");
    }
}

#[tokio::test]
async fn an_explanation_is_json_or_yaml() {
    let url = format!("{EXTERNAL}/queue_depth?explain=true");
    let (code, body, _) = ask(&url, "application/vnd.kubernetes.protobuf, */*").await;
    assert!(code == 200 && body.starts_with("{\n"), "{body}");
    let (code, body, _) = ask(&url, "application/yaml").await;
    assert!(code == 200 && body.contains("\nkind: MetricExplanation\n"), "{body}");
    for accept in ["application/vnd.kubernetes.protobuf", "application/json;as=Table;v=v1;g=meta.k8s.io"] {
        let (code, body, _) = ask(&url, accept).await;
        assert!(code == 406 && body.contains("accept one of them"), "{code} {body}");
    }
}
