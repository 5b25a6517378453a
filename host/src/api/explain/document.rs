//! `kind: MetricExplanation`, as it is written. Times are milliseconds; whatever there was too much of says how much is left out.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::call::Call;
use crate::{
    api::{
        group::GroupVersion,
        path::{Form, ResourceTarget, Target},
    },
    model::{CacheView, ConsideredClaim, Detail, Excerpt, Explanation, PluginId, Precedence, Standing},
};

/// What `apiVersion` says: an alpha, as plugin.yaml is.
const API_VERSION: &str = "wasm-metrics-adapter.io/v1alpha1";

/// The whole document.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document {
    kind: &'static str,
    api_version: &'static str,
    metric: Metric,
    response: Answered,
    #[serde(skip_serializing_if = "Option::is_none")]
    plugin: Option<String>,
    claims: Many<Claim>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    similar: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<Cache>,
    #[serde(skip_serializing_if = "Option::is_none")]
    call: Option<Call>,
}

/// What the client would have got.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answered {
    pub(super) code: u16,
    pub(super) body: Value,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) items_left_out: usize,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Metric {
    api: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    label_selector: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    metric_label_selector: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Many<Item> {
    items: Vec<Item>,
    #[serde(skip_serializing_if = "is_zero")]
    left_out: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Claim {
    plugin: String,
    claim: String,
    standing: &'static str,
    because: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Cache {
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    age_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fresh_for_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usable_for_ms: Option<f64>,
    /// Whether the plugin is being asked, or booked to be.
    asking: bool,
    failures: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    back_off_ms: Option<f64>,
    /// The last failure, in a word: its text is not looked through for secrets here.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'static str>,
}

impl Document {
    pub(super) fn new(
        target: &Target,
        response: Answered,
        plugin: Option<&PluginId>,
        explanation: Option<Explanation>,
        detail: Detail,
    ) -> Self {
        let mut document = Self {
            kind: "MetricExplanation",
            api_version: API_VERSION,
            metric: Metric::of(target),
            response,
            plugin: plugin.map(ToString::to_string),
            claims: Many::of(Excerpt::default(), Claim::of),
            similar: Vec::new(),
            cache: None,
            call: None,
        };
        if let Some(Explanation { answer: _, claims, similar, cache, call }) = explanation {
            document.claims = Many::of(claims, Claim::of);
            document.similar = similar;
            document.cache = cache.map(Cache::of);
            document.call = call.map(|call| Call::of(call, detail));
        }
        document
    }
}

impl Metric {
    fn of(target: &Target) -> Self {
        let (label_selector, metric_label_selector) = target.parameters.selectors();
        let common = Self {
            label_selector: label_selector.to_owned(),
            metric_label_selector: metric_label_selector.to_owned(),
            ..Self::default()
        };
        match &target.form {
            Form::Custom(custom) => Self {
                api: GroupVersion::Custom(custom.version).to_string(),
                namespace: custom.namespace().map(str::to_owned),
                resource: Some(custom.metric.resource.to_string()),
                object: Some(custom.object().to_owned()),
                name: Some(custom.metric.name.to_string()),
                ..common
            },
            Form::External(external) => Self {
                api: GroupVersion::External.to_string(),
                namespace: Some(external.namespace.clone()),
                name: Some(external.metric.to_string()),
                ..common
            },
            Form::Resource(resource) => {
                let (namespace, object) = match resource {
                    ResourceTarget::Nodes => (None, None),
                    ResourceTarget::Node(name) => (None, Some(name.clone())),
                    ResourceTarget::Pods(namespace) => (namespace.clone(), None),
                    ResourceTarget::Pod(pod) => (Some(pod.namespace.clone()), Some(pod.name.clone())),
                };
                let resource = Some(resource.resource().to_owned());
                Self { api: GroupVersion::Resource.to_string(), namespace, resource, object, ..common }
            }
            Form::Discovery(_) | Form::OpenApi(_) | Form::Other => common,
        }
    }
}

impl<Item> Many<Item> {
    pub(super) fn of<From>(excerpt: Excerpt<From>, convert: impl FnMut(From) -> Item) -> Self {
        Self { items: excerpt.items.into_iter().map(convert).collect(), left_out: excerpt.left_out }
    }
}

impl Claim {
    fn of(ConsideredClaim { plugin, claim, standing }: ConsideredClaim) -> Self {
        let (standing, because) = match standing {
            Standing::Owns => ("owns", "no claim on this metric comes before it"),
            Standing::Loading => {
                ("loading", "no claim on this metric comes before it, but its plugin has not loaded yet")
            }
            Standing::Loses(rule) => ("loses", why(rule)),
            Standing::OtherNamespaces => {
                ("elsewhere", "its plugin does not answer for this namespace; see serves.namespaces")
            }
        };
        Self { plugin: plugin.to_string(), claim, standing, because }
    }
}

fn why(rule: Precedence) -> &'static str {
    match rule {
        Precedence::OwnNamespace => "plugins of the adapter's namespace come first",
        Precedence::Exact => "an exact claim comes before a pattern",
        Precedence::Prefix => "the pattern with more characters before its first * comes first",
        Precedence::Priority => "the higher serves.priority comes first",
        Precedence::Name => {
            "of claims that are alike the first by namespace and name wins; set serves.priority to choose"
        }
    }
}

impl Cache {
    fn of(view: CacheView) -> Self {
        Self {
            state: view.state.as_str(),
            age_ms: view.age.map(millis),
            fresh_for_ms: view.fresh_for.map(millis),
            usable_for_ms: view.usable_for.map(millis),
            asking: view.asking,
            failures: view.failures,
            back_off_ms: view.back_off.map(millis),
            failure: view.failure.map(|failure| failure.reason.as_str()),
        }
    }
}

/// Milliseconds, to the microsecond.
pub(super) fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde asks for")]
pub(super) fn is_zero(number: &usize) -> bool {
    *number == 0
}
