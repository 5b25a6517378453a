//! Label selectors: parsed by the adapter, matched here as Kubernetes does.

use crate::{Label, Operator, Requirement};

/// Requirements on labels; all of them must hold, and without any everything is selected.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selector {
    requirements: Vec<Requirement>,
}

impl Selector {
    /// The empty selector, which selects everything.
    pub fn all() -> Self {
        Self::default()
    }

    /// With one more requirement: label `key` has `value`.
    #[must_use]
    pub fn equals(self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.and(Requirement { key: key.into(), operator: Operator::In, values: vec![value.into()] })
    }

    /// With one more requirement.
    #[must_use]
    pub fn and(mut self, requirement: Requirement) -> Self {
        self.requirements.push(requirement);
        self
    }

    /// The requirements, in the adapter's order.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// The one value that label `key` must have, as `key=value` asks for it.
    pub fn value_of(&self, key: &str) -> Option<&str> {
        self.requirements.iter().find_map(|requirement| match (requirement.operator, requirement.values.as_slice()) {
            (Operator::In, [value]) if requirement.key == key => Some(value.as_str()),
            _ => None,
        })
    }

    /// Whether `labels` fulfil every requirement (k8s.io/apimachinery labels.Requirement.Matches).
    pub fn matches(&self, labels: &[Label]) -> bool {
        self.requirements.iter().all(|requirement| {
            let value = labels.iter().find(|label| label.key == requirement.key).map(|label| label.value.as_str());
            is_fulfilled(requirement, value)
        })
    }
}

impl From<Vec<Requirement>> for Selector {
    fn from(requirements: Vec<Requirement>) -> Self {
        Self { requirements }
    }
}

fn is_fulfilled(requirement: &Requirement, value: Option<&str>) -> bool {
    let is_listed = |value: &str| requirement.values.iter().any(|listed| listed == value);
    let bound = || requirement.values.first()?.parse::<i64>().ok();
    match requirement.operator {
        Operator::In => value.is_some_and(is_listed),
        Operator::NotIn => !value.is_some_and(is_listed),
        Operator::Exists => value.is_some(),
        Operator::DoesNotExist => value.is_none(),
        Operator::GreaterThan => integer(value).zip(bound()).is_some_and(|(value, bound)| value > bound),
        Operator::LessThan => integer(value).zip(bound()).is_some_and(|(value, bound)| value < bound),
    }
}

fn integer(value: Option<&str>) -> Option<i64> {
    value?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requirement(key: &str, operator: Operator, values: &[&str]) -> Requirement {
        Requirement { key: key.to_owned(), operator, values: values.iter().map(|&value| value.to_owned()).collect() }
    }

    #[test]
    fn every_operator_matches_as_in_kubernetes() {
        let labels = [Label::new("queue", "orders"), Label::new("shard", "7"), Label::new("empty", "")];
        for (key, operator, values, expected) in [
            ("queue", Operator::In, &["mail", "orders"][..], true),
            ("queue", Operator::In, &["mail"], false),
            ("absent", Operator::In, &[""], false),
            ("empty", Operator::In, &[""], true),
            ("queue", Operator::NotIn, &["mail"], true),
            ("queue", Operator::NotIn, &["orders"], false),
            ("absent", Operator::NotIn, &["orders"], true),
            ("queue", Operator::Exists, &[], true),
            ("absent", Operator::Exists, &[], false),
            ("absent", Operator::DoesNotExist, &[], true),
            ("empty", Operator::DoesNotExist, &[], false),
            ("shard", Operator::GreaterThan, &["6"], true),
            ("shard", Operator::GreaterThan, &["7"], false),
            ("shard", Operator::LessThan, &["8"], true),
            ("shard", Operator::LessThan, &["7"], false),
            ("queue", Operator::LessThan, &["7"], false),
            ("absent", Operator::GreaterThan, &["1"], false),
        ] {
            let selector = Selector::all().and(requirement(key, operator, values));
            assert_eq!(selector.matches(&labels), expected, "{key} {operator:?} {values:?}");
        }
    }

    #[test]
    fn all_requirements_must_hold_and_none_selects_everything() {
        let labels = [Label::new("a", "1")];
        assert!(Selector::all().matches(&labels) && Selector::all().matches(&[]));
        assert!(!Selector::all().equals("a", "1").equals("b", "2").matches(&labels));
    }

    #[test]
    fn a_value_is_required_only_by_equality_with_one() {
        let selector = Selector::all()
            .equals("a", "1")
            .and(requirement("b", Operator::In, &["1", "2"]))
            .and(requirement("c", Operator::NotIn, &["1"]));
        assert_eq!(["a", "b", "c", "d"].map(|key| selector.value_of(key)), [Some("1"), None, None, None]);
    }
}
