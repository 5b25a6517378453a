//! URLs with placeholders. What is put in is percent-encoded and never changes the path's structure.

use metrics_plugin::{Failure, Selector};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// All but the unreserved characters (RFC 3986, section 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A URL with placeholders, read once.
#[derive(Debug)]
pub(crate) struct Template {
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    Text(String),
    Namespace,
    Metric,
    Object,
    Label(String),
}

/// What a request is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope<'request> {
    pub(crate) metric: &'request str,
    pub(crate) namespace: Option<&'request str>,
    pub(crate) object: Option<&'request str>,
    pub(crate) series: &'request Selector,
}

/// Why a text is no template.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TemplateError {
    #[error("`{0}` is no http or https URL")]
    Scheme(String),
    #[error(
        "`{{{0}}}` is no placeholder; use {{namespace}}, {{metric}}, {{object}} or {{labels.KEY}}, or write %7B and %7D for braces"
    )]
    Unknown(String),
    #[error("a brace is not closed; write %7B for a brace that is not a placeholder's")]
    Unclosed,
    #[error("the origin must not depend on the request; use placeholders behind the host only")]
    Origin,
}

impl Template {
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        let authority = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let authority = authority.ok_or_else(|| TemplateError::Scheme(text.to_owned()))?;
        if authority.split(['/', '?', '#']).next().is_some_and(|host| host.contains('{')) {
            return Err(TemplateError::Origin);
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('{') {
            let (name, behind) = behind.split_once('}').ok_or(TemplateError::Unclosed)?;
            parts.push(Part::Text(before.to_owned()));
            parts.push(match name {
                "namespace" => Part::Namespace,
                "metric" => Part::Metric,
                "object" => Part::Object,
                _ => match name.strip_prefix("labels.") {
                    Some(key) if !key.is_empty() => Part::Label(key.to_owned()),
                    _ => return Err(TemplateError::Unknown(name.to_owned())),
                },
            });
            rest = behind;
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Self { parts })
    }

    /// Whether each object has a URL of its own.
    pub(crate) fn names_the_object(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Object))
    }

    /// The labels that the selector must give.
    pub(crate) fn labels(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Label(key) => Some(key.as_str()),
            _ => None,
        })
    }

    /// The URL of one request. Fails as `bad-request` if the request does not say what a placeholder needs.
    pub(crate) fn fill(&self, scope: Scope<'_>) -> Result<String, Failure> {
        let mut url = String::new();
        for part in &self.parts {
            let value = match part {
                Part::Text(text) => {
                    url.push_str(text);
                    continue;
                }
                Part::Metric => scope.metric,
                Part::Namespace => scope.namespace.ok_or_else(|| {
                    Failure::bad_request(format!(
                        "metric `{}` is asked for by namespace, and this request has none",
                        scope.metric
                    ))
                })?,
                Part::Object => scope.object.ok_or_else(|| {
                    Failure::bad_request(format!(
                        "metric `{}` is asked for by object, and this request names none",
                        scope.metric
                    ))
                })?,
                Part::Label(key) => scope.series.value_of(key).ok_or_else(|| {
                    Failure::bad_request(format!("metric `{}` needs `{key}=VALUE` in its selector", scope.metric))
                })?,
            };
            // A dot segment would walk up the path, even encoded (RFC 3986, section 5.2.4).
            if matches!(value, "." | "..") {
                return Err(Failure::bad_request(format!("metric `{}` cannot be asked for `{value}`", scope.metric)));
            }
            url.extend(utf8_percent_encode(value, RESERVED));
        }
        Ok(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(text: &str, series: &Selector) -> Result<String, String> {
        let scope = Scope { metric: "depth", namespace: Some("shop"), object: Some("a/b"), series };
        let template = Template::parse(text).map_err(|error| error.to_string())?;
        template.fill(scope).map_err(|failure| failure.message)
    }

    #[test]
    fn placeholders_are_filled_and_encoded() {
        let series = Selector::all().equals("queue", "a b&c=d");
        let url = fill("https://a:1/{namespace}/{metric}/{object}?q={labels.queue}#x", &series);
        assert_eq!(url.as_deref(), Ok("https://a:1/shop/depth/a%2Fb?q=a%20b%26c%3Dd#x"));
        assert_eq!(fill("http://a", &series).as_deref(), Ok("http://a"));
    }

    #[test]
    fn what_a_request_does_not_say_is_asked_for() {
        let failure = fill("http://a/{labels.queue}", &Selector::all()).unwrap_err();
        assert_eq!(failure, "metric `depth` needs `queue=VALUE` in its selector");
        let scope = Scope { metric: "depth", namespace: None, object: None, series: &Selector::all() };
        for text in ["http://a/{namespace}", "http://a/{object}"] {
            assert!(Template::parse(text).unwrap().fill(scope).is_err(), "{text}");
        }
    }

    #[test]
    fn dot_segments_are_refused() {
        assert!(fill("http://a/{labels.queue}/x", &Selector::all().equals("queue", "..")).is_err());
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for (text, expected) in [
            ("ftp://a", "`ftp://a` is no http or https URL"),
            (
                "http://{namespace}.svc/x",
                "the origin must not depend on the request; use placeholders behind the host only",
            ),
            ("http://a/{name", "a brace is not closed; write %7B for a brace that is not a placeholder's"),
            (
                "http://a/{pod}",
                "`{pod}` is no placeholder; use {namespace}, {metric}, {object} or {labels.KEY}, or write %7B and %7D for braces",
            ),
        ] {
            assert_eq!(fill(text, &Selector::all()), Err(expected.to_owned()));
        }
        assert!(Template::parse("http://a/{labels.}").is_err());
    }
}
