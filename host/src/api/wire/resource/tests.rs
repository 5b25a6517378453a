use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;

use super::*;
use crate::{
    api::{
        encoding::{Document, Encoding, Text, TypeMeta},
        wire::{Include, MetaVersion, Table},
    },
    model::{PodRef, QuantityFormat},
};

/// An object as Go's packages write it (e2e/go/golden/resource).
#[derive(Deserialize)]
struct Sample {
    name: String,
    json: String,
    yaml: String,
    /// In base64.
    protobuf: String,
}

/// 2026-01-02T03:04:05Z
const NOW: UnixMillis = UnixMillis(1_767_323_045_000);
/// 2026-01-02T03:03:45.9Z
const THEN: UnixMillis = UnixMillis(1_767_323_025_900);

fn usage(cpu: &str, memory: i64) -> Usage {
    let memory = Quantity::integer(memory).with_format(QuantityFormat::BinarySi);
    Usage { cpu: cpu.parse().unwrap(), memory }
}

fn measurable(namespace: &str, name: &str, labels: &[(&str, &str)]) -> Measurable {
    let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Measurable { namespace: namespace.to_owned(), name: name.to_owned(), labels }
}

fn pod(name: &str, window: u64, containers: &[(&str, Usage)]) -> PodSample {
    let containers =
        containers.iter().map(|(name, usage)| ContainerUsage { name: (*name).to_owned(), usage: *usage }).collect();
    let pod = PodRef { namespace: "shop".to_owned(), name: name.to_owned() };
    PodSample { pod, timestamp: THEN, window: Duration::from_millis(window), containers }
}

/// An object in every encoding.
fn written(name: &str, document: &impl Document) -> (String, String, String, Vec<u8>) {
    let bytes = |encoding: Encoding| encoding.write(document, false).unwrap();
    let text = |encoding| String::from_utf8(bytes(encoding)).unwrap();
    (name.to_owned(), text(Encoding::JSON), text(Encoding::YAML), bytes(Encoding::Protobuf))
}

#[test]
fn documents_are_those_of_go() {
    let web = measurable("shop", "web-1", &[("a/empty", ""), ("app", "web")]);
    let bare = measurable("shop", "web-2", &[]);
    let web_sample = pod("web-1", 90_250, &[("main", usage("123456789n", 20 << 20)), ("proxy", usage("0", 1536))]);
    let bare_sample = pod("web-2", 15_000, &[("main", usage("500m", 0))]);
    let node = measurable("", "n1", &[("kubernetes.io/os", "linux")]);
    let window = Duration::from_secs(3600);
    let node_sample = NodeSample { node: "n1".to_owned(), timestamp: THEN, window, usage: usage("3", 32_000_000_001) };

    let web = || PodMetrics::new(&web, &web_sample, NOW);
    let node = || NodeMetrics::new(&node, &node_sample, NOW);
    let written = [
        written("pods", &PodMetrics::list(vec![web(), PodMetrics::new(&bare, &bare_sample, NOW)])),
        written("no pods", &PodMetrics::list(Vec::new())),
        written("pod", &web().single()),
        written("nodes", &NodeMetrics::list(vec![node()])),
        written("node", &node().single()),
    ];
    let golden: Vec<Sample> = serde_json::from_str(include_str!("../../../../tests/golden/resource.json")).unwrap();
    assert_eq!(golden.len(), written.len());
    for (sample, ours) in golden.into_iter().zip(written) {
        let protobuf = STANDARD.decode(sample.protobuf).unwrap();
        assert_eq!(ours, (sample.name, sample.json, sample.yaml, protobuf));
    }
}

#[test]
fn a_table_adds_up_the_containers() {
    let web = measurable("shop", "web-1", &[]);
    let sample = pod("web-1", 15_000, &[("main", usage("123456789n", 20 << 20)), ("proxy", usage("1", 1536))]);
    let items = [PodMetrics::new(&web, &sample, NOW)];
    let meta = TypeMeta { kind: PodMetrics::KIND, api_version: "metrics.k8s.io/v1beta1" };
    let table = Text::Json.write(&Table::new(MetaVersion::V1, Include::None, meta, &items), false).unwrap();
    let table: Value = serde_json::from_slice(&table).unwrap();
    let columns = table["columnDefinitions"].as_array().unwrap().iter();
    let columns: Vec<_> =
        columns.map(|column| (column["name"].as_str().unwrap(), column["format"].as_str().unwrap())).collect();
    assert_eq!(columns, [("Name", "name"), ("cpu", "quantity"), ("memory", "quantity"), ("Window", "duration")]);
    // 20 MiB and 1536 bytes are no whole number of KiB.
    assert_eq!(table["rows"][0]["cells"], serde_json::json!(["web-1", "1123456789n", "20973056", "15s"]));
    let node = measurable("", "n1", &[]);
    let window = Duration::from_secs(60);
    let node_sample = NodeSample { node: "n1".to_owned(), timestamp: THEN, window, usage: usage("3", 32 << 30) };
    assert_eq!(NodeMetrics::new(&node, &node_sample, NOW).cells(), ["n1", "3", "32Gi", "1m0s"]);
}

#[test]
fn durations_print_as_in_go() {
    for (nanos, expected) in [
        (0, "0s"),
        (1, "1ns"),
        (1_100, "1.1µs"),
        (2_200_000, "2.2ms"),
        (500_000_000, "500ms"),
        (1_000_000_000, "1s"),
        (15_000_000_000, "15s"),
        (20_500_000_000, "20.5s"),
        (60_000_000_000, "1m0s"),
        (90_250_000_000, "1m30.25s"),
        (3_600_000_000_000, "1h0m0s"),
        (4_294_967_295_000_000, "1193h2m47.295s"),
    ] {
        assert_eq!(go_duration_text(Duration::from_nanos(nanos)), expected);
    }
}
