//! What form the client accepts, as k8s.io/apiserver `pkg/endpoints/handlers/negotiation` finds it, and whether a person reads it.

use axum::response::Response;
use http::{HeaderValue, StatusCode, request::Parts};

use super::{
    accept::{self, Parameters, Target},
    content,
    encoding::{Document, Encoding, Unwritable},
};

/// `/apis` in its aggregated form.
const AGGREGATED: Target<'_> = Target { group: "apidiscovery.k8s.io", version: "v2", kind: "APIGroupDiscoveryList" };

/// How to write the answer to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) encoding: Encoding,
    pub(super) pretty: bool,
    pub(super) gzip: bool,
}

/// Nothing that the client accepts can be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "only the following media types are accepted: {}",
    Encoding::ALL.map(Encoding::media_type).join(", ")
)]
pub(super) struct NotAcceptable;

impl Answer {
    /// What is said to a client that accepts nothing that can be written (`WriteRawJSON`).
    pub(super) const UNASKED: Self = Self { encoding: Encoding::JSON, pretty: true, gzip: false };

    /// The answer for an object that can't be turned into another kind (`DefaultEndpointRestrictions`).
    pub(super) fn negotiate(head: &Parts) -> Result<Self, NotAcceptable> {
        let as_it_is = |_, parameters: &Parameters<'_>| {
            (parameters.target.is_none() && parameters.server_version.is_empty()).then_some(())
        };
        choose(head, as_it_is).map(|(answer, ())| answer).ok_or(NotAcceptable)
    }

    /// Whether `/apis` is asked for in its aggregated form, v2. It wins over the legacy form wherever it is acceptable, as in
    /// `pkg/endpoints/discovery/aggregated/wrapper.go`.
    pub(super) fn negotiate_aggregated(head: &Parts) -> Option<Self> {
        let aggregated = |_, parameters: &Parameters<'_>| {
            (parameters.target == Some(AGGREGATED) && parameters.server_version.is_empty()).then_some(())
        };
        choose(head, aggregated).map(|(answer, ())| answer)
    }

    /// The response with `document` as its body.
    pub(super) fn write(self, code: StatusCode, document: &impl Document) -> Response {
        match self.encoding.write(document, self.pretty) {
            Ok(body) => content::response(code, HeaderValue::from_static(self.encoding.media_type()), body, self.gzip),
            Err(error) => unwritable(&error),
        }
    }
}

/// An empty 500: what can't be written can't be explained in the same form either.
pub(super) fn unwritable(error: &Unwritable) -> Response {
    tracing::error!(%error, "an answer was lost; please report this");
    let mut response = Response::default();
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}

/// The first encoding of the most wanted range for which `allow` has an answer. A client that sends no `Accept` gets the object as
/// it is, if that is allowed, in the first encoding.
pub(super) fn choose<T>(head: &Parts, allow: impl Fn(Encoding, &Parameters<'_>) -> Option<T>) -> Option<(Answer, T)> {
    let gzip = content::takes_gzip(&head.headers);
    let text = accept::text(&head.headers);
    let answer = |encoding, pretty| Answer { encoding, pretty: pretty || for_a_person(head), gzip };
    if text.is_empty() {
        let encoding = Encoding::JSON;
        return Some((answer(encoding, false), allow(encoding, &Parameters::default())?));
    }
    let ranges = accept::ranges(&text);
    ranges.iter().find_map(|range| {
        let parameters = &range.parameters;
        let mut encodings = Encoding::ALL.into_iter().filter(|encoding| range.holds(*encoding));
        encodings.find_map(|encoding| {
            let streams = encoding != Encoding::YAML && parameters.stream == "watch";
            let allowed = if parameters.stream.is_empty() || streams { allow(encoding, parameters) } else { None };
            allowed.map(|allowed| (answer(encoding, parameters.pretty), allowed))
        })
    })
}

/// `isPrettyPrint`: the parameter `pretty`, or else a browser, curl or wget.
fn for_a_person(head: &Parts) -> bool {
    let query = head.uri.query().unwrap_or_default();
    let asked = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "pretty");
    if let Some((_, value)) = asked.filter(|(_, value)| !value.is_empty()) {
        return matches!(&*value, "1" | "t" | "T" | "true" | "TRUE" | "True");
    }
    let agent = head.headers.get(http::header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    ["curl", "Wget", "Mozilla/5.0"].iter().any(|person| agent.starts_with(person))
}

#[cfg(test)]
mod tests;
