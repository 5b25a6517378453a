//! Label selectors: parse, match, print, as k8s.io/apimachinery `pkg/labels/selector.go` does.
//!
//! Invariant: a [`Selector`] holds valid requirements only, sorted and without repetition, so that selectors that mean the same
//! compare equal and print alike. `x=a` and `x in (a)` are one requirement here, where Go keeps two spellings of it.

mod parse;
mod validate;

use std::fmt;

/// How a requirement compares (`selection.Operator` of k8s.io/apimachinery; `=` and `==` are `In`, `!=` is `NotIn`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operator {
    /// The label is one of the values.
    In,
    /// The label is none of the values, or absent.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is not there.
    DoesNotExist,
    /// The label is an integer above the value.
    GreaterThan,
    /// The label is an integer below the value.
    LessThan,
}

/// One requirement of a selector.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// How its value compares.
    pub operator: Operator,
    /// The values, sorted and without repetition; one integer for `GreaterThan` and `LessThan`, none for `Exists` and
    /// `DoesNotExist`.
    pub values: Vec<String>,
}

/// All of its requirements must hold; the empty selector selects everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Selector(Vec<Requirement>);

/// Why a text is no selector, in the words of k8s.io/apimachinery.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidSelector(pub String);

impl Selector {
    /// The selector that selects everything.
    pub fn everything() -> Self {
        Self::default()
    }

    /// A selector of `requirements`, which are validated and put in order.
    pub fn new(mut requirements: Vec<Requirement>) -> Result<Self, InvalidSelector> {
        for requirement in &mut requirements {
            requirement.values.sort();
            requirement.values.dedup();
            validate::requirement(requirement)?;
        }
        requirements.sort();
        requirements.dedup();
        Ok(Self(requirements))
    }

    /// Parses the form that queries carry, as in `app=web,tier in (a,b),!canary`. The empty text selects everything.
    pub fn parse(text: &str) -> Result<Self, InvalidSelector> {
        Self::new(parse::requirements(text)?)
    }

    /// The requirements, sorted by key.
    pub fn requirements(&self) -> &[Requirement] {
        &self.0
    }

    /// Whether it selects everything.
    pub fn is_everything(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it selects an object of which `get` tells each label's value.
    pub fn matches<'labels>(&self, get: impl Fn(&str) -> Option<&'labels str>) -> bool {
        self.0.iter().all(|requirement| requirement.matches(get(&requirement.key)))
    }
}

impl Requirement {
    fn matches(&self, label: Option<&str>) -> bool {
        let listed = |value: &str| self.values.iter().any(|wanted| wanted == value);
        let integers = || Some((label?.parse::<i64>().ok()?, self.values.first()?.parse::<i64>().ok()?));
        match self.operator {
            Operator::In => label.is_some_and(listed),
            Operator::NotIn => !label.is_some_and(listed),
            Operator::Exists => label.is_some(),
            Operator::DoesNotExist => label.is_none(),
            Operator::GreaterThan => integers().is_some_and(|(label, bound)| label > bound),
            Operator::LessThan => integers().is_some_and(|(label, bound)| label < bound),
        }
    }
}

impl fmt::Display for Selector {
    /// As Go prints it; a single value in the short spelling, `x=a` or `x!=a`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, requirement) in self.0.iter().enumerate() {
            if position > 0 {
                formatter.write_str(",")?;
            }
            requirement.fmt(formatter)?;
        }
        Ok(())
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, operator, values } = self;
        match (operator, values.as_slice()) {
            (Operator::Exists, _) => formatter.write_str(key),
            (Operator::DoesNotExist, _) => write!(formatter, "!{key}"),
            (Operator::GreaterThan, values) => write!(formatter, "{key}>{}", values.join(",")),
            (Operator::LessThan, values) => write!(formatter, "{key}<{}", values.join(",")),
            (Operator::In, [value]) => write!(formatter, "{key}={value}"),
            (Operator::NotIn, [value]) => write!(formatter, "{key}!={value}"),
            (Operator::In, values) => write!(formatter, "{key} in ({})", values.join(",")),
            (Operator::NotIn, values) => write!(formatter, "{key} notin ({})", values.join(",")),
        }
    }
}

#[cfg(test)]
mod tests;
