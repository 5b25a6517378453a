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
    /// Pods and nodes without a value in an answer for metrics.k8s.io.
    pub unmeasured: Family<ObjectLabels, Counter>,
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
            unmeasured: Family::default(),
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

    /// The metrics as OpenMetrics text.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // A String takes every write.
        let _ = text::encode(&mut text, &self.registry);
        text
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
    }
}
