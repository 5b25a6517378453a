//! The query parameters that mean something to metrics. `limit` and `timeoutSeconds` must be integers; they, `continue`,
//! `resourceVersion` and `timeout` mean nothing, as in custom-metrics-apiserver. Of a repeated parameter the first one holds, as in
//! k8s.io/apiserver.

use std::num::IntErrorKind;

use super::fields::{FieldSelector, InvalidFieldSelector};
use crate::model::{Detail, InvalidSelector, Quoted, Selector};

const NAMES: [&str; 7] =
    ["watch", "labelSelector", "metricLabelSelector", "fieldSelector", "timeoutSeconds", "limit", "explain"];

/// Selectors stay text until they are needed: authorization goes on without a bad one, the handler then refuses it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parameters {
    /// Whether changes are asked for: `watch` is there and neither `false` nor `0`.
    pub watch: bool,
    label_selector: String,
    metric_label_selector: String,
    field_selector: String,
    integers: [Option<String>; 2],
    explain: Option<String>,
}

/// Why a query parameter is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadParameter {
    /// `limit` or `timeoutSeconds` is no integer.
    #[error("strconv.ParseInt: parsing {}: {cause}", Quoted(.text))]
    Integer {
        /// As it was written.
        text: String,
        /// What is wrong with it.
        cause: &'static str,
    },
    /// `labelSelector` or `metricLabelSelector` is no selector.
    #[error(transparent)]
    Selector(#[from] InvalidSelector),
    /// `fieldSelector` is no selector of objects of this API.
    #[error(transparent)]
    Fields(#[from] InvalidFieldSelector),
    /// The field selector asks for another object than the path.
    #[error("fieldSelector metadata.name doesn't match requested name")]
    Name,
    /// `explain` asks for something else.
    #[error("explain={} is not known; use explain=true, or explain=raw for URLs, bodies and log lines as well", Quoted(.0))]
    Explain(String),
}

impl Parameters {
    pub(super) fn parse(query: &str) -> Self {
        let mut first = NAMES.map(|_| None);
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let place = NAMES.iter().zip(&mut first).find(|(known, _)| **known == name);
            if let Some((_, place)) = place {
                place.get_or_insert(value.into_owned());
            }
        }
        let [watch, label_selector, metric_label_selector, field_selector, timeout_seconds, limit, explain] = first;
        Self {
            watch: watch.is_some_and(|value| !matches!(value.to_lowercase().as_str(), "false" | "0")),
            label_selector: label_selector.unwrap_or_default(),
            metric_label_selector: metric_label_selector.unwrap_or_default(),
            field_selector: field_selector.unwrap_or_default(),
            integers: [timeout_seconds, limit],
            explain,
        }
    }

    /// `labelSelector` and `metricLabelSelector` as they were sent.
    pub(super) fn selectors(&self) -> (&str, &str) {
        (&self.label_selector, &self.metric_label_selector)
    }

    /// `explain`: whether the metric is to be explained, and how far; `false` and `0` say no.
    pub fn explain(&self) -> Result<Option<Detail>, BadParameter> {
        match self.explain.as_deref() {
            None | Some("false" | "0") => Ok(None),
            Some("true" | "1") => Ok(Some(Detail::Summary)),
            Some("raw") => Ok(Some(Detail::Raw)),
            Some(other) => Err(BadParameter::Explain(other.to_owned())),
        }
    }

    /// `labelSelector`: the objects of a custom metric, the series of an external one.
    pub fn labels(&self) -> Result<Selector, InvalidSelector> {
        Selector::parse(&self.label_selector)
    }

    /// `metricLabelSelector`: the series of a custom metric.
    pub fn metric_labels(&self) -> Result<Selector, InvalidSelector> {
        Selector::parse(&self.metric_label_selector)
    }

    /// `fieldSelector`: the objects of a list of metrics.k8s.io.
    pub fn fields(&self) -> Result<FieldSelector, InvalidFieldSelector> {
        FieldSelector::parse(&self.field_selector)
    }

    /// A field selector beside a name must ask for that name (`pkg/endpoints/handlers/get.go` of k8s.io/apiserver).
    pub(super) fn check_name(&self, name: &str) -> Result<(), BadParameter> {
        let mut terms = self.field_selector.split(',').filter(|term| !term.is_empty());
        let asks_for_it = |term: &str| {
            let value = term.strip_prefix("metadata.name=").map(|value| value.strip_prefix('=').unwrap_or(value));
            value == Some(name)
        };
        if self.field_selector.is_empty() || terms.any(asks_for_it) { Ok(()) } else { Err(BadParameter::Name) }
    }

    /// What must be an integer is one: the first error that k8s.io/apiserver has, before selectors, when it decodes `ListOptions`.
    pub(super) fn check_integers(&self) -> Result<(), BadParameter> {
        for text in self.integers.iter().flatten() {
            if let Err(error) = text.parse::<i64>() {
                let cause = match error.kind() {
                    IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
                    _ => "invalid syntax",
                };
                return Err(BadParameter::Integer { text: text.clone(), cause });
            }
        }
        Ok(())
    }
}
