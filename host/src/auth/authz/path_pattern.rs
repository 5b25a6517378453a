//! Paths that need no authorization, as `pkg/authorization/path` of k8s.io/apiserver reads them.

use std::str::FromStr;

/// A path, or with a `*` at its end all paths that begin so. The leading slash is optional.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    /// Without the leading slash.
    begin: String,
    whole: bool,
}

/// A pattern with a `*` in its midst, which Go refuses as well.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("only a `*` at the end stands for anything: {0:?}")]
pub struct InvalidPathPattern(String);

impl PathPattern {
    /// This path alone.
    pub fn exact(path: &str) -> Self {
        Self { begin: without_slash(path).to_owned(), whole: true }
    }

    /// Whether the pattern stands for the path.
    pub fn matches(&self, path: &str) -> bool {
        let path = without_slash(path);
        if self.whole { path == self.begin } else { path.starts_with(&self.begin) }
    }
}

impl FromStr for PathPattern {
    type Err = InvalidPathPattern;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let begin = without_slash(text);
        let pattern = match begin.strip_suffix('*') {
            Some(begin) => Self { begin: begin.to_owned(), whole: false },
            None => Self::exact(begin),
        };
        if pattern.begin.contains('*') { Err(InvalidPathPattern(text.to_owned())) } else { Ok(pattern) }
    }
}

/// Without one leading slash.
fn without_slash(path: &str) -> &str {
    path.strip_prefix('/').unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_go() {
        for (pattern, path, expected) in [
            ("/healthz", "/healthz", true),
            ("healthz", "/healthz", true),
            ("/healthz", "/healthz/", false),
            ("/healthz", "/healthz/ping", false),
            ("/healthz", "//healthz", false),
            ("/healthz", "/Healthz", false),
            ("/healthz*", "/healthz", true),
            ("/healthz*", "/healthz/ping", true),
            ("/healthz/*", "/healthz", false),
            ("/healthz/*", "/healthz/ping", true),
            ("/", "/", true),
            ("", "/", true),
            ("/", "/healthz", false),
            ("*", "/anything/at/all", true),
            ("/*", "/anything/at/all", true),
        ] {
            let parsed: PathPattern = pattern.parse().unwrap();
            assert_eq!(parsed.matches(path), expected, "{pattern:?} {path:?}");
        }
        for bad in ["/a*b", "**", "/*/"] {
            assert!(bad.parse::<PathPattern>().is_err(), "{bad}");
        }
    }
}
