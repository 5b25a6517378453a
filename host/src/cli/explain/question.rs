//! What the HPA controller asks for a metric (`pkg/controller/podautoscaler/metrics/client.go` and k8s.io/metrics `pkg/client`), as a
//! path of the API server.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

use crate::cli::preflight::ownership::{CUSTOM, EXTERNAL, RESOURCE};

/// What stands for itself in a path segment and in a query.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A question about one metric.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Question {
    /// As in `external metric queue_depth`.
    pub title: String,
    /// The API group.
    pub group: &'static str,
    /// The path and query without `explain`; a fault of the question itself if it can't be asked.
    pub path: Result<String, String>,
    /// The selector that the question has, for remedies.
    #[serde(skip)]
    pub selector: String,
    /// The metric's name; "" for CPU and memory.
    #[serde(skip)]
    pub metric: String,
}

impl Question {
    pub(super) fn external(namespace: &str, metric: &str, selector: &str) -> Self {
        // client-go lower-cases the resource segment of a URL (rest/request.go), which is this metric's name.
        let path =
            format!("/apis/{EXTERNAL}/v1beta1/namespaces/{}/{}", encode(namespace), encode(&metric.to_lowercase()));
        Self {
            title: format!("external metric {metric}{}", of(selector)),
            group: EXTERNAL,
            path: Ok(with_query(path, &[("labelSelector", selector)])),
            selector: selector.to_owned(),
            metric: metric.to_owned(),
        }
    }

    /// `namespace` is absent for objects that live in none. A metric of a Namespace has a path of its own.
    pub(super) fn custom(
        namespace: Option<&str>,
        resource: &str,
        object: &str,
        metric: &str,
        selector: &str,
        metric_selector: &str,
    ) -> Self {
        let root = format!("/apis/{CUSTOM}/v1beta2");
        let (resource_segment, object_segment, metric_segment) = (encode(resource), encode(object), encode(metric));
        let path = match namespace {
            _ if resource == "namespaces" && object != "*" => {
                format!("{root}/namespaces/{object_segment}/metrics/{metric_segment}")
            }
            Some(namespace) => {
                format!("{root}/namespaces/{}/{resource_segment}/{object_segment}/{metric_segment}", encode(namespace))
            }
            None => format!("{root}/{resource_segment}/{object_segment}/{metric_segment}"),
        };
        let objects =
            if object == "*" { format!(" of {resource}{}", of(selector)) } else { format!(" of {resource} {object}") };
        Self {
            title: format!("custom metric {metric}{}{objects}", of(metric_selector)),
            group: CUSTOM,
            path: Ok(with_query(path, &[("labelSelector", selector), ("metricLabelSelector", metric_selector)])),
            selector: selector.to_owned(),
            metric: metric.to_owned(),
        }
    }

    pub(super) fn resource(namespace: Option<&str>, resource: &str, selector: &str) -> Self {
        let place = namespace.map(|namespace| format!("namespaces/{}/", encode(namespace))).unwrap_or_default();
        let path = format!("/apis/{RESOURCE}/v1beta1/{place}{resource}");
        Self {
            title: format!("CPU and memory of {resource}{}", of(selector)),
            group: RESOURCE,
            path: Ok(with_query(path, &[("labelSelector", selector)])),
            selector: selector.to_owned(),
            metric: String::new(),
        }
    }

    /// A metric that can't be asked for.
    pub(super) fn impossible(title: String, group: &'static str, why: String) -> Self {
        Self { title, group, path: Err(why), selector: String::new(), metric: String::new() }
    }
}

/// The path with one more parameter.
pub(super) fn and(path: &str, parameter: &str) -> String {
    format!("{path}{}{parameter}", if path.contains('?') { '&' } else { '?' })
}

/// A selector of an object as the controller sends it (`metav1.LabelSelectorAsSelector`).
pub(super) fn selector(selector: Option<&LabelSelector>) -> Result<String, String> {
    let parsed = kube::core::Selector::try_from(selector.cloned().unwrap_or_default());
    parsed.map(|selector| selector.to_string()).map_err(|error| error.to_string())
}

fn with_query(path: String, parameters: &[(&str, &str)]) -> String {
    let given = parameters.iter().filter(|(_, value)| !value.is_empty());
    given.fold(path, |path, (name, value)| and(&path, &format!("{name}={}", encode(value))))
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

fn of(selector: &str) -> String {
    if selector.is_empty() { String::new() } else { format!(" with {selector}") }
}
