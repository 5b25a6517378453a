use super::*;
use crate::{
    api::{CustomVersion, encoding::tests::Golden},
    model::{CustomSample, ExternalSample, Selector},
};

/// 2026-01-02T03:04:05.678Z
const THEN: UnixMillis = UnixMillis(1_767_323_045_678);

fn labels(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn external_metrics_are_written_as_in_go() {
    let mut golden = Golden::of("external: ");
    let sample = |value: &str, window: Option<u64>, timestamp, pairs: &[(&str, &str)]| ExternalSample {
        labels: labels(pairs),
        value: value.parse().unwrap(),
        timestamp,
        window: window.map(Duration::from_secs),
    };
    let long = "words and words and words and words and words and words and words and words and words and words";
    let samples = [
        sample("42", None, THEN, &[]),
        sample("10.5", Some(60), THEN, &[("a", ""), ("b", "x<y>&z"), ("c/d", "ü\u{2028} \"quoted\"")]),
        sample(
            "-3",
            Some(0),
            THEN,
            &[("dash", "- x"), ("no", "yes"), ("null", "~"), ("number", "0x1f"), ("time", "2026-01-02")],
        ),
        sample("1n", None, UnixMillis(0), &[("lines", "a\nb")]),
        sample("-1.5u", None, UnixMillis(u64::MAX), &[("key", "a: b"), ("other", "#c")]),
        sample("9223372036854775807", None, THEN, &[("k", "v")]),
        sample("0", None, THEN, &[("long", long)]),
    ];
    let list = |samples: &[ExternalSample], golden: &mut Golden, name| {
        let items = samples.iter().map(|sample| ExternalMetricValue::new("queue_ready", sample)).collect();
        golden.compare(name, &List::new(GroupVersion::External, items));
    };
    list(&samples, &mut golden, "external: values");
    list(&[], &mut golden, "external: no values");
    golden.finish();
}

#[test]
fn custom_metrics_are_written_as_in_go() {
    let mut golden = Golden::of("custom ");
    let sample =
        |window| CustomSample { object: String::new(), value: "10.5".parse().unwrap(), timestamp: THEN, window };
    let (with_window, without) = (sample(Some(Duration::from_secs(60))), sample(None));
    let described = || {
        [("Pod", "ns", "p"), ("Node", "", "n1")].map(|(kind, namespace, name)| DescribedObject {
            kind,
            namespace,
            name,
            api_version: "/v1",
        })
    };
    let (old, new) = (GroupVersion::Custom(CustomVersion::V1Beta1), GroupVersion::Custom(CustomVersion::V1Beta2));
    for (name, selector) in [
        ("no selector", ""),
        ("labels", "verb=GET,zone="),
        ("expressions", "code notin (500,503),!gone,path,verb in (GET,PUT)"),
        ("both", "verb=GET,path"),
    ] {
        let selector = Selector::parse(selector).unwrap();
        let wire = LabelSelector::of(&selector).unwrap();
        let metric = MetricIdentifier { name: "qps", selector: (!selector.is_everything()).then_some(&wire) };
        let items = described().map(|object| MetricValueV1Beta1::new(&with_window, object, metric));
        golden.compare(&format!("custom v1beta1: {name}"), &List::new(old, items.into()));
        let items = described().map(|object| MetricValueV1Beta2::new(&without, object, metric));
        golden.compare(&format!("custom v1beta2: {name}"), &List::new(new, items.into()));
    }
    golden.compare("custom v1beta1: no values", &List::<MetricValueV1Beta1<'_>>::new(old, Vec::new()));
    golden.compare("custom v1beta2: no values", &List::<MetricValueV1Beta2<'_>>::new(new, Vec::new()));
    golden.finish();
}

#[test]
fn windows_round_up() {
    for (window, expected) in [(0, 0), (1, 1), (999, 1), (1000, 1), (1001, 2), (60_000, 60)] {
        assert_eq!(seconds(Some(Duration::from_millis(window))), Some(expected), "{window} ms");
    }
    assert_eq!(seconds(None), None);
}

#[test]
fn times_are_whole_seconds() {
    let text = |millis| whole_seconds(UnixMillis(millis)).map(|time| time.to_string());
    assert_eq!(text(1_767_323_045_999).as_deref(), Some("2026-01-02T03:04:05Z"));
    assert_eq!(text(0).as_deref(), Some("1970-01-01T00:00:00Z"));
    assert_eq!(text(u64::MAX), None);
}
