//! `ExternalMetricValue` of k8s.io/metrics `external_metrics/v1beta1`.

use serde::Serialize;
use serde_json::Value;

use super::{Column, ObjectMeta, Tabular, cell, pairs, quantity, seconds, timestamp};
use crate::{
    api::encoding::protobuf::{Fields, Message},
    model::{ExternalSample, Quantity, UnixMillis},
};

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct ExternalMetricValue<'sample> {
    metric_name: &'sample str,
    #[serde(serialize_with = "pairs")]
    metric_labels: &'sample [(String, String)],
    #[serde(serialize_with = "timestamp")]
    timestamp: UnixMillis,
    #[serde(skip_serializing_if = "Option::is_none")]
    window: Option<i64>,
    #[serde(serialize_with = "quantity")]
    value: Quantity,
}

impl<'sample> ExternalMetricValue<'sample> {
    pub(in crate::api) fn new(metric_name: &'sample str, sample: &'sample ExternalSample) -> Self {
        Self {
            metric_name,
            metric_labels: &sample.labels,
            timestamp: sample.timestamp,
            window: seconds(sample.window),
            value: sample.value,
        }
    }
}

impl Message for ExternalMetricValue<'_> {
    fn write(&self, fields: &mut Fields<'_>) {
        fields.string(1, self.metric_name);
        fields.map(2, self.metric_labels);
        fields.message(3, &self.timestamp);
        if let Some(window) = self.window {
            fields.integer(4, window);
        }
        fields.message(5, &self.value);
    }
}

/// A metric is nothing in the cluster: its name is all that its metadata has.
impl Tabular for ExternalMetricValue<'_> {
    const COLUMNS: &'static [Column] = &[
        Column::name("Metric", "The metric's name"),
        Column::text("Labels", "What tells the series from others"),
        Column::text("Value", "The value, as a Quantity"),
        Column::text("Window", "The time over which a rate was computed"),
        Column::text("Timestamp", "When the value was true"),
    ];

    fn metadata(&self) -> ObjectMeta<'_> {
        ObjectMeta { name: self.metric_name, ..ObjectMeta::default() }
    }

    fn cells(&self) -> Vec<Value> {
        vec![
            self.metric_name.into(),
            cell::pairs(self.metric_labels),
            self.value.to_string().into(),
            cell::seconds(self.window),
            cell::time(self.timestamp),
        ]
    }
}
