//! What a plugin may answer: the `serves` of its plugin.yaml, parsed.

use super::{CustomMetric, GroupResource, MetricName};

/// A metric name or a pattern of them, in which each `*` stands for any text, the empty one too.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern(String);

impl Pattern {
    /// Keeps `text`; every text is a pattern.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it stands for one name alone.
    pub fn is_exact(&self) -> bool {
        !self.0.contains('*')
    }

    /// Bytes before the first `*`: of two patterns the one with more of them is closer to a name.
    pub fn literal_prefix_len(&self) -> usize {
        self.0.find('*').unwrap_or(self.0.len())
    }

    /// The pattern in lower case, for names that match without regard to case.
    #[must_use]
    pub fn folded(&self) -> Self {
        Self(self.0.to_lowercase())
    }

    /// Whether `name` is of the pattern.
    pub fn matches(&self, name: &str) -> bool {
        let Some((prefix, rest)) = self.0.split_once('*') else { return self.0 == name };
        let Some(mut remaining) = name.strip_prefix(prefix) else { return false };
        let mut pieces = rest.split('*').peekable();
        while let Some(piece) = pieces.next() {
            if pieces.peek().is_none() {
                return remaining.ends_with(piece);
            }
            // The leftmost match of each piece leaves the most room for those after it.
            let Some((_, after)) = remaining.split_once(piece) else { return false };
            remaining = after;
        }
        true
    }
}

/// A claim on custom metrics, as in `pods/queue_*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomPattern {
    /// The kind of objects, without patterns.
    pub resource: GroupResource,
    /// The metrics' names.
    pub name: Pattern,
}

/// What a plugin may answer, and how it stands against others that claim the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims {
    /// External metrics; absent means those that the plugin lists.
    pub external: Option<Vec<Pattern>>,
    /// Custom metrics; absent means those that the plugin lists.
    pub custom: Option<Vec<CustomPattern>>,
    /// All of metrics.k8s.io.
    pub resource: bool,
    /// Namespaces that it answers for; absent means all, and requests without a namespace.
    pub namespaces: Option<Vec<String>>,
    /// The higher one answers where claims are alike otherwise.
    pub priority: i32,
}

/// What a plugin lists: its own answer, checked and sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listed {
    /// Of `custom-metrics.list-metrics`.
    pub custom: Vec<CustomMetric>,
    /// Of `external-metrics.list-metrics`.
    pub external: Vec<MetricName>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_text() {
        for (pattern, name, expected) in [
            ("queue", "queue", true),
            ("queue", "queue_depth", false),
            ("queue_*", "queue_", true),
            ("queue_*", "queue_depth", true),
            ("*", "", true),
            ("*_total", "requests_total", true),
            ("*_total", "requests_total_5m", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("a*a", "a", false),
            ("**", "x", true),
        ] {
            assert_eq!(Pattern::new(pattern).matches(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn the_literal_prefix_ends_at_the_first_star() {
        assert_eq!(Pattern::new("queue_*_depth").literal_prefix_len(), 6);
        assert!(Pattern::new("queue").is_exact());
    }
}
