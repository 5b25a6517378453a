//! The header `Accept`, parsed and ordered as github.com/munnerz/goautoneg does it for k8s.io/apiserver. Two things are RFC 9110's
//! instead: several lines of the header are one list (5.3), and media types are compared without regard to case (8.3.1).

use std::borrow::Cow;

use http::{HeaderMap, header};

use super::encoding::Encoding;

/// A media range that a client accepts.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Range<'header> {
    kind: &'header str,
    subkind: &'header str,
    quality: f64,
    pub(super) parameters: Parameters<'header>,
}

/// The parameters of a range that mean something to Kubernetes (`acceptMediaTypeOptions`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Parameters<'header> {
    /// What the object is to become.
    pub(super) target: Option<Target<'header>>,
    /// The schema of a stream of changes.
    pub(super) stream: &'header str,
    /// The version of the server's options.
    pub(super) server_version: &'header str,
    /// Whether a person reads it.
    pub(super) pretty: bool,
}

/// The kind of object that `as`, `g` and `v` ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Target<'header> {
    pub(super) group: &'header str,
    pub(super) version: &'header str,
    pub(super) kind: &'header str,
}

/// The header's whole text; empty without it.
pub(super) fn text(headers: &HeaderMap) -> Cow<'_, str> {
    let mut lines = headers.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok());
    let first = Cow::Borrowed(lines.next().unwrap_or_default());
    lines.fold(first, |text, line| Cow::Owned(format!("{text},{line}")))
}

/// The ranges of the header's text, the most wanted first. What is no range is left out.
pub(super) fn ranges(text: &str) -> Vec<Range<'_>> {
    let mut ranges: Vec<Range<'_>> = Vec::new();
    for range in text.split(',').filter_map(Range::parse) {
        // goautoneg's order is none (a specific range goes before a wildcard of higher quality, which goes before it as well), so
        // the outcome is that of the sort. Go sorts up to twelve elements like this.
        let mut position = ranges.len();
        while position > 0 && ranges.get(position - 1).is_some_and(|before| range.goes_before(before)) {
            position -= 1;
        }
        ranges.insert(position, range);
    }
    ranges
}

impl<'header> Range<'header> {
    fn parse(text: &'header str) -> Option<Self> {
        let mut parts = text.trim_matches(' ').split(';');
        let media_type = parts.next()?;
        let (kind, subkind) = match media_type.split_once('/') {
            Some((_, subkind)) if subkind.contains('/') => return None,
            Some((kind, subkind)) if !subkind.is_empty() => (kind.trim_matches(' '), subkind.trim_matches(' ')),
            _ if media_type.trim_end_matches('/').trim_matches(' ') == "*" => ("*", "*"),
            _ => return None,
        };
        let mut range = Self { kind, subkind, quality: 1.0, parameters: Parameters::default() };
        for (name, value) in parts.filter_map(|parameter| parameter.split_once('=')) {
            if !value.is_empty() && !value.contains('=') {
                range.set(name.trim_matches(' '), value);
            }
        }
        Some(range)
    }

    fn set(&mut self, name: &str, value: &'header str) {
        let Parameters { target, stream, server_version, pretty } = &mut self.parameters;
        let trimmed = value.trim_matches(' ');
        match name {
            "q" => self.quality = value.parse().unwrap_or_default(),
            "g" => target.get_or_insert_default().group = trimmed,
            "v" => target.get_or_insert_default().version = trimmed,
            "as" => target.get_or_insert_default().kind = trimmed,
            "stream" => *stream = trimmed,
            "sv" => *server_version = trimmed,
            "pretty" => *pretty = trimmed == "1",
            _ => {}
        }
    }

    /// `acceptSlice.Less`.
    fn goes_before(&self, other: &Self) -> bool {
        self.quality > other.quality
            || (self.kind != "*" && other.kind == "*")
            || (self.subkind != "*" && other.subkind == "*")
    }

    /// Whether the range holds the media type of an encoding.
    pub(super) fn holds(&self, encoding: Encoding) -> bool {
        let (kind, subkind) = encoding.media_type().split_once('/').unwrap_or_default();
        let same_kind = self.kind.eq_ignore_ascii_case(kind);
        same_kind && (self.subkind.eq_ignore_ascii_case(subkind) || self.subkind == "*")
            || self.kind == "*" && self.subkind == "*"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(text: &str) -> Vec<String> {
        ranges(text).iter().map(|range| format!("{}/{}", range.kind, range.subkind)).collect()
    }

    #[test]
    fn ranges_are_ordered_as_in_go() {
        for (text, expected) in [
            ("", vec![]),
            ("a/b", vec!["a/b"]),
            ("a/b;q=0.5,c/d", vec!["c/d", "a/b"]),
            ("a/b,c/d", vec!["a/b", "c/d"]),
            ("*/*,a/*,a/b", vec!["a/b", "a/*", "*/*"]),
            // Specific before wildcard, whatever the quality.
            ("*/*,a/b;q=0.1", vec!["a/b", "*/*"]),
            ("*", vec!["*/*"]),
            (" a / b ; q=0.1 , c/d", vec!["c/d", "a/b"]),
            ("a,a/b/c,/,a/", vec![]),
            ("a/b;q=x,c/d;q=0.1", vec!["c/d", "a/b"]),
        ] {
            assert_eq!(order(text), expected, "{text:?}");
        }
    }

    #[test]
    fn parameters_are_told() {
        let target = Some(Target { group: "meta.k8s.io", version: "v1", kind: "Table" });
        for (text, expected) in [
            ("a/b;as=Table;v=v1;g=meta.k8s.io", Parameters { target, ..Parameters::default() }),
            ("a/b; g = meta.k8s.io ;v=v1;as=Table;x;y=1", Parameters { target, ..Parameters::default() }),
            ("a/b;as=;v==", Parameters::default()),
            (
                "a/b;v=v1",
                Parameters { target: Some(Target { version: "v1", ..Target::default() }), ..Parameters::default() },
            ),
            (
                "a/b;pretty=1;stream=watch;sv=v1",
                Parameters { pretty: true, stream: "watch", server_version: "v1", target: None },
            ),
            ("a/b;pretty=true", Parameters::default()),
        ] {
            assert_eq!(ranges(text).first().map(|range| range.parameters), Some(expected), "{text:?}");
        }
    }

    #[test]
    fn lines_are_one_list() {
        let mut headers = HeaderMap::new();
        assert_eq!(text(&headers), "");
        headers.append(header::ACCEPT, "text/html".parse().unwrap());
        headers.append(header::ACCEPT, "application/json".parse().unwrap());
        assert_eq!(text(&headers), "text/html,application/json");
    }
}
