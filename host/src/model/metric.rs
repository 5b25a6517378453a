//! Names of metrics and of the kinds of objects that they describe.

use std::{fmt, str::FromStr};

/// A metric's name: a legal path segment, in the case in which it was given.
///
/// Invariant: not empty, not `.` or `..`, and without `/`, `%` and control characters. client-go refuses the first four
/// (`IsPathSegmentName` in k8s.io/apimachinery `pkg/api/validation/path`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MetricName(String);

/// Why a text is no metric name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMetricName {
    /// An empty name, `.` or `..` would change the meaning of the URL's path.
    #[error("metric name `{0}` is not a path segment; use a name of at least one character other than `.` and `..`")]
    NotASegment(String),
    /// A character that a path segment can't carry.
    #[error("metric name `{name}` holds `{character}`, which no Kubernetes client can send; leave it out")]
    Character {
        /// The name as it was given.
        name: String,
        /// The first character at fault, escaped for printing.
        character: String,
    },
}

impl MetricName {
    /// Checks and keeps `name`.
    pub fn new(name: impl Into<String>) -> Result<Self, InvalidMetricName> {
        let name = name.into();
        if matches!(name.as_str(), "" | "." | "..") {
            return Err(InvalidMetricName::NotASegment(name));
        }
        match name.chars().find(|character| matches!(character, '/' | '%') || character.is_control()) {
            Some(character) => {
                let character = character.escape_debug().to_string();
                Err(InvalidMetricName::Character { name: name.escape_debug().to_string(), character })
            }
            None => Ok(Self(name)),
        }
    }

    /// The name as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form under which external metrics are looked up: client-go lower-cases the resource segment of a URL
    /// (`rest/request.go`), and an external metric's name is that segment.
    pub fn folded(&self) -> String {
        self.0.to_lowercase()
    }
}

impl fmt::Display for MetricName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A kind of objects, as in `deployments.apps`. The core group is "".
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupResource {
    /// The API group, "" for pods, services, nodes and namespaces.
    pub group: String,
    /// The plural resource name, as in `pods`.
    pub name: String,
}

impl GroupResource {
    /// A resource of the core group.
    pub fn core(name: impl Into<String>) -> Self {
        Self { group: String::new(), name: name.into() }
    }
}

impl FromStr for GroupResource {
    type Err = std::convert::Infallible;

    /// Splits at the first dot, as `schema.ParseGroupResource` of k8s.io/apimachinery does.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, group) = text.split_once('.').unwrap_or((text, ""));
        Ok(Self { group: group.to_owned(), name: name.to_owned() })
    }
}

impl fmt::Display for GroupResource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)?;
        if !self.group.is_empty() {
            write!(formatter, ".{}", self.group)?;
        }
        Ok(())
    }
}

/// A metric of a kind of objects, printed as in `pods/http_requests`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CustomMetric {
    /// The kind of the objects described.
    pub resource: GroupResource,
    /// The metric's name.
    pub name: MetricName,
}

impl fmt::Display for CustomMetric {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.resource, self.name)
    }
}

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// The time by the machine's clock; 0 where that clock stands before 1970.
    pub fn now() -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_no_client_can_send_are_refused() {
        for name in ["", ".", "..", "a/b", "50%", "a\nb"] {
            assert!(MetricName::new(name).is_err(), "{name:?}");
        }
        for name in ["queue_depth", "pubsub.googleapis.com|subscription|num", "datadogmetric@ns:name", "..."] {
            assert!(MetricName::new(name).is_ok(), "{name:?}");
        }
    }

    #[test]
    fn group_resources_split_at_the_first_dot() {
        let parsed: GroupResource = "ingresses.networking.k8s.io".parse().unwrap();
        assert_eq!((parsed.name.as_str(), parsed.group.as_str()), ("ingresses", "networking.k8s.io"));
        assert_eq!(parsed.to_string(), "ingresses.networking.k8s.io");
        assert_eq!("pods".parse(), Ok(GroupResource::core("pods")));
    }
}
