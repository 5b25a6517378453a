//! Label selectors: parse, match, print, as `labels.Parse` of k8s.io/apimachinery `pkg/labels/selector.go` does.

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

/// All of its requirements must hold; the empty selector selects everything. Requirements are sorted by key, so that equal
/// selectors compare equal.
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

    /// The requirements, sorted by key.
    pub fn requirements(&self) -> &[Requirement] {
        &self.0
    }
}
