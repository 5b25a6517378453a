//! `metav1.LabelSelector`, the form in which a metric value names its series.

use serde::Serialize;

use super::pairs;
use crate::{
    api::encoding::protobuf::{Fields, Message},
    model::{Operator, Requirement, Selector},
};

/// `metav1.LabelSelector`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct LabelSelector<'selector> {
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
pub(in crate::api) struct NotRepresentable(&'static str);

impl<'selector> LabelSelector<'selector> {
    /// As `metav1.ParseToLabelSelector`, with two differences: it refuses `!=`, which is `NotIn` here, and of two values that one
    /// key must have it keeps one, where both stay here.
    pub(in crate::api) fn of(selector: &'selector Selector) -> Result<Self, NotRepresentable> {
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

impl Message for LabelSelector<'_> {
    fn write(&self, fields: &mut Fields<'_>) {
        fields.map(1, &self.match_labels);
        fields.messages(2, &self.match_expressions);
    }
}

impl Message for Expression<'_> {
    fn write(&self, fields: &mut Fields<'_>) {
        fields.string(1, self.key);
        fields.string(2, self.operator);
        fields.strings(3, self.values);
    }
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
}
