//! The paths that are served, each with its one operation: everything here is a GET.

use serde_json::{Value, json};

use super::{
    described::Described,
    dialect::{Dialect, with},
};

/// Query parameters, and the segments of paths that vary.
const PARAMETERS: [(&str, &str); 10] = [
    ("namespace", "name of the namespace"),
    ("resource", "plural name of the objects' resource, with its group where it has one, as in deployments.apps"),
    ("name", "name of the object; * for every object that labelSelector selects"),
    ("subresource", "name of the metric"),
    ("metric", "name of the metric"),
    ("labelSelector", "restricts the answer to what has these labels: objects, or series of an external metric"),
    ("metricLabelSelector", "restricts the answer to series of the metric that have these labels"),
    ("fieldSelector", "restricts the answer to objects with these values of metadata.name and metadata.namespace"),
    ("explain", "if 'true', the answer tells why the metric is answered as it is; 'raw' takes a right of its own"),
    ("pretty", "if 'true', the answer is indented"),
];

const CUSTOM_QUERY: &[&str] = &["labelSelector", "metricLabelSelector", "explain", "pretty"];
const LIST_QUERY: &[&str] = &["labelSelector", "fieldSelector", "explain", "pretty"];

/// A path of a group version.
pub(super) struct Route {
    /// Below the group version's root. Segments in braces vary.
    pub(super) path: String,
    /// For generated clients; none where the same operation has another path that has it.
    id: Option<&'static str>,
    description: String,
    /// The verb that is authorized.
    action: &'static str,
    /// The kind that discovery names, by which `kubectl explain` goes on.
    kind: &'static str,
    /// The type of the answer.
    answer: &'static str,
    query: &'static [&'static str],
}

/// The Path Item Object of a document of discovery.
pub(super) fn discovery(dialect: Dialect, kind: &str) -> Value {
    let schema = json!({ "type": "object", "description": format!("{kind} of k8s.io/apimachinery meta/v1") });
    json!({ "get": operation(dialect, &format!("get the {kind}"), &schema) })
}

/// custom.metrics.k8s.io
pub(super) fn custom() -> Vec<Route> {
    let route = |path: &str, id, of: &str| Route {
        path: path.to_owned(),
        id: Some(id),
        description: format!("get a metric of {of}"),
        action: "get",
        kind: "MetricValueList",
        answer: "MetricValueList",
        query: CUSTOM_QUERY,
    };
    vec![
        route("/{resource}/{name}/{subresource}", "getMetric", "objects without a namespace"),
        route("/namespaces/{namespace}/metrics/{subresource}", "getNamespaceMetric", "a Namespace itself"),
        route(
            "/namespaces/{namespace}/{resource}/{name}/{subresource}",
            "getNamespacedMetric",
            "objects of a namespace",
        ),
    ]
}

/// external.metrics.k8s.io, whatever the metric.
pub(super) fn external() -> Vec<Route> {
    vec![Route { id: Some("listNamespacedMetric"), ..external_metric("{metric}") }]
}

/// An external metric that discovery lists; none if its name would be read as a template.
pub(super) fn listed(metric: &str) -> Option<Route> {
    (!metric.contains(['{', '}'])).then(|| external_metric(metric))
}

fn external_metric(segment: &str) -> Route {
    Route {
        path: format!("/namespaces/{{namespace}}/{segment}"),
        id: None,
        description: "list the series of an external metric".to_owned(),
        action: "list",
        kind: "ExternalMetricValueList",
        answer: "ExternalMetricValueList",
        query: &["labelSelector", "explain", "pretty"],
    }
}

/// metrics.k8s.io
pub(super) fn resource() -> Vec<Route> {
    let list = |path: &str, id, kind, answer| Route {
        path: path.to_owned(),
        id: Some(id),
        description: format!("list {kind}"),
        action: "list",
        kind,
        answer,
        query: LIST_QUERY,
    };
    let get = |path: &str, id, kind| Route {
        path: path.to_owned(),
        id: Some(id),
        description: format!("get {kind}"),
        action: "get",
        kind,
        answer: kind,
        query: &["explain", "pretty"],
    };
    vec![
        list("/nodes", "listNodeMetrics", "NodeMetrics", "NodeMetricsList"),
        get("/nodes/{name}", "getNodeMetrics", "NodeMetrics"),
        list("/pods", "listPodMetrics", "PodMetrics", "PodMetricsList"),
        list("/namespaces/{namespace}/pods", "listNamespacedPodMetrics", "PodMetrics", "PodMetricsList"),
        get("/namespaces/{namespace}/pods/{name}", "getNamespacedPodMetrics", "PodMetrics"),
    ]
}

impl Route {
    /// The Path Item Object.
    pub(super) fn item(&self, dialect: Dialect, described: &Described) -> Value {
        let Self { path, id, description, action, kind, answer, query } = self;
        let schema = dialect.reference(&described.definition(answer));
        let operation = operation(dialect, description, &schema);
        let operation = with(operation, "x-kubernetes-action", json!(action));
        let operation = with(operation, "x-kubernetes-group-version-kind", described.group_version_kind(kind));
        let operation = match id {
            Some(id) => with(operation, "operationId", json!(described.operation(id))),
            None => operation,
        };
        let parameter = |name: &str, place| {
            let (_, description) = PARAMETERS.iter().find(|(known, _)| *known == name)?;
            Some(dialect.parameter(name, place, description))
        };
        let segments = path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
        let segments = segments.filter_map(|name| parameter(name, "path"));
        let parameters: Vec<Value> = segments.chain(query.iter().filter_map(|name| parameter(name, "query"))).collect();
        json!({ "get": operation, "parameters": parameters })
    }
}

fn operation(dialect: Dialect, description: &str, schema: &Value) -> Value {
    let operation = json!({ "description": description, "responses": dialect.responses(schema) });
    match dialect.produces() {
        Some(media_types) => with(operation, "produces", media_types),
        None => operation,
    }
}
