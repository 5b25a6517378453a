//! Every difference between the Go test adapter's answers and ours that is allowed, with the reason. One that no longer occurs
//! fails the case, as one does that is not listed.

use super::compare::{Comparison, Mismatch};

/// An allowed difference.
#[derive(Debug)]
pub(super) struct Difference {
    /// The questions, as they print themselves; `*` stands for any text.
    pub(super) asked: &'static [&'static str],
    /// What may differ: `status`, a header's name, `body`, `bytes` (of the same JSON value), `answer`.
    pub(super) what: &'static [&'static str],
    /// What the whole of their answer holds (status line, headers, body).
    pub(super) theirs: &'static [&'static str],
    /// What the whole of ours holds.
    pub(super) ours: &'static [&'static str],
    /// Why ours is better, or why it does not matter.
    pub(super) why: &'static str,
}

/// For good.
pub(super) const ALLOWED: &[Difference] = &[];

/// Until what is being built is there. REMOVE with its last entry.
pub(super) const PENDING: &[Difference] = &[];

impl Difference {
    /// Whether this difference covers the mismatch.
    pub(super) fn allows(&self, question: &str, mismatch: &Mismatch, comparison: &Comparison) -> bool {
        self.what.contains(&mismatch.what.as_str())
            && self.asked.iter().any(|pattern| fits(pattern, question))
            && self.theirs.iter().all(|part| comparison.theirs.contains(part))
            && self.ours.iter().all(|part| comparison.ours.contains(part))
    }
}

/// Whether the text is the pattern, with anything in place of each `*`.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(start) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        match text.split_once(part) {
            Some((_, behind)) => text = behind,
            None => return false,
        }
    }
    text.ends_with(end)
}
