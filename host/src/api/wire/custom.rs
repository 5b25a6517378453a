//! `MetricValue` of k8s.io/metrics `custom_metrics`, in the field names of both versions.

use serde::Serialize;
use serde_json::Value;

use super::{Column, LabelSelector, ObjectMeta, Tabular, cell, quantity, seconds, timestamp};
use crate::{
    api::encoding::protobuf::{Fields, Message},
    model::{CustomSample, Quantity, UnixMillis},
};

/// `v1.ObjectReference`, as far as metrics fill it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct DescribedObject<'sample> {
    pub(in crate::api) kind: &'sample str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(in crate::api) namespace: &'sample str,
    pub(in crate::api) name: &'sample str,
    pub(in crate::api) api_version: &'sample str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct MetricValueV1Beta1<'sample> {
    described_object: DescribedObject<'sample>,
    metric_name: &'sample str,
    #[serde(serialize_with = "timestamp")]
    timestamp: UnixMillis,
    #[serde(skip_serializing_if = "Option::is_none")]
    window: Option<i64>,
    #[serde(serialize_with = "quantity")]
    value: Quantity,
    selector: Option<&'sample LabelSelector<'sample>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct MetricValueV1Beta2<'sample> {
    described_object: DescribedObject<'sample>,
    metric: MetricIdentifier<'sample>,
    #[serde(serialize_with = "timestamp")]
    timestamp: UnixMillis,
    #[serde(skip_serializing_if = "Option::is_none")]
    window_seconds: Option<i64>,
    #[serde(serialize_with = "quantity")]
    value: Quantity,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub(in crate::api) struct MetricIdentifier<'sample> {
    pub(in crate::api) name: &'sample str,
    pub(in crate::api) selector: Option<&'sample LabelSelector<'sample>>,
}

impl<'sample> MetricValueV1Beta1<'sample> {
    pub(in crate::api) fn new(
        sample: &'sample CustomSample,
        described_object: DescribedObject<'sample>,
        metric: MetricIdentifier<'sample>,
    ) -> Self {
        Self {
            described_object,
            metric_name: metric.name,
            timestamp: sample.timestamp,
            window: seconds(sample.window),
            value: sample.value,
            selector: metric.selector,
        }
    }
}

impl<'sample> MetricValueV1Beta2<'sample> {
    pub(in crate::api) fn new(
        sample: &'sample CustomSample,
        described_object: DescribedObject<'sample>,
        metric: MetricIdentifier<'sample>,
    ) -> Self {
        Self {
            described_object,
            metric,
            timestamp: sample.timestamp,
            window_seconds: seconds(sample.window),
            value: sample.value,
        }
    }
}

impl Message for DescribedObject<'_> {
    fn write(&self, fields: &mut Fields<'_>) {
        fields.string(1, self.kind);
        fields.string(2, self.namespace);
        fields.string(3, self.name);
        fields.string(4, ""); // uid
        fields.string(5, self.api_version);
        fields.string(6, ""); // resourceVersion
        fields.string(7, ""); // fieldPath
    }
}

impl Message for MetricValueV1Beta1<'_> {
    fn write(&self, fields: &mut Fields<'_>) {
        fields.message(1, &self.described_object);
        fields.string(2, self.metric_name);
        fields.message(3, &self.timestamp);
        if let Some(window) = self.window {
            fields.integer(4, window);
        }
        fields.message(5, &self.value);
        if let Some(selector) = self.selector {
            fields.message(6, selector);
        }
    }
}

impl Message for MetricValueV1Beta2<'_> {
    fn write(&self, fields: &mut Fields<'_>) {
        fields.message(1, &self.described_object);
        fields.message(2, &self.metric);
        fields.message(3, &self.timestamp);
        if let Some(window) = self.window_seconds {
            fields.integer(4, window);
        }
        fields.message(5, &self.value);
    }
}

impl Message for MetricIdentifier<'_> {
    fn write(&self, fields: &mut Fields<'_>) {
        fields.string(1, self.name);
        if let Some(selector) = self.selector {
            fields.message(2, selector);
        }
    }
}

const COLUMNS: &[Column] = &[
    Column::name("Object", "The kind and the name of the object that the metric describes"),
    Column::text("Metric", "The metric's name"),
    Column::text("Value", "The value, as a Quantity"),
    Column::text("Window", "The time over which a rate was computed"),
    Column::text("Timestamp", "When the value was true"),
];

impl Tabular for MetricValueV1Beta1<'_> {
    const COLUMNS: &'static [Column] = COLUMNS;

    fn metadata(&self) -> ObjectMeta<'_> {
        self.described_object.metadata()
    }

    fn cells(&self) -> Vec<Value> {
        cells(&self.described_object, self.metric_name, self.value, self.window, self.timestamp)
    }
}

impl Tabular for MetricValueV1Beta2<'_> {
    const COLUMNS: &'static [Column] = COLUMNS;

    fn metadata(&self) -> ObjectMeta<'_> {
        self.described_object.metadata()
    }

    fn cells(&self) -> Vec<Value> {
        cells(&self.described_object, self.metric.name, self.value, self.window_seconds, self.timestamp)
    }
}

impl DescribedObject<'_> {
    fn metadata(&self) -> ObjectMeta<'_> {
        ObjectMeta { name: self.name, namespace: self.namespace, ..ObjectMeta::default() }
    }
}

fn cells(
    object: &DescribedObject<'_>,
    metric: &str,
    value: Quantity,
    window: Option<i64>,
    timestamp: UnixMillis,
) -> Vec<Value> {
    vec![
        format!("{}/{}", object.kind, object.name).into(),
        metric.into(),
        value.to_string().into(),
        cell::seconds(window),
        cell::time(timestamp),
    ]
}
