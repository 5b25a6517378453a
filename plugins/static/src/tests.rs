//! The plugin as the adapter calls it, run natively.

use metrics_plugin::testing::Host;
use metrics_plugin::{Label, Number, Operator, Reason, Requirement};

use super::*;

const EXTERNAL_LINES: &str = r#"
# the queues
queue_depth{queue="orders"} 42
queue_depth{queue="mail"} 2500m
total 1Ki
"#;

const CUSTOM_LINES: &str = r#"
pods/*/http_requests 10
pods/front-1/http_requests 99
services/front/requests_per_second 2500m
deployments.apps/web/rps{verb="GET"} 3
deployments.apps/web/rps{verb="POST"} 4
namespaces/shop/orders 5
"#;

fn host() -> Host {
    Host::new()
        .config("external", EXTERNAL_LINES)
        .config("custom", CUSTOM_LINES)
        .object("pods", "front-1", &[("app", "front")])
        .object("pods", "front-2", &[("app", "front")])
        .object("pods", "back-1", &[("app", "back")])
        .object("services", "front", &[])
        .object("services", "back", &[])
}

fn external(metric: &str, series: &Selector) -> Result<Vec<external::Sample>, Failure> {
    host().run(|| Static::get("shop", metric, series))
}

fn by_name(resource: &str, object: &str, metric: &str, series: &Selector) -> Result<custom::Sample, Failure> {
    host().run(|| Static::get_by_name(&custom::Metric::new(resource, metric), Some("shop"), object, series))
}

fn by_selector(resource: &str, metric: &str, objects: &Selector) -> Result<Vec<custom::Sample>, Failure> {
    host().run(|| {
        Static::get_by_selector(&custom::Metric::new(resource, metric), Some("shop"), objects, &Selector::all())
    })
}

fn rejected(key: &str, text: &str) -> Failure {
    Host::new().config(key, text).run(Static::validate).unwrap_err()
}

#[test]
fn what_is_written_is_listed_once_each() {
    let (external, custom) =
        host().run(|| (<Static as ExternalMetrics>::list_metrics(), <Static as CustomMetrics>::list_metrics()));
    assert_eq!(external, Ok(vec!["queue_depth".to_owned(), "total".to_owned()]));
    let expected = [
        ("pods", "http_requests"),
        ("services", "requests_per_second"),
        ("deployments.apps", "rps"),
        ("namespaces", "orders"),
    ];
    assert_eq!(custom, Ok(expected.map(|(resource, name)| custom::Metric::new(resource, name)).to_vec()));
}

#[test]
fn external_series_are_filtered_by_the_selector() {
    let orders = external::Sample::new(42).label("queue", "orders");
    let mail = external::Sample::new("2500m".parse::<Number>().unwrap()).label("queue", "mail");
    assert_eq!(external("queue_depth", &Selector::all()), Ok(vec![orders, mail.clone()]));
    let not_orders =
        Requirement { key: "queue".to_owned(), operator: Operator::NotIn, values: vec!["orders".to_owned()] };
    assert_eq!(external("queue_depth", &Selector::all().and(not_orders)), Ok(vec![mail]));
    assert_eq!(external("queue_depth", &Selector::all().equals("queue", "none")), Ok(vec![]));
    assert_eq!(external("total", &Selector::all()), Ok(vec![external::Sample::new(1024)]));
    assert_eq!(external("absent", &Selector::all()).unwrap_err().reason, Reason::MetricNotFound);
}

#[test]
fn an_objects_own_line_stands_before_the_one_for_all() {
    let all = Selector::all();
    assert_eq!(by_name("pods", "front-1", "http_requests", &all), Ok(custom::Sample::new("front-1", 99)));
    assert_eq!(by_name("pods", "any-name", "http_requests", &all), Ok(custom::Sample::new("any-name", 10)));
    assert_eq!(by_name("namespaces", "shop", "orders", &all), Ok(custom::Sample::new("shop", 5)));
    assert_eq!(by_name("services", "back", "requests_per_second", &all).unwrap_err().reason, Reason::ObjectNotFound);
    assert_eq!(by_name("services", "front", "absent", &all).unwrap_err().reason, Reason::MetricNotFound);
    assert_eq!(by_name("deployments", "web", "rps", &all).unwrap_err().reason, Reason::MetricNotFound);
}

#[test]
fn by_selector_answers_for_the_objects_that_exist_and_have_a_value() {
    let front = Selector::all().equals("app", "front");
    let expected = vec![custom::Sample::new("front-1", 99), custom::Sample::new("front-2", 10)];
    assert_eq!(by_selector("pods", "http_requests", &front), Ok(expected));
    let number = "2500m".parse::<Number>().unwrap();
    let services = by_selector("services", "requests_per_second", &Selector::all());
    assert_eq!(services, Ok(vec![custom::Sample::new("front", number)]));
    assert_eq!(by_selector("pods", "absent", &front).unwrap_err().reason, Reason::MetricNotFound);
}

#[test]
fn several_series_of_one_object_need_the_metrics_selector() {
    let get = by_name("deployments.apps", "web", "rps", &Selector::all().equals("verb", "GET"));
    assert_eq!(get, Ok(custom::Sample::new("web", 3)));
    let failure = by_name("deployments.apps", "web", "rps", &Selector::all()).unwrap_err();
    assert_eq!(failure.reason, Reason::BadRequest);
    assert_eq!(
        failure.message,
        "deployments.apps `web` has several series of `rps`: {verb=\"GET\"}, {verb=\"POST\"}; choose one by the metric's selector"
    );
}

#[test]
fn good_settings_are_accepted() {
    assert_eq!(host().run(Static::validate), Ok(()));
    assert_eq!(Host::new().config("external", "a 1").run(Static::validate), Ok(()));
}

#[test]
fn a_mistake_in_the_settings_is_told_with_key_and_line() {
    for (key, text, expected) in [
        (
            "external",
            "a 1\nb",
            "config key `external`, line 2: `b` has no value; write a quantity behind it, as in `b 42`",
        ),
        (
            "external",
            "a 1\n\na 2",
            "config key `external`, line 3: it repeats the series of line 1; remove one, or tell them apart by a label",
        ),
        (
            "external",
            "a/b 1",
            "config key `external`, line 1: `a/b` is no metric name; it must not be empty, `.` or `..`, nor hold `/` or `%`",
        ),
        (
            "custom",
            "pods/a 1",
            "config key `custom`, line 1: `pods/a` is not RESOURCE/OBJECT/METRIC, as in pods/*/http_requests or deployments.apps/web/rps",
        ),
        (
            "custom",
            "pods//x 1",
            "config key `custom`, line 1: `pods//x` is not RESOURCE/OBJECT/METRIC, as in pods/*/http_requests or deployments.apps/web/rps",
        ),
        (
            "custom",
            "pods/a/.. 1",
            "config key `custom`, line 1: `..` is no metric name; it must not be empty, `.` or `..`, nor hold `/` or `%`",
        ),
        ("other", "x", "config key `other` is unknown; the keys are external and custom"),
        ("external", "# nothing", "there are no samples; write some under config key `external` or `custom`"),
    ] {
        assert_eq!(rejected(key, text), Failure::bad_request(expected));
    }
}

#[test]
fn labels_keep_their_values_to_the_letter() {
    let host = Host::new().config("external", r#"a{path="/x?y=\"z\"",empty=""} 1"#);
    let samples = host.run(|| Static::get("shop", "a", &Selector::all().equals("empty", ""))).unwrap();
    assert_eq!(samples[0].labels, [Label::new("empty", ""), Label::new("path", "/x?y=\"z\"")]);
}
