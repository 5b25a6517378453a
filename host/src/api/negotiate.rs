//! What form the client accepts: `Accept` (RFC 9110, 12.5.1, with the parameters of k8s.io/apiserver
//! `pkg/endpoints/handlers/negotiation`) and whether a person reads it.

use axum::{body::Body, response::Response};
use http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts};
use serde::Serialize;

/// The forms in which objects are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Encoding {
    /// The default.
    #[default]
    Json,
}

/// How to write the answer to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Answer {
    encoding: Encoding,
    pub(super) pretty: bool,
}

/// Nothing that the client accepts can be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("only the following media types are accepted: application/json")]
pub(super) struct NotAcceptable;

impl Encoding {
    const ALL: [Self; 1] = [Self::Json];

    fn media_type(self) -> (&'static str, &'static str) {
        match self {
            Self::Json => ("application", "json"),
        }
    }

    fn content_type(self) -> HeaderValue {
        match self {
            Self::Json => HeaderValue::from_static("application/json"),
        }
    }
}

impl Answer {
    /// The answer for an object that can't be turned into another kind (a `Table`, say).
    pub(super) fn negotiate(head: &Parts) -> Result<Self, NotAcceptable> {
        let ranges = accepted(&head.headers);
        let fits = |range: &Range| range.conversion == Conversion::None;
        let (encoding, pretty) = match ranges {
            None => (Encoding::default(), false),
            Some(ranges) => {
                let mut matches = ranges.iter().filter(|range| fits(range));
                matches.find_map(|range| Some((range.encoding()?, range.pretty))).ok_or(NotAcceptable)?
            }
        };
        Ok(Self { encoding, pretty: pretty || for_a_person(head) })
    }

    /// Whether `/apis` is asked for in its aggregated form, v2. It wins over the legacy form wherever it is acceptable, as in
    /// `pkg/endpoints/discovery/aggregated/wrapper.go`.
    pub(super) fn negotiate_aggregated(head: &Parts) -> Option<Self> {
        let ranges = accepted(&head.headers).unwrap_or_default();
        let mut matches = ranges.iter().filter(|range| range.conversion == Conversion::AggregatedDiscovery);
        let (encoding, pretty) = matches.find_map(|range| Some((range.encoding()?, range.pretty)))?;
        Some(Self { encoding, pretty: pretty || for_a_person(head) })
    }

    /// The response with `object` as its body. It ends with a line feed, as everything that Go's `json.Encoder` writes.
    pub(super) fn write<T: Serialize>(self, code: StatusCode, object: &T) -> Response {
        let written = match self {
            Self { encoding: Encoding::Json, pretty: false } => serde_json::to_vec(object),
            Self { encoding: Encoding::Json, pretty: true } => serde_json::to_vec_pretty(object),
        };
        // Writing these types to memory can't fail; if that is ever wrong, an empty 500 is all that can be said.
        let (code, mut body) = written.map_or((StatusCode::INTERNAL_SERVER_ERROR, Vec::new()), |body| (code, body));
        body.push(b'\n');
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = code;
        response.headers_mut().insert(header::CONTENT_TYPE, self.encoding.content_type());
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
        response
    }
}

/// One media range of `Accept`.
#[derive(Debug, Clone, PartialEq)]
struct Range {
    kind: String,
    subkind: String,
    quality: f32,
    pretty: bool,
    conversion: Conversion,
}

/// What the parameters `as`, `g` and `v` ask the object to become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Conversion {
    None,
    AggregatedDiscovery,
    Unknown,
}

impl Range {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, subkind) = match parts.next()? {
            "*" => ("*", "*"),
            range => range.split_once('/')?,
        };
        let mut range = Self {
            kind: kind.trim().to_lowercase(),
            subkind: subkind.trim().to_lowercase(),
            quality: 1.0,
            pretty: false,
            conversion: Conversion::None,
        };
        let (mut group, mut version, mut target) = ("", "", "");
        for (name, value) in parts.filter_map(|parameter| parameter.split_once('=')) {
            match (name.trim(), value.trim()) {
                ("q", value) => range.quality = value.parse().ok().filter(|quality| (0.0..=1.0).contains(quality))?,
                ("g", value) => group = value,
                ("v", value) => version = value,
                ("as", value) => target = value,
                ("pretty", value) => range.pretty = value == "1",
                // A stream of changes, or objects of another server version: neither exists here.
                ("stream" | "sv", value) if !value.is_empty() => range.conversion = Conversion::Unknown,
                _ => {}
            }
        }
        if range.conversion == Conversion::None {
            range.conversion = match (group, version, target) {
                ("", "", "") => Conversion::None,
                ("apidiscovery.k8s.io", "v2", "APIGroupDiscoveryList") => Conversion::AggregatedDiscovery,
                _ => Conversion::Unknown,
            };
        }
        Some(range)
    }

    fn encoding(&self) -> Option<Encoding> {
        Encoding::ALL.into_iter().find(|encoding| {
            let (kind, subkind) = encoding.media_type();
            (self.kind == kind && (self.subkind == subkind || self.subkind == "*"))
                || (self.kind == "*" && self.subkind == "*")
        })
    }

    fn wildcards(&self) -> u8 {
        u8::from(self.kind == "*") + u8::from(self.subkind == "*")
    }
}

/// The ranges of `Accept`, the most wanted first; `None` without that header. A range with quality 0 is not acceptable.
fn accepted(headers: &HeaderMap) -> Option<Vec<Range>> {
    let values: Vec<&str> = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let text = values.join(",");
    if text.trim().is_empty() {
        return None;
    }
    let mut ranges: Vec<Range> = text.split(',').filter_map(Range::parse).filter(|range| range.quality > 0.0).collect();
    ranges.sort_by(|left, right| right.quality.total_cmp(&left.quality).then(left.wildcards().cmp(&right.wildcards())));
    Some(ranges)
}

/// `isPrettyPrint`: the parameter `pretty`, or else a browser, curl or wget.
fn for_a_person(head: &Parts) -> bool {
    let query = head.uri.query().unwrap_or_default();
    let asked =
        url::form_urlencoded::parse(query.as_bytes()).find(|(name, value)| name == "pretty" && !value.is_empty());
    if let Some((_, value)) = asked {
        return matches!(&*value, "1" | "t" | "T" | "true" | "TRUE" | "True");
    }
    let agent = head.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    ["curl", "Wget", "Mozilla/5.0"].iter().any(|person| agent.starts_with(person))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::get(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn accept(value: &str) -> Parts {
        head("/", &[("accept", value)])
    }

    #[test]
    fn accepts_of_known_clients_get_json() {
        for value in [
            "",
            "*/*",
            "*",
            "application/json",
            "application/json, */*",
            "application/vnd.kubernetes.protobuf, */*",
            "application/vnd.kubernetes.protobuf,application/json",
            "application/json;charset=utf-8",
            "application/*;q=0.1",
            "text/html, application/json;q=0.5",
            "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
        ] {
            assert!(Answer::negotiate(&accept(value)).is_ok(), "{value:?}");
        }
        assert!(Answer::negotiate(&head("/", &[])).is_ok());
        assert!(Answer::negotiate(&head("/", &[("accept", "text/html"), ("accept", "application/json")])).is_ok());
    }

    #[test]
    fn other_accepts_are_refused() {
        for value in [
            "text/html",
            "application/cbor",
            "application/vnd.kubernetes.protobuf",
            "application/json;q=0",
            "application/json;as=Table;v=v1;g=meta.k8s.io",
            "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
            "application/json;stream=watch",
            "application/json;q=2",
            "json",
        ] {
            assert_eq!(Answer::negotiate(&accept(value)), Err(NotAcceptable), "{value:?}");
        }
    }

    #[test]
    fn aggregated_discovery_is_told_by_its_parameters() {
        for (value, expected) in [
            ("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList", true),
            ("application/json, application/json; as=APIGroupDiscoveryList; g=apidiscovery.k8s.io; v=v2;q=0.1", true),
            ("application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList", false),
            ("application/json;g=apidiscovery.k8s.io;v=v2;as=Table", false),
            ("application/json", false),
            ("*/*", false),
        ] {
            assert_eq!(Answer::negotiate_aggregated(&accept(value)).is_some(), expected, "{value:?}");
        }
    }

    #[test]
    fn people_get_indented_json() {
        for (uri, agent, expected) in [
            ("/", "kubectl/v1.36.2 (linux/amd64) kubernetes/4cb5f07", false),
            ("/", "curl/8.5.0", true),
            ("/", "Wget/1.21", true),
            ("/", "Mozilla/5.0 (X11)", true),
            ("/?pretty=true", "kubectl", true),
            ("/?pretty=1&x=y", "kubectl", true),
            ("/?pretty=false", "curl/8.5.0", false),
            ("/?pretty=", "curl/8.5.0", true),
        ] {
            assert_eq!(
                Answer::negotiate(&head(uri, &[("user-agent", agent)])).unwrap().pretty,
                expected,
                "{uri} {agent}"
            );
        }
        assert!(Answer::negotiate(&accept("application/json;pretty=1")).unwrap().pretty);
    }
}
