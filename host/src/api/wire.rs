//! JSON of k8s.io/metrics and of k8s.io/apimachinery `meta/v1`, field by field in the order in which Go prints it.

mod resource;

use std::time::Duration;

use serde::{Serialize, Serializer};

use super::group::GroupVersion;
use crate::model::{Operator, Quantity, Requirement, Selector, UnixMillis};

pub(super) use resource::{Kind, NodeMetrics, PodMetrics};

/// `metadata` of a list: all of its fields are optional, and none is used.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Empty {}

/// A list of metric values.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct List<Item> {
    kind: &'static str,
    api_version: String,
    metadata: Empty,
    items: Vec<Item>,
}

impl<Item> List<Item> {
    pub(super) fn new(version: GroupVersion, items: Vec<Item>) -> Self {
        Self { kind: version.list_kind(), api_version: version.to_string(), metadata: Empty {}, items }
    }
}

/// `metav1.LabelSelector`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LabelSelector<'selector> {
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "pairs")]
    match_labels: Vec<(&'selector str, &'selector str)>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    match_expressions: Vec<Expression<'selector>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Expression<'selector> {
    key: &'selector str,
    operator: &'static str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    values: &'selector [String],
}

/// `metav1.LabelSelector` has no operator for a comparison of integers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" isn't supported in label selectors")]
pub(super) struct NotRepresentable(&'static str);

impl<'selector> LabelSelector<'selector> {
    /// As `metav1.ParseToLabelSelector`, with two differences: it refuses `!=`, which is `NotIn` here, and of two values that one
    /// key must have it keeps one, where both stay here.
    pub(super) fn of(selector: &'selector Selector) -> Result<Self, NotRepresentable> {
        let mut wire = Self::default();
        for Requirement { key, operator, values } in selector.requirements() {
            let operator = match operator {
                Operator::In => "In",
                Operator::NotIn => "NotIn",
                Operator::Exists => "Exists",
                Operator::DoesNotExist => "DoesNotExist",
                Operator::GreaterThan => return Err(NotRepresentable("gt")),
                Operator::LessThan => return Err(NotRepresentable("lt")),
            };
            let taken = wire.match_labels.iter().any(|(label, _)| label == key);
            match values.as_slice() {
                [value] if operator == "In" && !taken => wire.match_labels.push((key, value)),
                values => wire.match_expressions.push(Expression { key, operator, values }),
            }
        }
        Ok(wire)
    }
}

/// A map in the order of its pairs.
pub(super) fn pairs<S: Serializer, T: Serialize>(pairs: &[(T, T)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().map(|(key, value)| (key, value)))
}

/// A quantity is a text.
pub(super) fn quantity<S: Serializer>(value: &Quantity, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// `metav1.Time`: whole seconds of UTC. A time beyond the calendar is none, which Go prints as `null`.
pub(super) fn timestamp<S: Serializer>(time: &UnixMillis, serializer: S) -> Result<S::Ok, S::Error> {
    let seconds = i64::try_from(time.0 / 1000).ok();
    match seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok()) {
        Some(time) => serializer.collect_str(&time),
        None => serializer.serialize_none(),
    }
}

/// Whole seconds, rounded up: 0 would say that the value is not a rate at all.
pub(super) fn seconds(window: Option<Duration>) -> Option<u64> {
    window.map(|window| window.as_secs().saturating_add(u64::from(window.subsec_nanos() > 0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> String {
        let selector = Selector::parse(text).unwrap();
        match LabelSelector::of(&selector) {
            Ok(wire) => serde_json::to_string(&wire).unwrap(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn selectors_become_label_selectors() {
        for (text, expected) in [
            ("", "{}"),
            ("verb=GET", r#"{"matchLabels":{"verb":"GET"}}"#),
            ("b=2,a=1", r#"{"matchLabels":{"a":"1","b":"2"}}"#),
            ("x in (b,a)", r#"{"matchExpressions":[{"key":"x","operator":"In","values":["a","b"]}]}"#),
            ("x=,y", r#"{"matchLabels":{"x":""},"matchExpressions":[{"key":"y","operator":"Exists"}]}"#),
            ("!x", r#"{"matchExpressions":[{"key":"x","operator":"DoesNotExist"}]}"#),
            ("x!=a", r#"{"matchExpressions":[{"key":"x","operator":"NotIn","values":["a"]}]}"#),
            ("x=a,x=b", r#"{"matchLabels":{"x":"a"},"matchExpressions":[{"key":"x","operator":"In","values":["b"]}]}"#),
            ("x>1", r#""gt" isn't supported in label selectors"#),
            ("x<1", r#""lt" isn't supported in label selectors"#),
        ] {
            assert_eq!(json(text), expected, "{text:?}");
        }
    }

    #[test]
    fn windows_round_up() {
        for (window, expected) in [(0, 0), (1, 1), (999, 1), (1000, 1), (1001, 2), (60_000, 60)] {
            assert_eq!(seconds(Some(Duration::from_millis(window))), Some(expected), "{window} ms");
        }
        assert_eq!(seconds(None), None);
    }

    #[test]
    fn times_are_whole_seconds() {
        let text = |millis| serde_json::to_string(&Wrapped { time: UnixMillis(millis) }).unwrap();
        assert_eq!(text(1_767_323_045_999), r#"{"time":"2026-01-02T03:04:05Z"}"#);
        assert_eq!(text(0), r#"{"time":"1970-01-01T00:00:00Z"}"#);
        assert_eq!(text(u64::MAX), r#"{"time":null}"#);
    }

    #[derive(Serialize)]
    struct Wrapped {
        #[serde(serialize_with = "timestamp")]
        time: UnixMillis,
    }
}
