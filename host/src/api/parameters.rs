//! The query parameters that mean something to metrics. `limit`, `continue`, `resourceVersion` and `timeout` are accepted and mean
//! nothing, as in custom-metrics-apiserver; of a repeated parameter the first one holds, as in k8s.io/apiserver.

use super::fields::{FieldSelector, InvalidFieldSelector};
use crate::model::{InvalidSelector, Selector};

/// Selectors stay text until they are needed: authorization goes on without a bad one, the handler then refuses it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parameters {
    /// Whether changes are asked for: `watch` is there and neither `false` nor `0`.
    pub watch: bool,
    label_selector: String,
    metric_label_selector: String,
    field_selector: String,
}

/// Why a query parameter is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadParameter {
    /// `labelSelector` or `metricLabelSelector` is no selector.
    #[error(transparent)]
    Selector(#[from] InvalidSelector),
    /// `fieldSelector` is no selector of objects of this API.
    #[error(transparent)]
    Fields(#[from] InvalidFieldSelector),
    /// The field selector asks for another object than the path.
    #[error("fieldSelector metadata.name doesn't match requested name")]
    Name,
}

impl Parameters {
    pub(super) fn parse(query: &str) -> Self {
        let first = |wanted: &str| {
            url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == wanted).map(|(_, value)| value)
        };
        let text = |wanted: &str| first(wanted).unwrap_or_default().into_owned();
        Self {
            watch: first("watch").is_some_and(|value| !matches!(value.to_lowercase().as_str(), "false" | "0")),
            label_selector: text("labelSelector"),
            metric_label_selector: text("metricLabelSelector"),
            field_selector: text("fieldSelector"),
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
}
