use std::sync::{Arc, Mutex};

use clap::Parser;
use http::{Request, Response};
use kube::client::Body;
use serde_json::{Value, json};

use super::*;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    explain: ExplainArgs,
}

type Paths = Arc<Mutex<Vec<String>>>;

/// A cluster that answers each path by a function of it, and what it was asked.
fn cluster(answer: impl Fn(&str) -> Option<(u16, Value)> + Send + 'static) -> (Client, Paths) {
    let (service, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
    let paths = Paths::default();
    let record = paths.clone();
    tokio::spawn(async move {
        while let Some((request, send)) = handle.next_request().await {
            let path = request.uri().path_and_query().unwrap().to_string();
            let (code, body) = answer(&path).or_else(|| usual(&path)).unwrap_or_else(|| not_found(&path));
            record.lock().unwrap().push(path);
            let body = Body::from(serde_json::to_vec(&body).unwrap());
            send.send_response(Response::builder().status(code).body(body).unwrap());
        }
    });
    (Client::new(service, "default"), paths)
}

fn status(code: u16, message: &str) -> (u16, Value) {
    let reason = if code == 404 { "NotFound" } else { "Other" };
    (
        code,
        json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message, "code": code }),
    )
}

fn not_found(path: &str) -> (u16, Value) {
    status(404, &format!("nothing at {path}"))
}

/// Kinds, the scaled Deployment, APIServices of this adapter and nothing to warn of.
fn usual(path: &str) -> Option<(u16, Value)> {
    if path.starts_with("/apis/apiregistration.k8s.io/v1/apiservices/") {
        let ours = json!({ "namespace": "wasm-metrics-adapter", "name": "wasm-metrics-adapter" });
        return Some((
            200,
            json!({ "metadata": {}, "spec": { "service": ours, "groupPriorityMinimum": 1, "versionPriority": 1 },
            "status": { "conditions": [{ "type": "Available", "status": "True" }] } }),
        ));
    }
    let resource = |name: &str, kind: &str, namespaced| json!({ "name": name, "singularName": "", "namespaced": namespaced, "kind": kind, "verbs": ["get"] });
    let list = |version: &str, resources: Value| json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources });
    let core =
        json!([resource("pods", "Pod", true), resource("nodes", "Node", false), resource("services", "Service", true)]);
    match path.split('?').next().unwrap_or_default() {
        "/apis/apps/v1" => Some((200, list("apps/v1", json!([resource("deployments", "Deployment", true)])))),
        "/api/v1" => Some((200, list("v1", core))),
        "/api" => Some((200, json!({ "kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [] }))),
        "/apis/apps/v1/namespaces/shop/deployments/web/scale" => {
            Some((200, json!({ "metadata": {}, "status": { "replicas": 1, "selector": "app=web" } })))
        }
        "/api/v1/namespaces/shop/events" | "/api/v1/namespaces/wasm-metrics-adapter/events" => Some((200, events(&[]))),
        _ => None,
    }
}

/// Events as name, reason, message.
fn events(events: &[(&str, &str, &str)]) -> Value {
    let items = events.iter().map(|(name, reason, message)| {
        json!({ "metadata": {}, "involvedObject": { "name": name }, "reason": reason, "message": message, "count": 12 })
    });
    json!({ "kind": "EventList", "apiVersion": "v1", "metadata": {}, "items": items.collect::<Vec<_>>() })
}

async fn asked(client: &Client, arguments: &[&str]) -> (Report, String) {
    let arguments = ["explain"].iter().chain(arguments);
    let args = Command::try_parse_from(arguments).unwrap().explain;
    let report = inspect(client, &args, args.namespace.as_deref().unwrap_or("shop")).await.unwrap();
    let mut bytes = Vec::new();
    text::print(&report, &mut bytes).unwrap();
    (report, String::from_utf8(bytes).unwrap())
}

fn explanation(response: &Value, claims: &Value, call: Option<Value>) -> Value {
    let mut document = json!({
        "kind": "MetricExplanation", "apiVersion": "wasm-metrics-adapter.io/v1alpha1",
        "response": response, "claims": { "items": claims },
    });
    if let Some(call) = call {
        document["call"] = call;
    }
    document
}

fn failure(code: u16, message: &str) -> Value {
    json!({ "code": code, "body": { "kind": "Status", "message": message } })
}

fn values(values: &[&str]) -> Value {
    let items: Vec<Value> = values.iter().map(|value| json!({ "value": value })).collect();
    json!({ "code": 200, "body": { "items": items } })
}

fn owner() -> Value {
    json!([{ "plugin": "wasm-metrics-adapter/queues", "claim": "queue_*", "standing": "owns", "because": "" }])
}

fn call(backends: &Value) -> Value {
    json!({
        "durationMs": 14.5, "cpuMs": 0.25, "memoryBytes": 1_048_576,
        "limits": { "timeoutMs": 2000.0, "cpuMs": 200.0, "memoryBytes": 67_108_864 },
        "backendCalls": { "items": backends }, "lookups": { "items": [] }, "values": { "items": [] },
    })
}

fn autoscaler(metrics: &Value) -> Value {
    json!({
        "metadata": { "name": "web", "namespace": "shop" },
        "spec": { "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" }, "maxReplicas": 3, "metrics": metrics },
        "status": { "conditions": [{ "type": "ScalingActive", "status": "False", "reason": "FailedGetExternalMetric", "message": "unable to" }],
            "desiredReplicas": 1 },
    })
}

const HPA: &str = "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers/web";

#[tokio::test]
async fn each_metric_of_an_autoscaler_is_asked_as_its_controller_asks() {
    let target = json!({ "type": "Value", "value": "1" });
    let metrics = json!([
        { "type": "External", "external": { "target": target,
            "metric": { "name": "Queue|Depth", "selector": { "matchLabels": { "queue": "orders" } } } } },
        { "type": "Pods", "pods": { "target": target, "metric": { "name": "Http", "selector": {
            "matchExpressions": [{ "key": "verb", "operator": "In", "values": ["GET"] }] } } } },
        { "type": "Object", "object": { "target": target, "metric": { "name": "rate" },
            "describedObject": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" } } },
        { "type": "Object", "object": { "target": target, "metric": { "name": "load" },
            "describedObject": { "apiVersion": "v1", "kind": "Node", "name": "n1" } } },
        { "type": "Resource", "resource": { "name": "cpu", "target": { "type": "Utilization" } } },
        { "type": "Object", "object": { "target": target, "metric": { "name": "x" },
            "describedObject": { "apiVersion": "v1", "kind": "Unheard", "name": "n1" } } },
    ]);
    let (client, paths) = cluster(move |path| match path {
        HPA => Some((200, autoscaler(&metrics))),
        path if path.contains("explain=true") => Some((200, explanation(&values(&["1"]), &owner(), None))),
        _ => None,
    });
    let (report, text) = asked(&client, &["hpa", "web"]).await;
    let paths: Vec<String> = paths.lock().unwrap().iter().filter(|path| path.contains("explain=")).cloned().collect();
    assert_eq!(
        paths,
        [
            "/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/queue%7Cdepth?labelSelector=queue%3Dorders&explain=true",
            "/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/%2A/Http?labelSelector=app%3Dweb&metricLabelSelector=verb%20in%20%28GET%29&explain=true",
            "/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/deployments.apps/web/rate?explain=true",
            "/apis/custom.metrics.k8s.io/v1beta2/nodes/n1/load?explain=true",
            "/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods?labelSelector=app%3Dweb&explain=true",
        ]
    );
    let verdicts: Vec<Verdict> = report.metrics.iter().map(|metric| metric.verdict).collect();
    assert_eq!(verdicts[..5], [Verdict::Answers; 5]);
    assert_eq!(verdicts[5], Verdict::Fails, "a kind that the cluster does not have");
    assert_eq!(report.outcome().exit_code(), 1);
    assert!(text.contains("FailedGetExternalMetric: unable to") && text.contains("app=web"), "{text}");
}

#[tokio::test]
async fn a_dead_backend_is_told_with_what_it_said() {
    let backends = json!([
        { "method": "GET", "origin": "https://mq.example.com", "durationMs": 12.0, "status": 502, "bytes": 120 },
        { "method": "GET", "origin": "https://alt.example.com", "durationMs": 3.0, "error": "request to https://alt.example.com failed: refused" },
    ]);
    let document =
        explanation(&failure(503, "plugin wasm-metrics-adapter/queues: no luck"), &owner(), Some(call(&backends)));
    let (client, _) = cluster(move |path| path.contains("explain=true").then(|| (200, document.clone())));
    let (report, text) = asked(&client, &["external", "Queue_Depth", "--selector", "queue=orders"]).await;
    assert_eq!(
        text,
        "\
1. external metric Queue_Depth with queue=orders
   FAILS      503 plugin wasm-metrics-adapter/queues: no luck
   to do      backend https://mq.example.com answered 502; look at its log
   to do      request to https://alt.example.com failed: refused
   plugin     wasm-metrics-adapter/queues, which claims queue_*
   backend    GET https://mq.example.com: 502, 120 bytes after 12.0 ms
   backend    GET https://alt.example.com: request to https://alt.example.com failed: refused after 3.0 ms
   used       14.5 of 2000.0 ms, 0.25 of 200.0 ms CPU, 1048576 of 67108864 bytes of memory
   by hand    kubectl get --raw '/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/queue_depth?labelSelector=queue%3Dorders'

"
    );
    assert_eq!(report.outcome().exit_code(), 1);
}

#[tokio::test]
async fn an_unknown_metric_is_told_with_similar_names_and_rejected_plugins() {
    let mut document = explanation(&failure(404, "the server could not find the metric queue_dpth"), &json!([]), None);
    document["similar"] = json!(["queue_depth"]);
    let (client, paths) = cluster(move |path| {
        if path.starts_with("/api/v1/namespaces/wasm-metrics-adapter/events") {
            return Some((
                200,
                events(&[("mails", "Rejected", "unknown field `serve`"), ("mails", "Rejected", "older")]),
            ));
        }
        path.contains("explain=true").then(|| (200, document.clone()))
    });
    let (report, text) = asked(&client, &["external", "queue_dpth"]).await;
    let remedies = &report.metrics[0].remedies;
    assert!(remedies[0].starts_with("no plugin serves queue_dpth; load one"), "{text}");
    assert_eq!(remedies[1], "similar names are served here: queue_depth");
    assert_eq!(
        remedies[2],
        "a plugin that could not be loaded may be the one: mails: Rejected (12 times): unknown field `serve`"
    );
    assert_eq!(remedies.len(), 3, "one Event of each plugin: {text}");
    let asked = paths.lock().unwrap().iter().find(|path| path.contains("/events")).cloned().unwrap();
    assert!(asked.contains("involvedObject.kind%3DConfigMap%2Ctype%3DWarning"), "{asked}");
}

#[tokio::test]
async fn failures_are_told_apart() {
    let lookups =
        json!({ "items": [{ "function": "objects.names", "resource": "pods", "selector": "app=wbe", "found": 0 }] });
    let mut selected = call(&json!([]));
    selected["lookups"] = lookups;
    let mut nan = call(&json!([]));
    nan["values"] =
        json!({ "items": [{ "of": "queue=orders", "number": "NaN (float)", "error": "NaN is not a number" }] });
    let slow =
        call(&json!([{ "method": "GET", "origin": "https://mq", "error": "no answer when the plugin's call ended" }]));
    let unauthorized = call(&json!([{ "method": "GET", "origin": "https://mq", "status": 401 }]));
    let elsewhere = json!([{ "plugin": "a/b", "claim": "q*", "standing": "elsewhere", "because": "" }]);
    let loading = json!([{ "plugin": "a/b", "claim": "q*", "standing": "loading", "because": "" }]);
    for (response, claims, call, words) in [
        (values(&[]), owner(), Some(selected), "the selector \"app=wbe\" selects no pods of this namespace"),
        (values(&[]), owner(), None, "ask without the selector"),
        (
            failure(500, "nonsense"),
            owner(),
            Some(nan),
            "the plugin answered NaN (float) for \"queue=orders\": NaN is not a number",
        ),
        (failure(500, "trap"), owner(), Some(self::call(&json!([]))), "--raw shows what it logged"),
        (failure(504, "late"), owner(), Some(slow), "backend https://mq gave no answer in time"),
        (failure(503, "no"), owner(), Some(unauthorized), "backend https://mq refuses the credentials"),
        (failure(503, "no"), loading, None, "wait some seconds"),
        (failure(404, "no"), elsewhere, None, "plugin a/b claims it for other namespaces"),
        (
            failure(404, "no"),
            owner(),
            None,
            "plugin wasm-metrics-adapter/queues claims the name and has no such metric",
        ),
        (failure(429, "no"), owner(), None, "raise limits.concurrency"),
        (failure(400, "no"), owner(), None, "correct the selector"),
    ] {
        let document = explanation(&response, &claims, call);
        let (client, _) = cluster(move |path| path.contains("explain=true").then(|| (200, document.clone())));
        let (report, text) = asked(&client, &["custom", "pods", "queue_depth", "--selector", "app=wbe"]).await;
        assert_eq!(report.outcome(), Outcome::Failing);
        assert!(report.metrics[0].remedies.iter().any(|remedy| remedy.contains(words)), "{words}: {text}");
    }
}

#[tokio::test]
async fn what_stands_before_the_metric_is_told() {
    // Nobody's API, and one that is not available.
    let gone = "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.external.metrics.k8s.io";
    let (client, _) = cluster(move |path| (path == gone).then(|| not_found(path)));
    let (report, text) = asked(&client, &["external", "x"]).await;
    assert!(text.contains("there is no APIService v1beta1.external.metrics.k8s.io; apply the component"), "{text}");
    assert_eq!(report.outcome().exit_code(), 1);

    let (client, _) = cluster(move |path| {
        (path == gone).then(|| {
            (
                200,
                json!({ "metadata": {}, "spec": { "groupPriorityMinimum": 1, "versionPriority": 1,
            "service": { "namespace": "keda", "name": "keda" } },
            "status": { "conditions": [{ "type": "Available", "status": "False", "reason": "MissingEndpoints" }] } }),
            )
        })
    });
    let (_, text) = asked(&client, &["external", "x"]).await;
    assert!(
        text.contains("APIService v1beta1.external.metrics.k8s.io of keda/keda is not available (MissingEndpoints)"),
        "{text}"
    );

    // Another's API.
    let (client, _) = cluster(move |path| {
        path.contains("/namespaces/shop/x?")
            .then(|| (200, json!({ "kind": "ExternalMetricValueList", "items": [{ "value": "7" }] })))
    });
    let (report, text) = asked(&client, &["external", "x"]).await;
    assert!(text.contains("answers    7, by this adapter, which explains nothing"), "{text}");
    assert_eq!(report.outcome().exit_code(), 0);

    // No right.
    for (flags, message, words) in [
        (vec!["external", "x"], "x is forbidden", "wasm-metrics-adapter-reader"),
        (vec!["external", "x", "--raw"], "explanations is forbidden", "wasm-metrics-adapter-raw-explainer"),
    ] {
        let (client, _) = cluster(move |path| path.contains("explain=").then(|| status(403, message)));
        let (report, text) = asked(&client, &flags).await;
        assert!(text.contains("not asked") && text.contains(words), "{text}");
        assert_eq!(report.outcome().exit_code(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn an_adapter_that_puts_off_is_asked_again_and_not_for_ever() {
    let (client, paths) = cluster(move |path| path.contains("explain=").then(|| status(429, "ask again in a second")));
    let (report, _) = asked(&client, &["external", "x"]).await;
    assert_eq!((report.metrics[0].verdict, report.outcome().exit_code()), (Verdict::Unasked, 3));
    assert_eq!(paths.lock().unwrap().iter().filter(|path| path.contains("explain=")).count(), 5);
}

#[tokio::test]
async fn an_autoscaler_that_is_not_there_is_an_error() {
    let (client, _) = cluster(|_| None);
    let args = Command::try_parse_from(["explain", "hpa", "web", "-n", "shop"]).unwrap().explain;
    let error = inspect(&client, &args, "shop").await.unwrap_err().to_string();
    assert!(error.starts_with("cannot read HorizontalPodAutoscaler shop/web: nothing at"), "{error}");
}

#[test]
fn other_words_cannot_move_the_cursor() {
    let mut report = Report::default();
    report.unanswered.push("\u{1b}[2J\nforged".to_owned());
    let mut bytes = Vec::new();
    text::print(&report, &mut bytes).unwrap();
    assert_eq!(String::from_utf8(bytes).unwrap(), "COULD NOT ASK\n    [2J forged\n");
}
