//! `PodMetrics` and `NodeMetrics` of k8s.io/metrics `metrics/v1beta1`, and their lists.

use std::{fmt::Write as _, time::Duration};

use serde::{Serialize, Serializer, ser::SerializeMap as _};

use super::{Empty, List, pairs, timestamp};
use crate::{
    api::group::GroupVersion,
    model::{ContainerUsage, Measurable, NodeSample, PodSample, UnixMillis, Usage},
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

/// One object by itself, which says what it is; in a list the list says so.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Single<Item> {
    kind: &'static str,
    api_version: String,
    #[serde(flatten)]
    item: Item,
}

/// A kind of answers of metrics.k8s.io.
pub(in crate::api) trait Kind: Serialize + Sized {
    const KIND: &'static str;
    const LIST_KIND: &'static str;

    fn single(self) -> Single<Self> {
        Single { kind: Self::KIND, api_version: GroupVersion::Resource.to_string(), item: self }
    }

    fn list(items: Vec<Self>) -> List<Self> {
        let api_version = GroupVersion::Resource.to_string();
        List { kind: Self::LIST_KIND, api_version, metadata: Empty {}, items }
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

/// `metav1.ObjectMeta`, as far as metrics-server fills it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ObjectMeta<'sample> {
    name: &'sample str,
    #[serde(skip_serializing_if = "str::is_empty")]
    namespace: &'sample str,
    /// The answer is made when it is asked for, and is as old as that.
    #[serde(serialize_with = "timestamp")]
    creation_timestamp: UnixMillis,
    #[serde(skip_serializing_if = "<[_]>::is_empty", serialize_with = "pairs")]
    labels: &'sample [(String, String)],
}

#[derive(Debug, Serialize)]
struct ContainerMetrics<'sample> {
    name: &'sample str,
    #[serde(serialize_with = "resource_list")]
    usage: Usage,
}

impl<'sample> PodMetrics<'sample> {
    pub(in crate::api) fn new(pod: &'sample Measurable, sample: &'sample PodSample, now: UnixMillis) -> Self {
        let container =
            |ContainerUsage { name, usage }: &'sample ContainerUsage| ContainerMetrics { name, usage: *usage };
        Self {
            metadata: ObjectMeta::new(pod, now),
            timestamp: sample.timestamp,
            window: sample.window,
            containers: sample.containers.iter().map(container).collect(),
        }
    }
}

impl<'sample> NodeMetrics<'sample> {
    pub(in crate::api) fn new(node: &'sample Measurable, sample: &NodeSample, now: UnixMillis) -> Self {
        let NodeSample { node: _, timestamp, window, usage } = *sample;
        Self { metadata: ObjectMeta::new(node, now), timestamp, window, usage }
    }
}

impl<'sample> ObjectMeta<'sample> {
    fn new(object: &'sample Measurable, creation_timestamp: UnixMillis) -> Self {
        let Measurable { namespace, name, labels } = object;
        Self { name, namespace, creation_timestamp, labels }
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
