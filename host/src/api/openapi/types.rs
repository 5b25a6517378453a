//! The types of the answers, field by field as `wire` writes them. Types of k8s.io/apimachinery and k8s.io/api stand where they
//! are used: as types of their own they would clash with those of the same name in kube-apiserver's document, which renames one
//! of two that differ.

use serde_json::{Value, json};

use super::{
    described::Described,
    dialect::{Dialect, with},
};

/// The name of a type within its group version, and its Schema Object.
pub(super) type Type = (&'static str, Value);

/// custom.metrics.k8s.io/v1beta2
pub(super) fn custom_v1beta2(dialect: Dialect, own: &Described) -> Vec<Type> {
    let identifier = json!({
        "name": text("the metric's name"),
        "selector": label_selector("the metricLabelSelector of the request, null where it had none"),
    });
    let value = json!({
        "describedObject": object_reference(),
        "metric": dialect.described_reference("the metric that this is a value of", &own.definition("MetricIdentifier")),
        "timestamp": time("when the value was true"),
        "windowSeconds": seconds(),
        "value": quantity("the metric's value for the object"),
    });
    vec![
        ("MetricIdentifier", object("Tells a metric, and which of its series.", &["name"], identifier)),
        (
            "MetricValue",
            object(
                "The value of a metric for one object.",
                &["describedObject", "metric", "timestamp", "value"],
                value,
            ),
        ),
        custom_list(dialect, own),
    ]
}

/// custom.metrics.k8s.io/v1beta1
pub(super) fn custom_v1beta1(dialect: Dialect, own: &Described) -> Vec<Type> {
    let value = json!({
        "describedObject": object_reference(),
        "metricName": text("the metric's name"),
        "timestamp": time("when the value was true"),
        "window": seconds(),
        "value": quantity("the metric's value for the object"),
        "selector": label_selector("the metricLabelSelector of the request, null where it had none"),
    });
    let required = ["describedObject", "metricName", "timestamp", "value"];
    vec![("MetricValue", object("The value of a metric for one object.", &required, value)), custom_list(dialect, own)]
}

fn custom_list(dialect: Dialect, own: &Described) -> Type {
    let description =
        "The values of a custom metric: one for each object that the request asked for, by name or by labels.";
    list(dialect, own, "MetricValueList", description, ("MetricValue", "a value for each object"))
}

/// external.metrics.k8s.io/v1beta1
pub(super) fn external(dialect: Dialect, own: &Described) -> Vec<Type> {
    let value = json!({
        "metricName": text("the metric's name"),
        "metricLabels": map("what tells this series of the metric from the others", &text("")),
        "timestamp": time("when the value was true"),
        "window": seconds(),
        "value": quantity("the value of the series"),
    });
    let description =
        "The value of one series of an external metric: of something outside the cluster, a queue's length, say.";
    let required = ["metricName", "metricLabels", "timestamp", "value"];
    let list_description = "The series of an external metric that the label selector of the request selects. \
        A HorizontalPodAutoscaler adds up their values.";
    vec![
        ("ExternalMetricValue", object(description, &required, value)),
        list(
            dialect,
            own,
            "ExternalMetricValueList",
            list_description,
            ("ExternalMetricValue", "a value for each series"),
        ),
    ]
}

/// metrics.k8s.io/v1beta1
pub(super) fn resource(dialect: Dialect, own: &Described) -> Vec<Type> {
    let usage = || map("what is used of each resource, as in cpu (cores) and memory (bytes)", &quantity(""));
    let container = json!({ "name": text("the container's name in the pod's spec"), "usage": usage() });
    let measured = |name: &str, description: &str, what: &str, value: Value| {
        let properties = json!({
            "metadata": object_metadata(),
            "timestamp": time("the end of the interval that usage was measured in"),
            "window": text("the length of that interval, as in 15s"),
            what: value,
        });
        kind(own, name, description, &["timestamp", "window", what], properties)
    };
    let containers = json!({
        "type": "array",
        "description": "the containers, measured in the same interval",
        "items": dialect.reference(&own.definition("ContainerMetrics")),
    });
    vec![
        ("ContainerMetrics", object("What a container uses.", &["name", "usage"], container)),
        ("PodMetrics", measured("PodMetrics", "What a pod uses.", "containers", containers)),
        list(dialect, own, "PodMetricsList", "What pods use.", ("PodMetrics", "a value for each pod")),
        ("NodeMetrics", measured("NodeMetrics", "What a node uses.", "usage", usage())),
        list(dialect, own, "NodeMetricsList", "What nodes use.", ("NodeMetrics", "a value for each node")),
    ]
}

fn list(dialect: Dialect, own: &Described, name: &'static str, description: &str, (item, items): (&str, &str)) -> Type {
    let items = json!({ "type": "array", "description": items, "items": dialect.reference(&own.definition(item)) });
    (name, kind(own, name, description, &["items"], json!({ "metadata": list_metadata(), "items": items })))
}

/// An object that says what it is.
fn kind(own: &Described, name: &str, description: &str, required: &[&str], properties: Value) -> Value {
    let properties = with(properties, "apiVersion", text("the group and version of this answer"));
    let properties = with(properties, "kind", text("the name of this type"));
    let schema = object(description, required, properties);
    with(schema, "x-kubernetes-group-version-kind", json!([own.group_version_kind(name)]))
}

fn object(description: &str, required: &[&str], properties: Value) -> Value {
    with(json!({ "type": "object", "description": description, "required": required }), "properties", properties)
}

fn map(description: &str, value: &Value) -> Value {
    json!({ "type": "object", "description": description, "additionalProperties": value })
}

fn text(description: &str) -> Value {
    match description {
        "" => json!({ "type": "string" }),
        description => json!({ "type": "string", "description": description }),
    }
}

fn time(description: &str) -> Value {
    json!({ "type": "string", "format": "date-time", "description": description })
}

fn seconds() -> Value {
    json!({
        "type": "integer",
        "format": "int64",
        "description": "the seconds before the timestamp over which a rate was computed; absent where the value is no rate",
    })
}

fn quantity(description: &str) -> Value {
    let quantity = "a Kubernetes quantity, as in 42, 2500m or 20Mi";
    match description {
        "" => text(quantity),
        description => text(&format!("{description}: {quantity}")),
    }
}

/// What clients know of `metav1.ListMeta`.
fn list_metadata() -> Value {
    json!({
        "type": "object",
        "description": "empty: the list is made anew for each request",
        "properties": { "continue": text("never set: the list is whole"), "resourceVersion": text("never set") },
    })
}

/// What is kept of `metav1.ObjectMeta`.
fn object_metadata() -> Value {
    json!({
        "type": "object",
        "description": "which object is measured",
        "properties": {
            "name": text("the object's name"),
            "namespace": text("the object's namespace"),
            "creationTimestamp": time("when this answer was made"),
            "labels": map("the object's labels", &text("")),
        },
    })
}

/// What is kept of `corev1.ObjectReference`.
fn object_reference() -> Value {
    json!({
        "type": "object",
        "description": "the object that the value is about",
        "properties": {
            "apiVersion": text("the object's group and version"),
            "kind": text("the object's kind"),
            "name": text("the object's name"),
            "namespace": text("the object's namespace"),
        },
    })
}

/// `metav1.LabelSelector`
fn label_selector(description: &str) -> Value {
    let expression = json!({
        "key": text("the label"),
        "operator": text("In, NotIn, Exists or DoesNotExist"),
        "values": { "type": "array", "description": "the values for In and NotIn", "items": text("") },
    });
    let expressions = object("A condition on one label.", &["key", "operator"], expression);
    json!({
        "type": "object",
        "description": description,
        "properties": {
            "matchLabels": map("labels with the one value that each must have", &text("")),
            "matchExpressions": { "type": "array", "description": "what else must hold of labels", "items": expressions },
        },
    })
}
