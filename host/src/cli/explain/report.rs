//! The whole answer, as it is printed.

use serde::Serialize;
use serde_json::Value;

use super::{ExplainError, question::Question};

/// What the exit code says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Every metric has a value.
    Answered,
    /// One has none.
    Failing,
    /// Whether one has none is not known.
    Unasked,
}

impl Outcome {
    /// The process's exit code.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Answered => 0,
            Self::Failing => 1,
            Self::Unasked => ExplainError::EXIT_CODE,
        }
    }
}

/// The whole answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The autoscaler and what it scales, if one was asked about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Its conditions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Its last Warnings.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
    /// Each metric.
    pub metrics: Vec<MetricReport>,
    /// What could not be read around them, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unanswered: Vec<String>,
}

/// A HorizontalPodAutoscaler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// As `namespace/name`.
    pub autoscaler: String,
    /// As `Deployment web`.
    pub scales: String,
    /// Which pods those are, or why that is not known.
    pub selector: Result<String, String>,
}

/// A condition of an autoscaler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// As in `ScalingActive`.
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// In a word.
    pub reason: String,
    /// In a sentence.
    pub message: String,
}

/// One metric.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricReport {
    /// What was asked.
    #[serde(flatten)]
    pub question: Question,
    /// Whether it has a value.
    pub verdict: Verdict,
    /// The values, or what is wrong.
    pub summary: String,
    /// What to do about it; empty if nothing need be done.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remedies: Vec<String>,
    /// The adapter's own explanation.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub explanation: Value,
}

/// Whether a metric has a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// It has.
    Answers,
    /// It has none.
    Fails,
    /// It could not be asked.
    Unasked,
}

impl Report {
    /// A metric that fails outweighs one that could not be asked: it is certain.
    pub fn outcome(&self) -> Outcome {
        let any = |verdict| self.metrics.iter().any(|metric| metric.verdict == verdict);
        match (any(Verdict::Fails), any(Verdict::Unasked)) {
            (true, _) => Outcome::Failing,
            (false, true) => Outcome::Unasked,
            (false, false) => Outcome::Answered,
        }
    }
}
