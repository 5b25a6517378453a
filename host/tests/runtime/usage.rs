//! `resource-metrics`: what a component says of pods and nodes, and what is not believed.

use wasm_metrics_adapter::{
    model::{PodRef, Provider as _, Reason},
    runtime::Plugin,
    telemetry::{CallLabels, ObjectLabels},
};

use crate::{METRICS, Probe, probe, support};

async fn load(plugin: Probe) -> Plugin {
    plugin.load_of(support::guest("usage")).await
}

fn pods(names: &[&str]) -> Vec<PodRef> {
    names.iter().map(|name| PodRef { namespace: "shop".to_owned(), name: (*name).to_owned() }).collect()
}

#[tokio::test]
async fn pods_and_nodes_come_with_their_usage() {
    let plugin = load(probe("usage").config("containers", "main,proxy").config("cpu", "1500u")).await;
    assert!(plugin.exports().resource && !plugin.exports().custom && !plugin.exports().external);
    let asked = pods(&["web-1", "unknown-1", "web-2"]);
    let samples = plugin.pods(&asked).await.unwrap().samples;
    assert_eq!(samples.iter().map(|sample| &sample.pod).collect::<Vec<_>>(), [&asked[0], &asked[2]]);
    let [main, proxy] = samples[0].containers.as_slice() else { panic!("{samples:?}") };
    assert_eq!((main.name.as_str(), proxy.name.as_str()), ("main", "proxy"));
    assert_eq!(main.usage.cpu, "1500u".parse().unwrap());
    assert_eq!(main.usage.memory.units(), 64 << 20);
    assert_eq!(samples[0].timestamp.0, 1_700_000_000_000);
    assert_eq!(samples[0].window.as_secs(), 15);
    let nodes = plugin.nodes(&["unknown".to_owned(), "n1".to_owned()]).await.unwrap().samples;
    assert_eq!(nodes.iter().map(|sample| sample.node.as_str()).collect::<Vec<_>>(), ["n1"]);
    for object in ["pod", "node"] {
        let labels = ObjectLabels { plugin: plugin.id().to_string(), object };
        assert_eq!(METRICS.unmeasured.get_or_create(&labels).get(), 1, "{object}");
    }
}

#[tokio::test]
async fn a_long_list_is_asked_for_in_parts_and_comes_whole_and_in_order() {
    let plugin = load(probe("in-parts").limits(|limits| limits.list_items = 100)).await;
    let names: Vec<String> = (0..450).map(|number| format!("web-{number:03}")).collect();
    let asked = pods(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let samples = plugin.pods(&asked).await.unwrap().samples;
    assert!(samples.iter().map(|sample| &sample.pod).eq(&asked));
    let labels = CallLabels { plugin: plugin.id().to_string(), outcome: "ok" };
    assert_eq!(METRICS.calls.get_or_create(&labels).get(), 5);
    assert!(plugin.pods(&[]).await.unwrap().samples.is_empty());
    assert_eq!(METRICS.calls.get_or_create(&labels).get(), 5, "nothing is asked about nothing");
}

#[tokio::test]
async fn what_can_not_be_true_is_not_believed() {
    for (key, value, expected) in [
        ("cpu", "nan", "cpu of container main of pod shop/web-1: NaN is not a number"),
        ("memory", "-1", "memory of container main of pod shop/web-1: -1 is negative"),
        ("containers", "main,main", "pod shop/web-1 has container main twice"),
        ("behaviour", "twice", "pod shop/web-1 is in it twice, or was not asked for"),
        ("behaviour", "strangers", "pod other/stranger is in it twice, or was not asked for"),
    ] {
        let plugin = load(probe("liar").config(key, value)).await;
        let error = plugin.pods(&pods(&["web-1"])).await.unwrap_err();
        assert_eq!(error.reason, Reason::Internal, "{value}: {error}");
        assert!(error.to_string().contains(expected), "{value}: {error}");
    }
    let plugin = load(probe("liar").config("nodeCpu", "-1n")).await;
    let error = plugin.nodes(&["n1".to_owned()]).await.unwrap_err();
    assert!(error.message.contains("cpu of node n1: -1n is negative"), "{error}");
}

#[tokio::test]
async fn a_part_that_fails_fails_the_list() {
    let plugin = load(probe("down").config("behaviour", "fails")).await;
    let error = plugin.pods(&pods(&["web-1"])).await.unwrap_err();
    assert_eq!((error.reason, error.message.as_str()), (Reason::Unavailable, "the backend is down"));
    let other = probe("other").load_of(support::guest("minimal")).await;
    let error = other.pods(&pods(&["web-1"])).await.unwrap_err();
    assert_eq!(error.to_string(), "plugin plugins/other: the plugin has no resource metrics");
}
