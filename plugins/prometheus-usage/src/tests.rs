//! The plugin as the adapter calls it, run natively against answers that the test sets.

use metrics_plugin::Reason;
use metrics_plugin::testing::Host;
use serde_json::{Value, json};

use super::*;

const URL: &str = "http://prometheus:9090";
const CONTAINERS: &str = r#"container!="",container!="POD""#;

fn host() -> Host {
    Host::new().config("url", format!("{URL}/"))
}

fn url(query: &str) -> String {
    Request::get(format!("{URL}/api/v1/query")).query("query", query).url().to_owned()
}

fn answer(host: &Host, query: &str, result: &Value) {
    let body = json!({ "status": "success", "data": { "resultType": "vector", "result": result } });
    host.respond("GET", &url(query), 200, body.to_string());
}

fn container(pod: &str, name: &str, value: &str) -> Value {
    let metric = json!({ "namespace": "shop", "pod": pod, "container": name });
    json!({ "metric": metric, "value": [1_700_000_000.25, value] })
}

fn pod(name: &str) -> PodRef {
    PodRef { namespace: "shop".to_owned(), name: name.to_owned() }
}

/// The default queries for pods, with these matchers.
fn pod_queries(matchers: &str) -> [String; 2] {
    let by = "sum by (namespace, pod, container)";
    [
        format!("{by} (rate(container_cpu_usage_seconds_total{{{CONTAINERS},{matchers}}}[5m]))"),
        format!("{by} (container_memory_working_set_bytes{{{CONTAINERS},{matchers}}})"),
    ]
}

fn pods(host: &Host, names: &[&str]) -> Result<Vec<Pod>, Failure> {
    let refs: Vec<PodRef> = names.iter().map(|name| pod(name)).collect();
    host.run(|| PrometheusUsage::pods(&refs))
}

#[test]
fn pods_have_each_container_with_both_values() {
    let host = host();
    let [cpu, memory] = pod_queries(r#"namespace=~"shop",pod=~"gone|web-1|web[.]2""#);
    answer(
        &host,
        &cpu,
        &json!([
            container("web-1", "main", "0.25"),
            container("web-1", "proxy", "1e-05"),
            container("web.2", "main", "2")
        ]),
    );
    answer(
        &host,
        &memory,
        &json!([
            container("web-1", "proxy", "1024"),
            container("web-1", "main", "67108864"),
            container("web.2", "main", "1")
        ]),
    );
    let answers = pods(&host, &["web-1", "gone", "web.2"]).unwrap();
    assert_eq!(answers.iter().map(|pod| pod.ref_.name.as_str()).collect::<Vec<_>>(), ["web-1", "web.2"]);
    let container = |name: &str, cpu, memory| {
        let usage = Usage { cpu: Number::Float(cpu), memory: Number::Float(memory) };
        Container { name: name.to_owned(), usage }
    };
    assert_eq!(answers[0].containers, [container("main", 0.25, 67_108_864.0), container("proxy", 1e-5, 1024.0)]);
    assert_eq!((answers[0].timestamp, answers[0].window_ms), (1_700_000_000_250, 300_000));
    assert_eq!(host.requests().len(), 2, "both queries, and no others");
}

#[test]
fn a_container_without_a_rate_takes_its_pod_out_and_one_that_ended_does_not() {
    let host = host();
    let [cpu, memory] = pod_queries(r#"namespace=~"shop",pod=~"a|b|c|d|e""#);
    let of = |names: &[(&str, &str, &str)]| {
        Value::from_iter(names.iter().map(|(pod, name, value)| container(pod, name, value)))
    };
    answer(
        &host,
        &cpu,
        &of(&[
            ("a", "main", "1"),
            ("a", "new", "NaN"),
            ("b", "main", "1"),
            ("b", "ended", "1"),
            ("c", "main", "1"),
            ("e", "ended", "1"),
        ]),
    );
    answer(
        &host,
        &memory,
        &of(&[("a", "main", "1"), ("a", "new", "1"), ("b", "main", "1"), ("c", "main", "1"), ("d", "main", "1")]),
    );
    let answers = pods(&host, &["a", "b", "c", "d", "e"]).unwrap();
    assert_eq!(answers.iter().map(|pod| pod.ref_.name.as_str()).collect::<Vec<_>>(), ["b", "c"]);
    assert_eq!(answers[0].containers.iter().map(|container| container.name.as_str()).collect::<Vec<_>>(), ["main"]);
}

#[test]
fn nodes_are_the_cgroups_of_all() {
    let host = host().config("window", "90s");
    let series = |name: &str, value: &str| json!({ "metric": { "node": name }, "value": [1_700_000_000, value] });
    let matchers = r#"id="/",node=~"n1|n2""#;
    let cpu = format!("sum by (node) (rate(container_cpu_usage_seconds_total{{{matchers}}}[90s]))");
    let memory = format!("sum by (node) (container_memory_working_set_bytes{{{matchers}}})");
    answer(&host, &cpu, &json!([series("n1", "1.5"), series("n2", "+Inf")]));
    answer(&host, &memory, &json!([series("n1", "1073741824"), series("n2", "1"), series("n3", "1")]));
    let answers = host.run(|| PrometheusUsage::nodes(&["n1".to_owned(), "n2".to_owned()])).unwrap();
    assert_eq!(answers.len(), 1);
    assert_eq!((answers[0].name.as_str(), answers[0].window_ms), ("n1", 90_000));
    assert_eq!(answers[0].usage, Usage { cpu: Number::Float(1.5), memory: Number::Float(1_073_741_824.0) });
}

#[test]
fn many_names_are_not_spelled_out() {
    let many = |count: usize| -> Vec<PodRef> { (0..count).map(|number| pod(&format!("p{number}"))).collect() };
    assert_eq!(queries::select_pods(&many(101)), r#"namespace=~"shop""#);
    assert_eq!(queries::select_pods(&many(2)), r#"namespace=~"shop",pod=~"p0|p1""#);
    let nodes: Vec<String> = (0..101).map(|number| format!("n{number}")).collect();
    assert_eq!(queries::select_nodes(&nodes), "");
}

#[test]
fn settings_are_checked_and_queries_are_free() {
    let refused = |host: Host| host.run(PrometheusUsage::validate).unwrap_err();
    assert_eq!(host().run(PrometheusUsage::validate), Ok(()));
    for (host, expected) in [
        (Host::new(), "config key `url` is missing"),
        (Host::new().config("url", "prometheus:9090"), "config key `url` is no address"),
        (host().config("window", "5"), "`5` is no window"),
        (host().config("window", "2h"), "from 1s to 1h"),
        (host().config("nodeCPU", "x"), "nodeCPU"),
    ] {
        let failure = refused(host);
        assert!(failure.reason == Reason::BadRequest && failure.message.contains(expected), "{failure:?}");
    }
    let host = host().config("nodeCpu", "cpu{{nodes}}[{window}]").config("nodeMemory", "memory");
    let series = json!([{ "metric": { "node": "n1" }, "value": [1, "1"] }]);
    answer(&host, r#"cpu{node=~"n1"}[5m]"#, &series);
    answer(&host, "memory", &series);
    assert_eq!(host.run(|| PrometheusUsage::nodes(&["n1".to_owned()])).unwrap().len(), 1);
}

#[test]
fn failures_say_what_to_do() {
    let nodes = |result: &Value| {
        let host = host().config("nodeCpu", "cpu").config("nodeMemory", "memory");
        for query in ["cpu", "memory"] {
            answer(&host, query, result);
        }
        host.run(|| PrometheusUsage::nodes(&["n1".to_owned()])).unwrap_err().message
    };
    let one = json!({ "metric": { "node": "n1" }, "value": [1, "1"] });
    assert!(nodes(&json!([one, one])).contains("several series for one object"));
    assert!(nodes(&json!([{ "metric": {}, "value": [1, "1"] }])).contains("without the label `node`"));

    let host = host().config("nodeCpu", "cpu").config("nodeMemory", "memory");
    let scalar = json!({ "status": "success", "data": { "resultType": "scalar", "result": [] } });
    host.respond("GET", &url("cpu"), 200, scalar.to_string());
    host.respond("GET", &url("memory"), 200, scalar.to_string());
    let ask = || host.run(|| PrometheusUsage::nodes(&["n1".to_owned()])).unwrap_err();
    assert!(ask().message.contains("no instant vector"), "{:?}", ask());
    host.respond("GET", &url("cpu"), 503, "down");
    assert_eq!(ask().reason, Reason::Unavailable);
}
