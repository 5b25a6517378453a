//! Every failure as a `metav1.Status`: the only file that picks an HTTP code. Texts follow k8s.io/apimachinery `pkg/api/errors`,
//! k8s.io/apiserver `pkg/endpoints/handlers/responsewriters/errors.go` and custom-metrics-apiserver `pkg/provider/errors.go`,
//! because operators search for them and HPAs show them.
//!
//! Invariant: no answer carries `Retry-After` or `retryAfterSeconds`; client-go would sleep on them inside an HPA worker.

mod wire;

use axum::response::Response;
use http::{HeaderValue, StatusCode, header, request::Parts};
use wire::{Cause, Details, Wire};

use super::{
    group::Group,
    negotiate::{Answer, NotAcceptable},
    outcome::Outcome,
    parameters::BadParameter,
    path::PathError,
    shape::NoShape,
    wire::{ListMeta, NotRepresentable},
};
use crate::model::{
    Attributes, AuthError, FetchError, GroupResource, Reason, ResourceAttributes, Selector, User, is_printable,
};

/// Bytes of a whole message: enough for a cause and a remedy, and `kubectl describe hpa` stays readable.
const MAX_MESSAGE: usize = 512;

/// A failure, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    code: StatusCode,
    reason: &'static str,
    message: String,
    details: Option<Box<Details>>,
    /// For the log alone.
    outcome: Box<Outcome>,
}

/// What was asked for, for the texts of `NewMetricNotFoundError` and its two companions.
pub(super) struct Asked<'query> {
    /// The kind of objects.
    pub(super) resource: String,
    /// The metric's name.
    pub(super) metric: &'query str,
    /// The object, `*`, or the namespace of an external metric.
    pub(super) object: &'query str,
    /// The series.
    pub(super) series: &'query Selector,
}

impl Status {
    /// The answer to a path that nothing serves.
    pub fn not_found() -> Self {
        Self::of_path(&PathError::NotFound)
    }

    /// The answer to a URL that has no target.
    pub fn of_path(error: &PathError) -> Self {
        match error {
            // `NewGenericServerResponse`, with its empty details.
            PathError::NotFound => {
                Self::new(StatusCode::NOT_FOUND, "NotFound", error.to_string()).with(Details::default())
            }
            PathError::Segment(_) | PathError::Reserved(_) => {
                Self::new(StatusCode::NOT_FOUND, "NotFound", error.to_string())
            }
            PathError::Invalid | PathError::Namespace(_) => Self::bad_request(error.to_string()),
        }
    }

    /// The answer to who can't be told apart from an impostor. The cause is for the log alone.
    pub fn of_authentication(error: &AuthError) -> Self {
        match error {
            AuthError::Unauthenticated(cause) => {
                let mut status = Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized".to_owned());
                status.outcome.message = Some(one_line(cause));
                status
            }
            AuthError::Forbidden { reason } => {
                Self::new(StatusCode::FORBIDDEN, "Forbidden", format!("forbidden: {}", one_line(reason)))
            }
            AuthError::Unavailable(cause) => {
                Self::internal(&format!("the request could not be authenticated: {cause}"))
            }
            AuthError::Overloaded(message) => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message.clone())
            }
        }
    }

    /// The answer to `user`, who may not do what `attributes` say.
    pub fn of_authorization(error: &AuthError, user: &User, attributes: &Attributes) -> Self {
        match error {
            AuthError::Unauthenticated(_) | AuthError::Overloaded(_) => Self::of_authentication(error),
            AuthError::Forbidden { reason } => Self::forbidden(&user.name, attributes, reason),
            AuthError::Unavailable(cause) => Self::internal(&format!("the request could not be authorized: {cause}")),
        }
    }

    /// The answer to a request that took too long as a whole, in the words of k8s.io/apiserver `pkg/server/filters/timeout.go`.
    pub fn timeout() -> Self {
        Self::timed_out("request did not complete within the allotted timeout")
    }

    /// The answer to a failed lookup.
    pub(super) fn of_fetch(error: &FetchError, asked: &Asked<'_>) -> Self {
        let status = match error.reason {
            Reason::MetricNotFound => Self::not_found_by(error, asked.metric_not_found()),
            Reason::ObjectNotFound => Self::not_found_by(error, asked.object_not_found()),
            _ => return Self::of_failure(error),
        };
        status.told_of(error)
    }

    /// The answer to a failed lookup of more than one metric, whose name there is none to tell.
    fn of_failure(error: &FetchError) -> Self {
        let message = || one_line(&error.to_string());
        let status = match error.reason {
            Reason::MetricNotFound | Reason::ObjectNotFound => Self::new(StatusCode::NOT_FOUND, "NotFound", message()),
            Reason::BadRequest => Self::bad_request(message()),
            Reason::RateLimited | Reason::Overloaded => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message())
            }
            Reason::Unavailable | Reason::Unauthorized | Reason::Loading => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message())
            }
            Reason::Timeout => Self::timed_out(&message()),
            Reason::Internal => Self::internal(&message()),
        };
        status.told_of(error)
    }

    /// With what the log is to know of the failure.
    fn told_of(mut self, error: &FetchError) -> Self {
        let (plugin, reason) = (error.plugin.clone(), Some(error.reason.as_str()));
        *self.outcome = Outcome { plugin, reason, message: Some(one_line(&error.to_string())), cache: error.cache };
        self
    }

    /// Nothing serves the metric.
    pub(super) fn metric_not_found(asked: &Asked<'_>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", asked.metric_not_found())
    }

    /// The kind's objects are not where the path looks for them; `where_they_are` says where.
    pub(super) fn out_of_scope(asked: &Asked<'_>, where_they_are: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", format!("{}: {where_they_are}", asked.metric_not_found()))
    }

    /// In the words of custom-metrics-apiserver, and in those of the plugin that looked, if one did.
    fn not_found_by(error: &FetchError, not_found: String) -> Self {
        let message = match &error.plugin {
            Some(_) => format!("{not_found}: {}", one_line(&error.to_string())),
            None => not_found,
        };
        Self::new(StatusCode::NOT_FOUND, "NotFound", message)
    }

    /// `NewTimeoutError`, with its empty details.
    fn timed_out(cause: &str) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", format!("Timeout: {cause}")).with(Details::default())
    }

    /// `NewNotFound`: there is no such object.
    pub(super) fn named_not_found(resource: &GroupResource, name: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", format!("{resource} {name:?} not found")).with(Details {
            name: name.to_owned(),
            group: resource.group.clone(),
            kind: resource.name.clone(),
            ..Details::default()
        })
    }

    /// The answer to a client that accepts nothing in which there is an answer; `message` says what there is.
    pub(super) fn not_acceptable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", message.into())
    }

    fn bad_request(message: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// The answer to a method that no route has, in the words of `NewGenericServerResponse`.
    pub(super) fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource".to_owned();
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message).with(Details::default())
    }

    /// `NewMethodNotSupported`; `resource` is `*` in a group whose resources are not known one by one.
    pub(super) fn watch_not_supported(group: Group, resource: &str) -> Self {
        let group = group.name();
        let message = format!("watch is not supported on resources of kind \"{resource}.{group}\"");
        let details = Details { group: group.to_owned(), kind: resource.to_owned(), ..Details::default() };
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message).with(details)
    }

    /// `NewInternalError`.
    fn internal(cause: &str) -> Self {
        let cause = bounded(one_line(cause));
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", format!("Internal error occurred: {cause}"))
            .with(Details { causes: vec![Cause { message: cause }], ..Details::default() })
    }

    /// `ForbiddenStatusError`.
    fn forbidden(user: &str, attributes: &Attributes, reason: &str) -> Self {
        let (message, details) = match attributes {
            Attributes::Resource(resource) => forbidden_resource(user, resource),
            Attributes::NonResource { path, verb } => (
                format!("forbidden: {}", escape_html(&format!("User {user:?} cannot {verb} path {path:?}"))),
                Details::default(),
            ),
        };
        let message = if reason.is_empty() { message } else { format!("{message}: {}", one_line(reason)) };
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message).with(details)
    }

    fn new(code: StatusCode, reason: &'static str, message: String) -> Self {
        let outcome = Outcome { reason: Some(reason), ..Outcome::default() };
        Self { code, reason, message: bounded(message), details: None, outcome: Box::new(outcome) }
    }

    fn with(self, details: Details) -> Self {
        Self { details: Some(Box::new(details)), ..self }
    }

    /// The HTTP code.
    pub fn code(&self) -> StatusCode {
        self.code
    }

    /// The text for a person.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The response, in the encoding that `head` accepts, or in JSON.
    pub fn respond(&self, head: &Parts) -> Response {
        self.write(Answer::negotiate(head).unwrap_or(Answer::UNASKED))
    }

    pub(super) fn write(&self, answer: Answer) -> Response {
        let code = self.code;
        let mut response = answer.write(code, &self.wire());
        if code == StatusCode::FORBIDDEN {
            response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        }
        if code == StatusCode::METHOD_NOT_ALLOWED {
            // RFC 9110, 15.5.6: such an answer must name the methods that are allowed.
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
        }
        let mut outcome = Outcome::clone(&self.outcome);
        outcome.message.get_or_insert_with(|| self.message.clone());
        outcome.attach(response)
    }

    fn wire(&self) -> Wire<'_> {
        let Self { code, reason, message, details, outcome: _ } = self;
        Wire {
            kind: "Status",
            api_version: "v1",
            metadata: ListMeta {},
            status: "Failure",
            message,
            reason,
            details: details.as_deref(),
            code: code.as_u16(),
        }
    }
}

impl Asked<'_> {
    /// `NewMetricNotFoundError`.
    fn metric_not_found(&self) -> String {
        format!("the server could not find the metric {} for {}", self.metric, self.resource)
    }

    /// `NewMetricNotFoundForError`, with a selector `NewMetricNotFoundForSelectorError`: there is no value for this object.
    fn object_not_found(&self) -> String {
        let text = format!("{} {}", self.metric_not_found(), self.object);
        if self.series.is_everything() { text } else { format!("{text} with selector {}", self.series) }
    }
}

/// Where more than one metric was looked up, or none by its name.
impl From<FetchError> for Status {
    fn from(error: FetchError) -> Self {
        Self::of_failure(&error)
    }
}

impl From<BadParameter> for Status {
    fn from(error: BadParameter) -> Self {
        Self::bad_request(error.to_string())
    }
}

impl From<NotRepresentable> for Status {
    fn from(error: NotRepresentable) -> Self {
        Self::bad_request(error.to_string())
    }
}

impl From<NoShape> for Status {
    fn from(error: NoShape) -> Self {
        match error {
            NoShape::NotAcceptable(error) => error.into(),
            NoShape::IncludeObject(_) => Self::bad_request(error.to_string()),
        }
    }
}

impl From<NotAcceptable> for Status {
    fn from(error: NotAcceptable) -> Self {
        Self::not_acceptable(error.to_string())
    }
}

/// `forbiddenMessage` within `NewForbidden`.
fn forbidden_resource(user: &str, attributes: &ResourceAttributes) -> (String, Details) {
    let ResourceAttributes { verb, group, namespace, resource, subresource, name, .. } = attributes;
    let path = if subresource.is_empty() { resource.clone() } else { format!("{resource}/{subresource}") };
    let place = if namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace {namespace:?}")
    };
    let what = escape_html(&format!("User {user:?} cannot {verb} resource {path:?} in API group {group:?} {place}"));
    let subject = if name.is_empty() { format!("{resource}.{group}") } else { format!("{resource}.{group} {name:?}") };
    let details = Details { name: name.clone(), group: group.clone(), kind: resource.clone(), causes: Vec::new() };
    (format!("{subject} is forbidden: {what}"), details)
}

/// As the sanitizer of `responsewriters/errors.go`: an error must not look like HTML.
fn escape_html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// One printable line: what a plugin says lands in Events and terminals.
fn one_line(text: &str) -> String {
    let words = text.split(|character: char| character.is_whitespace() || !is_printable(character));
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// At most [`MAX_MESSAGE`] bytes, and on one line whatever it repeats of the request. A text that is so already stays as it is.
fn bounded(text: String) -> String {
    let mut line = if text.chars().all(is_printable) { text } else { one_line(&text) };
    if line.len() > MAX_MESSAGE {
        line.truncate(line.floor_char_boundary(MAX_MESSAGE - 3));
        line.push_str("...");
    }
    line
}

#[cfg(test)]
mod tests;
