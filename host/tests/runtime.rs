//! The runtime room through its door, with the real engine and real components: what guests are given, what they are denied, and
//! that whatever one of them does, the others answer.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

#[path = "runtime/abuse.rs"]
mod abuse;
#[path = "runtime/compiler.rs"]
mod compiler;
#[path = "runtime/compiling.rs"]
mod compiling;
#[path = "runtime/crafted.rs"]
mod crafted;
#[path = "runtime/explain.rs"]
mod explain;
#[path = "runtime/faults.rs"]
mod faults;
#[path = "runtime/imports.rs"]
mod imports;
#[path = "runtime/isolation.rs"]
mod isolation;
#[path = "support/limits.rs"]
mod limits;
#[path = "runtime/logs.rs"]
mod logs;
#[path = "runtime/sharing.rs"]
mod sharing;
#[path = "runtime/sockets.rs"]
mod sockets;
mod support;
#[path = "runtime/usage.rs"]
mod usage;

use std::sync::{Arc, LazyLock};

use logs::logs;
use support::World;
use wasm_metrics_adapter::{
    egress,
    model::{
        CustomMetric, CustomQuery, CustomSample, ExternalAnswer, ExternalQuery, ExternalSample, FetchError,
        GroupResource, MetricName, ObjectSelection, PluginId, Provider, Selector,
    },
    runtime::{Limits, Plugin, PluginSettings, Validation},
    telemetry::Metrics,
};

/// Counts the calls of all tests.
static METRICS: LazyLock<Arc<Metrics>> = LazyLock::new(Arc::default);

async fn world() -> &'static World {
    support::world(&METRICS).await
}

/// A probe that is about to be loaded.
struct Probe {
    id: PluginId,
    config: Vec<(String, String)>,
    limits: Limits,
    origins: Vec<String>,
    credentials: Vec<egress::Credential>,
}

fn probe(name: &str) -> Probe {
    let limits = limits::limits();
    let id = PluginId { namespace: "plugins".to_owned(), name: name.to_owned() };
    Probe { id, config: Vec::new(), limits, origins: Vec::new(), credentials: Vec::new() }
}

impl Probe {
    fn config(mut self, key: &str, value: impl Into<String>) -> Self {
        self.config.push((key.to_owned(), value.into()));
        self.config.sort();
        self
    }

    fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.limits);
        self
    }

    fn origin(mut self, origin: &str) -> Self {
        self.origins.push(origin.to_owned());
        self
    }

    /// A token that the host sends to the origin.
    fn bearer(mut self, origin: &str, token: &str) -> Self {
        self.credentials.push(egress::Credential::bearer(egress::Origin::parse(origin).unwrap(), token).unwrap());
        self
    }

    async fn load(self) -> Plugin {
        self.load_of(support::guest("probe")).await
    }

    async fn load_of(self, component: bytes::Bytes) -> Plugin {
        let world = world().await;
        let code = world.runtime.compiler().compile(component).await.unwrap();
        world.runtime.load(&code, self.settings().await).unwrap()
    }

    async fn settings(self) -> PluginSettings {
        let origins = self.origins.iter().map(|origin| egress::Origin::parse(origin).unwrap()).collect();
        let credentials = self.credentials;
        let config = egress::EgressConfig {
            origins,
            credentials,
            response_bytes: 1 << 20,
            exchanges: 8,
            ..egress::EgressConfig::default()
        };
        let http = egress::Client::new(self.id.clone(), config, world().await.egress.clone());
        PluginSettings { id: self.id, config: self.config, secrets: Vec::new(), http, limits: self.limits }
    }
}

fn name(text: &str) -> MetricName {
    MetricName::new(text).unwrap()
}

async fn external(plugin: &Plugin, namespace: &str) -> Result<ExternalAnswer, FetchError> {
    external_where(plugin, namespace, "").await
}

async fn external_where(plugin: &Plugin, namespace: &str, series: &str) -> Result<ExternalAnswer, FetchError> {
    let series = Selector::parse(series).unwrap();
    let query = ExternalQuery { namespace: namespace.to_owned(), metric: name("probe"), series };
    plugin.external(&query).await
}

fn custom_query(resource: &str, namespace: Option<&str>, objects: ObjectSelection) -> CustomQuery {
    CustomQuery {
        metric: CustomMetric { resource: GroupResource::core(resource), name: name("probe") },
        namespace: namespace.map(str::to_owned),
        objects,
        series: Selector::everything(),
    }
}

fn named(object: &str) -> ObjectSelection {
    ObjectSelection::Named(object.to_owned())
}

fn selected(selector: &str) -> ObjectSelection {
    ObjectSelection::Selected(Selector::parse(selector).unwrap())
}

fn objects(samples: &[CustomSample]) -> Vec<&str> {
    samples.iter().map(|sample| sample.object.as_str()).collect()
}

fn label<'a>(sample: &'a ExternalSample, key: &str) -> &'a str {
    let found = sample.labels.iter().find(|(name, _)| name == key);
    found.map_or_else(|| panic!("no label {key} in {sample:?}"), |(_, value)| value)
}

#[tokio::test]
async fn an_external_metric_comes_with_its_labels_and_value() {
    let plugin = probe("external").config("value", "2500m").load().await;
    let answer = external_where(&plugin, "shop", "queue=orders").await.unwrap();
    assert_eq!(answer.metric, name("probe"));
    let [sample] = &*answer.samples else { panic!("{answer:?}") };
    assert_eq!(sample.value, "2500m".parse().unwrap());
    let labels = [("metric", "probe"), ("namespace", "shop"), ("queue", "orders")];
    let labels: Vec<_> = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    assert_eq!(sample.labels, labels, "the selector reached the guest");
}

#[tokio::test]
async fn a_custom_metric_comes_for_one_object_and_for_those_selected() {
    let plugin = probe("custom").config("value", "7").load().await;
    let one = plugin.custom(&custom_query("pods", Some("shop"), named("web-1"))).await.unwrap().samples;
    assert_eq!(objects(&one), ["web-1"]);
    assert_eq!(one[0].value, "7".parse().unwrap());
    let all = plugin.custom(&custom_query("pods", Some("shop"), selected(""))).await.unwrap().samples;
    assert_eq!(objects(&all), ["db-1", "web-1"]);
    let some = plugin.custom(&custom_query("pods", Some("shop"), selected("app=web"))).await.unwrap().samples;
    assert_eq!(objects(&some), ["web-1"]);
    let nodes = plugin.custom(&custom_query("nodes", None, selected(""))).await.unwrap().samples;
    assert_eq!(objects(&nodes), ["node-1"]);
}

#[tokio::test]
async fn lists_are_sorted_and_cleaned() {
    let logs = logs();
    let plugin = probe("lists").config("metrics", "b,a,b,bad/name,Status,A").config("resource", "nodes").load().await;
    for _ in 0..3 {
        let listed = plugin.list().await.unwrap();
        assert_eq!(listed.external, [name("A"), name("a"), name("b")]);
        let custom: Vec<_> = listed.custom.iter().map(ToString::to_string).collect();
        assert_eq!(
            custom,
            ["nodes/A", "nodes/Status", "nodes/a", "nodes/b"],
            "`status` is a word of external paths alone"
        );
    }
    let complaints = logs.of(plugin.id());
    let count = |text: &str| complaints.iter().filter(|line| line.contains(text)).count();
    assert_eq!(count("metric name `bad/name` holds `/`"), 2, "once for each list, not for each time: {complaints:?}");
    assert_eq!(count("external metric Status is left out"), 1, "{complaints:?}");
    assert_eq!(count("external metric a can't be asked for"), 1, "{complaints:?}");
}

#[tokio::test]
async fn a_component_answers_only_what_it_exports() {
    let plugin = probe("minimal").load_of(support::guest("minimal")).await;
    assert!(plugin.exports().external && !plugin.exports().custom && !plugin.exports().settings);
    assert_eq!(plugin.validate().await, Validation::Good);
    let error = plugin.custom(&custom_query("pods", Some("shop"), named("web-1"))).await.unwrap_err();
    assert_eq!(error.to_string(), "plugin plugins/minimal: the plugin has no custom metrics");
}

#[tokio::test]
async fn settings_are_validated_by_the_guest() {
    let good = probe("validates").load().await;
    assert_eq!(good.validate().await, Validation::Good);
    let rejects = probe("rejects").config("behaviour", "rejects").config("message", "url is missing").load().await;
    assert_eq!(rejects.validate().await, Validation::Refused("url is missing".to_owned()));
    let down =
        probe("down").config("behaviour", "fails").config("in", "validate").config("message", "down").load().await;
    assert_eq!(down.validate().await, Validation::Undecided("down".to_owned()));
    let traps = probe("invalid").config("behaviour", "traps").config("in", "validate").load().await;
    let Validation::Refused(message) = traps.validate().await else { panic!("not refused") };
    assert!(message.starts_with("settings.validate failed: the plugin stopped with a trap"), "{message}");
}
