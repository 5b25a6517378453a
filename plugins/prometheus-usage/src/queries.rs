//! The settings: where Prometheus is, and what it is asked. In queries `{pods}` and `{nodes}` stand for label matchers that keep to
//! what the request is about, and `{window}` for the time over which CPU is averaged.

use metrics_plugin::resource::PodRef;
use metrics_plugin::{Failure, config};
use serde::Deserialize;

/// Names that a query spells out: beyond them it asks for all, which Prometheus answers faster than a long regular expression.
const MOST_NAMES: usize = 100;

/// The settings, checked.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Queries {
    url: String,
    #[serde(default)]
    pub(crate) window: Window,
    /// Cores, by `namespace`, `pod` and `container`.
    #[serde(default = "container_cpu")]
    pub(crate) container_cpu: String,
    /// Bytes, by the same labels.
    #[serde(default = "container_memory")]
    pub(crate) container_memory: String,
    /// Cores, by `node`.
    #[serde(default = "node_cpu")]
    pub(crate) node_cpu: String,
    /// Bytes, by `node`.
    #[serde(default = "node_memory")]
    pub(crate) node_memory: String,
}

// cAdvisor's series: those without a container are cgroups of whole pods, POD is the pause container of old runtimes, and the
// cgroup `/` is the node.
fn container_cpu() -> String {
    "sum by (namespace, pod, container) (rate(container_cpu_usage_seconds_total{container!=\"\",container!=\"POD\",{pods}}[{window}]))".to_owned()
}

fn container_memory() -> String {
    "sum by (namespace, pod, container) (container_memory_working_set_bytes{container!=\"\",container!=\"POD\",{pods}})"
        .to_owned()
}

fn node_cpu() -> String {
    "sum by (node) (rate(container_cpu_usage_seconds_total{id=\"/\",{nodes}}[{window}]))".to_owned()
}

fn node_memory() -> String {
    "sum by (node) (container_memory_working_set_bytes{id=\"/\",{nodes}})".to_owned()
}

impl Queries {
    /// The settings of this plugin.
    pub(crate) fn load() -> Result<Self, Failure> {
        let queries: Self = config::load()?;
        let is_http = queries.url.starts_with("http://") || queries.url.starts_with("https://");
        if !is_http || queries.url.contains(['?', '#']) {
            return Err(Failure::bad_request(
                "config key `url` is no address of Prometheus; write it as in `http://prometheus.monitoring.svc:9090`",
            ));
        }
        Ok(queries)
    }

    /// Where instant queries are answered (Prometheus HTTP API v1).
    pub(crate) fn endpoint(&self) -> String {
        format!("{}/api/v1/query", self.url.trim_end_matches('/'))
    }

    /// A query for what `selection` selects.
    pub(crate) fn fill(&self, template: &str, selection: &str) -> String {
        template.replace("{pods}", selection).replace("{nodes}", selection).replace("{window}", &self.window.text)
    }
}

/// A duration of one unit, as in `5m`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Window {
    text: String,
    pub(crate) milliseconds: u32,
}

impl Default for Window {
    /// As prometheus-adapter's example configuration: four scrapes of the usual minute, with room.
    fn default() -> Self {
        Self { text: "5m".to_owned(), milliseconds: 300_000 }
    }
}

impl TryFrom<String> for Window {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let unit = |suffix, milliseconds: u32| {
            let number: u32 = text.strip_suffix(suffix)?.parse().ok()?;
            number.checked_mul(milliseconds).filter(|total| (1_000..=3_600_000).contains(total))
        };
        match unit("s", 1_000).or_else(|| unit("m", 60_000)).or_else(|| unit("h", 3_600_000)) {
            Some(milliseconds) => Ok(Self { text, milliseconds }),
            None => Err(format!("`{text}` is no window; write a duration from 1s to 1h, as in 5m")),
        }
    }
}

/// Matchers for these pods, if they are few; else for their namespaces, if those are; else for any.
pub(crate) fn select_pods(pods: &[PodRef]) -> String {
    let namespaces = alternatives("namespace", pods.iter().map(|pod| pod.namespace.as_str()).collect());
    let names = alternatives("pod", pods.iter().map(|pod| pod.name.as_str()).collect());
    [namespaces, names].into_iter().flatten().collect::<Vec<_>>().join(",")
}

/// Matchers for these nodes, if they are few; else for any.
pub(crate) fn select_nodes(names: &[String]) -> String {
    alternatives("node", names.iter().map(String::as_str).collect()).unwrap_or_default()
}

/// Kubernetes names are lower-case letters, digits, `-` and `.`: the last is the one that means something in RE2.
fn alternatives(label: &str, mut names: Vec<&str>) -> Option<String> {
    names.sort_unstable();
    names.dedup();
    (names.len() <= MOST_NAMES).then(|| format!("{label}=~\"{}\"", names.join("|").replace('.', "[.]")))
}
