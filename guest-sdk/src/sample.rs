//! Samples: the WIT's records, with constructors that keep a plugin's code short.

use std::time::Duration;

use crate::{GroupResource, Label, Number, Timestamp};

/// Values of Kubernetes objects.
pub mod custom {
    pub use crate::bindings::custom::exports::wasm_metrics_adapter::plugin::custom_metrics::{Metric, Sample};
}

/// Values of things that are not Kubernetes objects.
pub mod external {
    pub use crate::bindings::external::exports::wasm_metrics_adapter::plugin::external_metrics::Sample;
}

/// CPU and memory of pods and nodes.
pub mod resource {
    pub use crate::bindings::resource::exports::wasm_metrics_adapter::plugin::resource_metrics::{
        Container, Node, Pod, PodRef, Usage,
    };
}

impl custom::Metric {
    /// `name` of the objects of `resource`, which is written as in `kubectl get`: `pods`, `deployments.apps`.
    pub fn new(resource: &str, name: impl Into<String>) -> Self {
        Self { resource: resource.into(), name: name.into() }
    }
}

impl custom::Sample {
    /// The value of `object`, now.
    pub fn new(object: impl Into<String>, value: impl Into<Number>) -> Self {
        Self { object: object.into(), value: value.into(), timestamp: None, window_ms: None }
    }

    /// When the value was true.
    #[must_use]
    pub fn at(mut self, timestamp: Timestamp) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    /// The time over which a rate was computed.
    #[must_use]
    pub fn window(mut self, window: Duration) -> Self {
        self.window_ms = Some(milliseconds(window));
        self
    }
}

impl external::Sample {
    /// A value without labels, now.
    pub fn new(value: impl Into<Number>) -> Self {
        Self { labels: Vec::new(), value: value.into(), timestamp: None, window_ms: None }
    }

    /// One more label, which tells this series from others of the same metric.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.push(Label::new(key, value));
        self
    }

    /// When the value was true.
    #[must_use]
    pub fn at(mut self, timestamp: Timestamp) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    /// The time over which a rate was computed.
    #[must_use]
    pub fn window(mut self, window: Duration) -> Self {
        self.window_ms = Some(milliseconds(window));
        self
    }
}

impl Label {
    /// A key and its value.
    pub fn new(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self { key: key.into(), value: value.into() }
    }
}

/// A resource as `kubectl get` takes it: `pods`, or with its group `deployments.apps`.
impl From<&str> for GroupResource {
    fn from(text: &str) -> Self {
        let (name, group) = text.split_once('.').unwrap_or((text, ""));
        Self { group: group.to_owned(), name: name.to_owned() }
    }
}

/// `pods`, or with its group `deployments.apps`.
impl std::fmt::Display for GroupResource {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let dot = if self.group.is_empty() { "" } else { "." };
        write!(formatter, "{}{dot}{}", self.name, self.group)
    }
}

fn milliseconds(window: Duration) -> u32 {
    u32::try_from(window.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_reads_and_prints_as_kubectl_takes_it() {
        for (text, group, name) in
            [("pods", "", "pods"), ("ingresses.networking.k8s.io", "networking.k8s.io", "ingresses")]
        {
            let resource = GroupResource::from(text);
            assert_eq!((resource.group.as_str(), resource.name.as_str()), (group, name));
            assert_eq!(resource.to_string(), text);
        }
    }

    #[test]
    fn a_window_longer_than_the_wire_can_say_is_the_longest() {
        assert_eq!(external::Sample::new(1).window(Duration::from_secs(u64::MAX)).window_ms, Some(u32::MAX));
        assert_eq!(custom::Sample::new("a", 1).window(Duration::from_secs(2)).window_ms, Some(2_000));
    }
}
