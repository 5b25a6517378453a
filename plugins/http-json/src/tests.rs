//! The plugin as the adapter calls it, run natively against answers that the test sets.

use metrics_plugin::http::FetchError;
use metrics_plugin::testing::{Answer, Host};
use metrics_plugin::{Number, Operator, Requirement};

use super::*;

const METRICS: &str = r#"[
    {"name": "queue_depth", "type": "external", "url": "https://mq/queues?ns={namespace}",
     "headers": {"accept": "application/json"}, "items": "$.queues[*]", "value": "$.messages", "labels": {"queue": "$.name"}},
    {"name": "total", "type": "external", "url": "https://mq/queues", "value": "$.queues[*].messages", "aggregate": "sum"},
    {"name": "queues", "type": "external", "url": "https://mq/queues", "value": "$.queues[*]", "aggregate": "count"},
    {"name": "depth_of", "type": "external", "url": "https://mq/queues/{labels.queue}", "value": "$.messages", "scale": "0.5"},
    {"name": "search", "type": "external", "method": "POST", "url": "https://mq/search", "body": {"size": 0}, "value": "$.hits"},
    {"name": "rps", "type": "custom", "resource": "pods", "url": "https://apm/{namespace}/pods/{object}", "value": "$.rps"},
    {"name": "load", "type": "custom", "resource": "deployments.apps", "url": "https://apm/load", "items": "$[*]",
     "object": "$.app", "value": "$.load", "labels": {"zone": "$.zone"}}
]"#;

const QUEUES: &str = r#"{"queues": [{"name": "orders", "messages": 7}, {"name": "mail", "messages": 0.25}]}"#;

fn host() -> Host {
    let pods = |host: Host, name| host.object("pods", name, &[("app", "front")]);
    ["front-1", "front-2", "front-3"].into_iter().fold(Host::new(), pods).config("metrics", METRICS)
}

fn get(host: &Host, metric: &str, series: &Selector) -> Result<Vec<external::Sample>, Failure> {
    host.run(|| HttpJson::get("shop", metric, series))
}

fn by_name(host: &Host, resource: &str, metric: &str, object: &str) -> Result<custom::Sample, Failure> {
    host.run(|| HttpJson::get_by_name(&custom::Metric::new(resource, metric), Some("shop"), object, &Selector::all()))
}

fn by_selector(host: &Host, resource: &str, metric: &str, objects: &Selector) -> Result<Vec<custom::Sample>, Failure> {
    let all = Selector::all();
    host.run(|| HttpJson::get_by_selector(&custom::Metric::new(resource, metric), Some("shop"), objects, &all))
}

fn quarter() -> Number {
    "0.25".parse().unwrap()
}

#[test]
fn every_series_of_an_answer_is_a_sample() {
    let host = host();
    host.respond("GET", "https://mq/queues?ns=shop", 200, QUEUES);
    let orders = external::Sample::new(7).label("queue", "orders");
    let mail = external::Sample::new(quarter()).label("queue", "mail");
    assert_eq!(get(&host, "queue_depth", &Selector::all()), Ok(vec![orders.clone(), mail]));
    assert_eq!(get(&host, "queue_depth", &Selector::all().equals("queue", "orders")), Ok(vec![orders]));
    let other = Requirement { key: "queue".to_owned(), operator: Operator::DoesNotExist, values: vec![] };
    assert_eq!(get(&host, "queue_depth", &Selector::all().and(other)), Ok(vec![]));
    let sent = host.requests().swap_remove(0);
    assert_eq!((sent.headers[0].name.as_str(), sent.headers[0].value.as_str()), ("accept", "application/json"));
}

#[test]
fn many_matches_become_one_value() {
    let host = host();
    host.respond("GET", "https://mq/queues", 200, QUEUES);
    assert_eq!(
        get(&host, "total", &Selector::all()),
        Ok(vec![external::Sample::new("7.25".parse::<Number>().unwrap())])
    );
    assert_eq!(get(&host, "queues", &Selector::all()), Ok(vec![external::Sample::new(2)]));
}

#[test]
fn no_data_is_zero_only_where_it_is_counted() {
    let host = host();
    host.respond("GET", "https://mq/queues", 200, r#"{"queues": []}"#);
    assert_eq!(get(&host, "queues", &Selector::all()), Ok(vec![external::Sample::new(0)]));
    assert_eq!(get(&host, "queues", &Selector::all().equals("queue", "orders")), Ok(vec![]));
    let failure = get(&host, "total", &Selector::all()).unwrap_err();
    let expected = "metric `total`: the paths match no value in the answer; check `items` and `value`";
    assert_eq!(failure, Failure::unavailable(expected));
}

#[test]
fn a_label_in_the_url_comes_from_the_selector_and_stays_on_the_sample() {
    let host = host();
    host.respond("GET", "https://mq/queues/or%2Fders", 200, r#"{"messages": 7}"#);
    let samples = get(&host, "depth_of", &Selector::all().equals("queue", "or/ders"));
    assert_eq!(samples, Ok(vec![external::Sample::new("3.5".parse::<Number>().unwrap()).label("queue", "or/ders")]));
    let failure = get(&host, "depth_of", &Selector::all()).unwrap_err();
    assert_eq!(failure, Failure::bad_request("metric `depth_of` needs `queue=VALUE` in its selector"));
}

#[test]
fn method_and_body_are_sent_as_configured() {
    let host = host();
    host.respond("POST", "https://mq/search", 200, r#"{"hits": "12"}"#);
    assert_eq!(get(&host, "search", &Selector::all()), Ok(vec![external::Sample::new(12)]));
    let sent = host.requests().swap_remove(0);
    assert_eq!(sent.body, br#"{"size":0}"#);
    assert_eq!((sent.headers[0].name.as_str(), sent.headers[0].value.as_str()), ("content-type", "application/json"));
}

#[test]
fn objects_with_a_url_each_are_asked_at_once_and_unknown_ones_left_out() {
    let host = host();
    host.respond("GET", "https://apm/shop/pods/front-1", 200, r#"{"rps": 3}"#);
    host.respond("GET", "https://apm/shop/pods/front-2", 404, "");
    host.respond("GET", "https://apm/shop/pods/front-3", 200, r#"{"rps": 5}"#);
    let front = Selector::all().equals("app", "front");
    let expected = vec![custom::Sample::new("front-1", 3), custom::Sample::new("front-3", 5)];
    assert_eq!(by_selector(&host, "pods", "rps", &front), Ok(expected));
    assert_eq!(by_name(&host, "pods", "rps", "front-3"), Ok(custom::Sample::new("front-3", 5)));
    assert_eq!(by_name(&host, "pods", "rps", "front-2").unwrap_err().reason, Reason::ObjectNotFound);
    host.respond("GET", "https://apm/shop/pods/front-3", 503, "");
    assert_eq!(by_selector(&host, "pods", "rps", &front).unwrap_err().reason, Reason::Unavailable);
}

#[test]
fn one_answer_may_tell_all_objects() {
    let host = host().object("deployments.apps", "web", &[]).object("deployments.apps", "idle", &[]);
    let body = r#"[{"app": "web", "load": 0.25, "zone": "a"}, {"app": "elsewhere", "load": 9}]"#;
    host.respond("GET", "https://apm/load", 200, body);
    assert_eq!(
        by_selector(&host, "deployments.apps", "load", &Selector::all()),
        Ok(vec![custom::Sample::new("web", quarter())])
    );
    assert_eq!(host.requests().len(), 1);
    assert_eq!(by_name(&host, "deployments.apps", "load", "web"), Ok(custom::Sample::new("web", quarter())));
    assert_eq!(by_name(&host, "deployments.apps", "load", "idle").unwrap_err().reason, Reason::ObjectNotFound);
}

#[test]
fn several_values_of_one_object_need_a_choice() {
    let host = host();
    let body = r#"[{"app": "web", "load": 1, "zone": "a"}, {"app": "web", "load": 2, "zone": "b"}]"#;
    host.respond("GET", "https://apm/load", 200, body);
    let failure = by_name(&host, "deployments.apps", "load", "web").unwrap_err();
    let text = "metric `load`: deployments.apps `web` has several values; set `aggregate`, or choose one by the metric's selector";
    assert_eq!(failure, Failure::bad_request(text));
    let zone = Selector::all().equals("zone", "b");
    let metric = custom::Metric::new("deployments.apps", "load");
    let chosen = host.run(|| HttpJson::get_by_name(&metric, Some("shop"), "web", &zone));
    assert_eq!(chosen, Ok(custom::Sample::new("web", 2)));
}

#[test]
fn a_backends_failure_keeps_its_reason_and_names_the_metric() {
    let host = host();
    for (answer, expected) in [
        (Answer::new(401, ""), Reason::Unauthorized),
        (Answer::new(404, ""), Reason::MetricNotFound),
        (Answer::new(500, ""), Reason::Unavailable),
        (Answer::new(200, "<html>"), Reason::Unavailable),
        (Answer::new(200, r#"{"queues": [{"messages": "many"}]}"#), Reason::Unavailable),
        (Answer::error(FetchError::Timeout), Reason::Timeout),
    ] {
        host.respond_with("GET", "https://mq/queues", answer.clone());
        let failure = get(&host, "total", &Selector::all()).unwrap_err();
        assert_eq!(failure.reason, expected, "{answer:?}");
        assert!(failure.message.starts_with("metric `total`: "), "{}", failure.message);
    }
    host.respond_with("GET", "https://mq/queues", Answer::new(429, "").header("retry-after", "7"));
    assert_eq!(get(&host, "total", &Selector::all()).unwrap_err().retry_after_ms, Some(7_000));
}

#[test]
fn metrics_are_listed_and_others_not_found() {
    let host = host();
    let names = host.run(<HttpJson as ExternalMetrics>::list_metrics).unwrap();
    assert_eq!(names, ["queue_depth", "total", "queues", "depth_of", "search"]);
    let expected = vec![custom::Metric::new("pods", "rps"), custom::Metric::new("deployments.apps", "load")];
    assert_eq!(host.run(<HttpJson as CustomMetrics>::list_metrics), Ok(expected));
    assert_eq!(get(&host, "rps", &Selector::all()).unwrap_err().reason, Reason::MetricNotFound);
    assert_eq!(by_name(&host, "services", "rps", "a").unwrap_err().reason, Reason::MetricNotFound);
}

#[test]
fn good_settings_are_accepted() {
    assert_eq!(host().run(HttpJson::validate), Ok(()));
}

#[test]
fn a_mistake_names_metric_and_field() {
    let external = |rest: &str| format!(r#"[{{"name": "a", "type": "external", {rest}}}]"#);
    let custom = |rest: &str| format!(r#"[{{"name": "a", "type": "custom", {rest}}}]"#);
    for (metrics, expected) in [
        ("[]".to_owned(), "config key `metrics` is empty"),
        ("{}".to_owned(), "config key `metrics`: invalid type: map, expected a sequence"),
        (r#"[{"type": "external"}]"#.to_owned(), "metric number 1: missing field `name`"),
        (external(r#""url": "http://a", "valeu": "$""#), "metric `a`: unknown field `valeu`, expected one of `name`"),
        (external(r#""url": "http://a""#), "metric `a`: missing field `value`"),
        (external(r#""url": "a", "value": "$""#), "metric `a`, field `url`: `a` is no http or https URL"),
        (
            external(r#""url": "http://a", "value": "$.[""#),
            "metric `a`, field `value`: `$.[` is no JSONPath (RFC 9535)",
        ),
        (
            external(r#""url": "http://a", "value": "$", "labels": {"x": "$["}"#),
            "metric `a`, field `labels`: `$[` is no JSONPath",
        ),
        (
            external(r#""url": "http://a", "value": "$", "scale": "much""#),
            "metric `a`, field `scale`: `much` is no number",
        ),
        (
            external(r#""url": "http://a", "value": "$", "scale": []"#),
            "metric `a`, field `scale`: it is neither a number nor a text",
        ),
        (external(r#""url": "http://a", "value": "$", "aggregate": "median""#), "metric `a`: unknown variant `median`"),
        (
            external(r#""url": "http://a", "value": "$", "method": "CONNECT""#),
            "metric `a`, field `method`: `CONNECT` is no method",
        ),
        (
            external(r#""url": "http://a/{object}", "value": "$""#),
            "metric `a`, field `url`: an external metric describes no",
        ),
        (
            external(r#""url": "http://a", "value": "$", "resource": "pods""#),
            "metric `a`, field `resource`: an external metric",
        ),
        (
            custom(r#""url": "http://a/{object}", "value": "$""#),
            "metric `a`, field `resource`: a custom metric needs the kind",
        ),
        (
            custom(r#""url": "http://a", "value": "$", "resource": "pods""#),
            "metric `a`, field `object`: a custom metric needs",
        ),
        (
            custom(r#""url": "http://a/{object}", "value": "$", "resource": "pods", "object": "$""#),
            "metric `a`, field `object`: {object} in `url` already names the object",
        ),
        (
            r#"[{"name": "a/b", "type": "external", "url": "http://a", "value": "$"}]"#.to_owned(),
            "metric `a/b`, field `name`",
        ),
        (
            r#"[{"name": "a", "type": "external", "url": "http://a", "value": "$"},
                {"name": "a", "type": "external", "url": "http://b", "value": "$"}]"#
                .to_owned(),
            "metric `a` is described twice",
        ),
    ] {
        let failure = Host::new().config("metrics", metrics.as_str()).run(HttpJson::validate).unwrap_err();
        assert_eq!(failure.reason, Reason::BadRequest, "{metrics}");
        assert!(failure.message.starts_with(expected), "{metrics} gives: {}", failure.message);
    }
    let failure = Host::new().run(HttpJson::validate).unwrap_err();
    assert_eq!(failure.message, "config key `metrics` is missing; set it under `config` in plugin.yaml");
}
