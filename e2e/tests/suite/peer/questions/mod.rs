//! What both adapters are asked: tables, multiplied out. No question is asked twice.

mod access;
mod content;
mod documents;
mod metrics;

use std::collections::BTreeSet;

use super::ask::Question;
use crate::world::{CUSTOM, CUSTOM_OLD, EXTERNAL};

/// All questions.
pub(super) fn all() -> Vec<Question> {
    let mut questions = metrics::all();
    questions.extend(content::all());
    questions.extend(documents::all());
    questions.extend(access::all());
    let mut seen = BTreeSet::new();
    questions.retain(|question| seen.insert(question.to_string()));
    questions
}

/// A path of custom.metrics.k8s.io/v1beta2.
fn custom(path: &str) -> Question {
    Question::get(format!("{CUSTOM}{path}"))
}

/// A path of custom.metrics.k8s.io/v1beta1.
fn custom_old(path: &str) -> Question {
    Question::get(format!("{CUSTOM_OLD}{path}"))
}

/// A path of external.metrics.k8s.io/v1beta1.
fn external(path: &str) -> Question {
    Question::get(format!("{EXTERNAL}{path}"))
}

/// Targets that stand for all kinds of answers: one object, many, external, an error, a document.
fn samples() -> Vec<Question> {
    vec![
        custom("/namespaces/peer/services/front/peer_rate"),
        custom_old("/namespaces/peer/pods/*/peer_packets"),
        external("/namespaces/peer/my-external-metric"),
        custom("/namespaces/peer/pods/nobody/peer_packets"),
        custom(""),
    ]
}
