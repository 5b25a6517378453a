//! `PodMetrics` and `NodeMetrics` of k8s.io/metrics `metrics/v1beta1`, and their lists.

use std::{fmt::Write as _, time::Duration};

use serde::{Serialize, Serializer, ser::SerializeMap as _};
use serde_json::Value;

use super::{Column, List, ListMeta, Object, ObjectMeta, Tabular, timestamp};
use crate::{
    api::{
        encoding::protobuf::{Fields, Message},
        group::GroupVersion,
    },
    model::{ContainerUsage, Measurable, NodeSample, PodSample, Quantity, UnixMillis, Usage},
};

/// What a pod uses.
#[derive(Debug, Serialize)]
pub(in crate::api) struct PodMetrics<'sample> {
    metadata: ObjectMeta<'sample>,
    #[serde(serialize_with = "timestamp")]
    timestamp: UnixMillis,
    #[serde(serialize_with = "go_duration")]
    window: Duration,
    containers: Vec<ContainerMetrics<'sample>>,
}

/// What a node uses.
#[derive(Debug, Serialize)]
pub(in crate::api) struct NodeMetrics<'sample> {
    metadata: ObjectMeta<'sample>,
    #[serde(serialize_with = "timestamp")]
    timestamp: UnixMillis,
    #[serde(serialize_with = "go_duration")]
    window: Duration,
    #[serde(serialize_with = "resource_list")]
    usage: Usage,
}

#[derive(Debug, Serialize)]
struct ContainerMetrics<'sample> {
    name: &'sample str,
    #[serde(serialize_with = "resource_list")]
    usage: Usage,
}

/// A kind of objects of metrics.k8s.io.
pub(in crate::api) trait Kind: Sized {
    const KIND: &'static str;
    const LIST_KIND: &'static str;

    fn single(self) -> Object<Self> {
        Object::new(Self::KIND, GroupVersion::Resource, self)
    }

    fn list(items: Vec<Self>) -> List<Self> {
        let api_version = GroupVersion::Resource.to_string();
        List { kind: Self::LIST_KIND, api_version, metadata: ListMeta {}, items }
    }
}

impl Kind for PodMetrics<'_> {
    const KIND: &'static str = "PodMetrics";
    const LIST_KIND: &'static str = "PodMetricsList";
}

impl Kind for NodeMetrics<'_> {
    const KIND: &'static str = "NodeMetrics";
    const LIST_KIND: &'static str = "NodeMetricsList";
}

impl<'sample> PodMetrics<'sample> {
    pub(in crate::api) fn new(pod: &'sample Measurable, sample: &'sample PodSample, now: UnixMillis) -> Self {
        let container =
            |ContainerUsage { name, usage }: &'sample ContainerUsage| ContainerMetrics { name, usage: *usage };
        Self {
            metadata: object_meta(pod, now),
            timestamp: sample.timestamp,
            window: sample.window,
            containers: sample.containers.iter().map(container).collect(),
        }
    }

    /// Of all containers; in the format of the first.
    fn total(&self, resource: impl Fn(&Usage) -> Quantity) -> Option<Quantity> {
        let mut amounts = self.containers.iter().map(|container| resource(&container.usage));
        let first = amounts.next()?;
        amounts.try_fold(first, Quantity::checked_add)
    }
}

impl<'sample> NodeMetrics<'sample> {
    pub(in crate::api) fn new(node: &'sample Measurable, sample: &NodeSample, now: UnixMillis) -> Self {
        let NodeSample { node: _, timestamp, window, usage } = *sample;
        Self { metadata: object_meta(node, now), timestamp, window, usage }
    }
}

/// As far as metrics-server fills it. An answer is made when it is asked for, and is as old as that.
fn object_meta(object: &Measurable, now: UnixMillis) -> ObjectMeta<'_> {
    let Measurable { namespace, name, labels } = object;
    ObjectMeta { name, namespace, creation_timestamp: Some(now), labels }
}

impl Message for PodMetrics<'_> {
    fn write(&self, fields: &mut Fields<'_>) {
        fields.message(1, &self.metadata);
        fields.message(2, &self.timestamp);
        duration(fields, 3, self.window);
        fields.messages(4, &self.containers);
    }
}

impl Message for ContainerMetrics<'_> {
    fn write(&self, fields: &mut Fields<'_>) {
        fields.string(1, self.name);
        quantities(fields, 2, &self.usage);
    }
}

impl Message for NodeMetrics<'_> {
    fn write(&self, fields: &mut Fields<'_>) {
        fields.message(1, &self.metadata);
        fields.message(2, &self.timestamp);
        duration(fields, 3, self.window);
        quantities(fields, 4, &self.usage);
    }
}

/// A `metav1.Duration`: nanoseconds.
fn duration(fields: &mut Fields<'_>, tag: u32, duration: Duration) {
    fields.nested(tag, |fields| fields.integer(1, i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)));
}

/// A `v1.ResourceList`: a map, whose keys are sorted.
fn quantities(fields: &mut Fields<'_>, tag: u32, usage: &Usage) {
    for (name, quantity) in [("cpu", &usage.cpu), ("memory", &usage.memory)] {
        fields.nested(tag, |entry| {
            entry.string(1, name);
            entry.message(2, quantity);
        });
    }
}

/// In the columns of metrics-server (`addPodMetricsToTable`).
const COLUMNS: &[Column] = &[
    Column::name("Name", "Name of the resource"),
    Column::formatted("cpu", "quantity"),
    Column::formatted("memory", "quantity"),
    Column::formatted("Window", "duration"),
];

impl Tabular for PodMetrics<'_> {
    const COLUMNS: &'static [Column] = COLUMNS;

    fn metadata(&self) -> ObjectMeta<'_> {
        self.metadata
    }

    fn cells(&self) -> Vec<Value> {
        let total = |resource: fn(&Usage) -> Quantity| self.total(resource).map(|total| total.to_string()).into();
        let (cpu, memory) = (total(|usage| usage.cpu), total(|usage| usage.memory));
        vec![self.metadata.name.into(), cpu, memory, go_duration_text(self.window).into()]
    }
}

impl Tabular for NodeMetrics<'_> {
    const COLUMNS: &'static [Column] = COLUMNS;

    fn metadata(&self) -> ObjectMeta<'_> {
        self.metadata
    }

    fn cells(&self) -> Vec<Value> {
        let Usage { cpu, memory } = self.usage;
        let texts = [self.metadata.name.to_owned(), cpu.to_string(), memory.to_string(), go_duration_text(self.window)];
        texts.map(Value::from).into()
    }
}

/// `v1.ResourceList`, a map.
fn resource_list<S: Serializer>(usage: &Usage, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(2))?;
    map.serialize_entry("cpu", &usage.cpu.to_string())?;
    map.serialize_entry("memory", &usage.memory.to_string())?;
    map.end()
}

fn go_duration<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&go_duration_text(*duration))
}

/// As Go's `time.Duration.String` prints it: `1m30s`, `500ms`, `0s`.
pub(in crate::api) fn go_duration_text(duration: Duration) -> String {
    let (seconds, nanos) = (duration.as_secs(), duration.subsec_nanos());
    if seconds == 0 {
        return match nanos {
            0 => "0s".to_owned(),
            1..1_000 => format!("{nanos}ns"),
            1_000..1_000_000 => format!("{}µs", with_fraction(nanos.into(), 1_000)),
            _ => format!("{}ms", with_fraction(nanos.into(), 1_000_000)),
        };
    }
    let mut text = String::new();
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    // A String takes every write.
    if hours > 0 {
        let _ = write!(text, "{hours}h");
    }
    if seconds >= 60 {
        let _ = write!(text, "{minutes}m");
    }
    let _ = write!(text, "{}s", with_fraction(seconds % 60 * 1_000_000_000 + u64::from(nanos), 1_000_000_000));
    text
}

/// `amount` of so many parts of a unit, without zeros at the end of its fraction.
fn with_fraction(amount: u64, parts: u64) -> String {
    let digits = parts.ilog10() as usize;
    let text = format!("{}.{:0digits$}", amount / parts, amount % parts);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests;
