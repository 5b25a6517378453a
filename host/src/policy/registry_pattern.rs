//! Patterns of registries and repositories that components may come from.

use std::fmt;

/// `REGISTRY/PATH` exactly, everything below a path (`registry.example.com/plugins/*`), or `*` for all.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RegistryPattern(String);

impl RegistryPattern {
    /// Every registry.
    pub fn any() -> Self {
        Self("*".to_owned())
    }

    /// Reads a pattern; a `*` that is not the last segment is none.
    pub fn parse(text: &str) -> Option<Self> {
        let literal = text.strip_suffix("/*").unwrap_or(text);
        let good =
            text == "*" || (!literal.is_empty() && !literal.contains(['*', '@', ' ']) && !literal.ends_with('/'));
        good.then(|| Self(text.to_owned()))
    }

    /// Whether `repository`, registry included, is of the pattern.
    pub fn covers(&self, repository: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(prefix) => repository.starts_with(prefix),
            None => repository == self.0,
        }
    }
}

impl fmt::Display for RegistryPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_ends_at_a_slash() {
        for (pattern, repository, expected) in [
            ("r.example/plugins/*", "r.example/plugins/queue", true),
            ("r.example/plugins/*", "r.example/plugins-of-others/queue", false),
            ("r.example/*", "r.example.evil.net/queue", false),
            ("r.example/queue", "r.example/queue", true),
            ("r.example/queue", "r.example/queue/more", false),
            ("*", "anything/at-all", true),
        ] {
            assert_eq!(RegistryPattern::parse(pattern).unwrap().covers(repository), expected, "{pattern} {repository}");
        }
        for text in ["", "r.example*", "*/queue", "r.example/a@sha256:b", "r.example/"] {
            assert_eq!(RegistryPattern::parse(text), None, "{text}");
        }
    }
}
