//! Prometheus metrics. Names and labels are public: they are listed in docs/operations.md. No label takes a value that a client or
//! a guest can choose freely.

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

/// From half a millisecond, a cached answer, to the 5 s that a plugin may take at most.
const SECONDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

type Durations<Labels> = Family<Labels, Histogram, fn() -> Histogram>;

/// Of a served request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// The API group, `discovery`, or `other`.
    pub group: &'static str,
    /// The HTTP status code.
    pub code: u16,
}

/// Of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PluginLabels {
    /// The ConfigMap, as in `namespace/name`.
    pub plugin: String,
}

/// Of a call into a guest.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CallLabels {
    /// The ConfigMap, as in `namespace/name`.
    pub plugin: String,
    /// `ok`, or the reason of the failure.
    pub outcome: &'static str,
}

/// Of objects that a plugin is asked about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ObjectLabels {
    /// The ConfigMap, as in `namespace/name`.
    pub plugin: String,
    /// `pod` or `node`.
    pub object: &'static str,
}

/// Of an answer that the value cache had to do with.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct AnswerLabels {
    /// The ConfigMap, as in `namespace/name`.
    pub plugin: String,
    /// `hit`, `miss`, `shared`, `stale`, `fallback` or `back-off`.
    pub cache: &'static str,
}

/// Of a plugin's answer that is not believed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RefusalLabels {
    /// The ConfigMap, as in `namespace/name`.
    pub plugin: String,
    /// `max-age`, `future`, `min`, `max` or `max-change-factor`.
    pub rule: &'static str,
}

/// Of a load of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LoadLabels {
    /// The ConfigMap, as in `namespace/name`.
    pub plugin: String,
    /// `loaded`, `rejected`, `waiting` or `suspended`.
    pub outcome: &'static str,
}

/// Of bytes that became code, or did not.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CompilationLabels {
    /// `compiled`, `cached` (on disk), `shared` (with a plugin alive of the same bytes) or `failed`.
    pub outcome: &'static str,
}

/// Of a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CertificateLabels {
    /// `serving`, `client-ca` or `front-proxy-ca`.
    pub certificate: &'static str,
}

/// A plugin's counters of answers, found once: whoever counts a hit takes no lock for it.
#[derive(Debug, Clone)]
pub struct AnswerCounters(Vec<(&'static str, Counter)>);

impl AnswerCounters {
    /// Counts an answer; `cache` is a value of the label that the counters were made for.
    pub fn count(&self, cache: &str) {
        if let Some((_, counter)) = self.0.iter().find(|(state, _)| *state == cache) {
            counter.inc();
        }
    }
}

/// Every metric of the process.
pub struct Metrics {
    registry: Registry,
    /// Requests served.
    pub requests: Family<RequestLabels, Counter>,
    /// How long they took.
    pub request_seconds: Durations<RequestLabels>,
    /// Requests under way.
    pub requests_inflight: Gauge,
    /// Requests refused because too many were under way.
    pub requests_refused: Counter,
    /// Lines of the request log that were dropped because too many waited to be written.
    pub request_log_dropped: Counter,
    /// Calls into guests.
    pub calls: Family<CallLabels, Counter>,
    /// How long they took, waits for backends included.
    pub call_seconds: Durations<PluginLabels>,
    /// Log lines of guests, and about them, that were too many.
    pub log_dropped: Family<PluginLabels, Counter>,
    /// Bytes of memory that guests hold.
    pub guest_memory: Gauge,
    /// Pods and nodes without a value in an answer for metrics.k8s.io.
    pub unmeasured: Family<ObjectLabels, Counter>,
    /// Answers that the value cache had to do with.
    pub value_answers: Family<AnswerLabels, Counter>,
    /// Calls into plugins before an answer ended, so that nobody waits.
    pub value_refreshes: Family<PluginLabels, Counter>,
    /// Answers that were not believed.
    pub value_refusals: Family<RefusalLabels, Counter>,
    /// Bytes of all values that are kept.
    pub value_cache_bytes: Gauge,
    /// Answers given up because there was no room for all.
    pub value_cache_evictions: Counter,
    /// Origins of a plugin whose circuit is open: nothing is sent there but probes.
    pub circuits_open: Family<PluginLabels, Gauge>,
    /// How often circuits opened.
    pub circuits_opened: Family<PluginLabels, Counter>,
    /// Requests to backends that were sent a second time.
    pub backend_retries: Family<PluginLabels, Counter>,
    /// Loads of plugins.
    pub loads: Family<LoadLabels, Counter>,
    /// Where compiled code came from.
    pub compilations: Family<CompilationLabels, Counter>,
    /// The generation that serves.
    pub generation: Family<PluginLabels, Gauge>,
    /// 1 while the newest version of a plugin is not the one that serves.
    pub rejected: Family<PluginLabels, Gauge>,
    /// 1 while the file of `--policy` can't be used, and the last good one holds.
    pub policy_stale: Gauge,
    /// When certificates end, in Unix seconds.
    pub certificate_ends: Family<CertificateLabels, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("wasm_metrics_adapter");
        let metrics = Self {
            requests: Family::default(),
            request_seconds: Durations::new_with_constructor(histogram),
            requests_inflight: Gauge::default(),
            requests_refused: Counter::default(),
            request_log_dropped: Counter::default(),
            calls: Family::default(),
            call_seconds: Durations::new_with_constructor(histogram),
            log_dropped: Family::default(),
            guest_memory: Gauge::default(),
            unmeasured: Family::default(),
            value_answers: Family::default(),
            value_refreshes: Family::default(),
            value_refusals: Family::default(),
            value_cache_bytes: Gauge::default(),
            value_cache_evictions: Counter::default(),
            circuits_open: Family::default(),
            circuits_opened: Family::default(),
            backend_retries: Family::default(),
            loads: Family::default(),
            compilations: Family::default(),
            generation: Family::default(),
            rejected: Family::default(),
            policy_stale: Gauge::default(),
            certificate_ends: Family::default(),
            registry: Registry::default(),
        };
        metrics.register_requests(&mut registry);
        metrics.register_plugins(&mut registry);
        metrics.register_values(&mut registry);
        Self { registry, ..metrics }
    }
}

fn histogram() -> Histogram {
    Histogram::new(SECONDS)
}

impl Metrics {
    fn register_requests(&self, registry: &mut Registry) {
        registry.register("requests", "Requests served", self.requests.clone());
        let help = "Time from a request's head to its answer";
        registry.register_with_unit("request_duration", help, Unit::Seconds, self.request_seconds.clone());
        registry.register("requests_inflight", "Requests under way", self.requests_inflight.clone());
        let help = "Requests refused because too many were under way";
        registry.register("requests_refused", help, self.requests_refused.clone());
        let help = "When the certificate ends, or the last of a bundle, in seconds since 1970";
        let ends = self.certificate_ends.clone();
        registry.register_with_unit("certificate_expiration_timestamp", help, Unit::Seconds, ends);
        let help = "1 while the file of --policy can't be used, and the last good policy holds";
        registry.register("policy_stale", help, self.policy_stale.clone());
        let help = "Lines of the request log dropped because too many waited to be written";
        registry.register("request_log_dropped", help, self.request_log_dropped.clone());
    }

    fn register_plugins(&self, registry: &mut Registry) {
        registry.register("plugin_calls", "Calls into plugins", self.calls.clone());
        let help = "Time of calls into plugins, waits for backends included";
        registry.register_with_unit("plugin_call_duration", help, Unit::Seconds, self.call_seconds.clone());
        let help = "Log lines of plugins, and about their failures, that were dropped because they were too many";
        registry.register("plugin_log_dropped", help, self.log_dropped.clone());
        let help = "Memory that the plugins' instances hold now";
        registry.register_with_unit("guest_memory", help, Unit::Bytes, self.guest_memory.clone());
        let help = "Pods and nodes that a plugin was asked about for metrics.k8s.io and had no value of";
        registry.register("plugin_unmeasured", help, self.unmeasured.clone());
        let help = "Origins of the plugin that are left alone after failures in a row";
        registry.register("plugin_circuits_open", help, self.circuits_open.clone());
        let help = "How often an origin of the plugin began to be left alone";
        registry.register("plugin_circuits_opened", help, self.circuits_opened.clone());
        let help = "Requests to backends sent a second time because their connection was lost";
        registry.register("plugin_backend_retries", help, self.backend_retries.clone());
        registry.register("plugin_loads", "Loads of plugins", self.loads.clone());
        let help = "Components that were compiled, came from the cache or from another plugin, or failed to compile";
        registry.register("compilations", help, self.compilations.clone());
        let help = "How often the plugin has been loaded by this process";
        registry.register("plugin_generation", help, self.generation.clone());
        let help = "1 while the newest version of the plugin is not the one that serves";
        registry.register("plugin_rejected", help, self.rejected.clone());
    }

    fn register_values(&self, registry: &mut Registry) {
        let help = "Answers for custom and external metrics, by what the value cache had to do with them";
        registry.register("value_answers", help, self.value_answers.clone());
        let help = "Calls into plugins before an answer ended, so that nobody waits for the next";
        registry.register("value_refreshes", help, self.value_refreshes.clone());
        let help = "Answers of plugins that were not believed: too old, or against their guard";
        registry.register("value_refusals", help, self.value_refusals.clone());
        let help = "Memory of the values that are kept";
        registry.register_with_unit("value_cache", help, Unit::Bytes, self.value_cache_bytes.clone());
        let help = "Answers given up because there was no room for all";
        registry.register("value_cache_evictions", help, self.value_cache_evictions.clone());
    }

    /// The counters of a plugin's answers for these values of the label `cache`.
    pub fn answers_of(&self, plugin: &str, caches: impl IntoIterator<Item = &'static str>) -> AnswerCounters {
        let counter = |cache| {
            let labels = AnswerLabels { plugin: plugin.to_owned(), cache };
            (cache, self.value_answers.get_or_create_owned(&labels))
        };
        AnswerCounters(caches.into_iter().map(counter).collect())
    }

    /// The metrics as OpenMetrics text.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // A String takes every write.
        let _ = text::encode(&mut text, &self.registry);
        text
    }

    /// Sets how much memory guests hold.
    pub fn guest_memory_in_use(&self, bytes: usize) {
        self.guest_memory.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Forgets a plugin that is gone.
    pub fn forget(&self, plugin: &str) {
        let labels = PluginLabels { plugin: plugin.to_owned() };
        self.generation.remove(&labels);
        self.rejected.remove(&labels);
        self.circuits_open.remove(&labels);
        self.circuits_opened.remove(&labels);
        self.backend_retries.remove(&labels);
        self.call_seconds.remove(&labels);
        self.log_dropped.remove(&labels);
    }
}
