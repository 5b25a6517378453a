//! What is told of each request when it is answered: metrics, and a line in the log.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::response::Response;
use http::{HeaderValue, header, request::Parts};
use http_body::Body as _;

use crate::{
    api::{
        Group, Outcome,
        path::{Form, PathError, Target},
    },
    model::{Connection, Detail, User},
    telemetry::{Metrics, RequestLabels, RequestLine, RequestLog},
};

/// Where it is told.
pub(super) struct Requests {
    pub(super) metrics: Arc<Metrics>,
    pub(super) log: RequestLog,
}

/// One request and its answer.
pub(super) struct Answered<'request> {
    pub(super) head: &'request Parts,
    pub(super) target: &'request Result<Target, PathError>,
    /// Who asked, if that was found out.
    pub(super) user: Option<User>,
    pub(super) audit_id: &'request HeaderValue,
    pub(super) response: &'request Response,
    /// From head to head.
    pub(super) duration: Duration,
}

impl Requests {
    pub(super) fn tell(&self, answered: Answered<'_>) {
        let code = answered.response.status().as_u16();
        let labels = RequestLabels { group: group(answered.target), code };
        self.metrics.request_seconds.get_or_create(&labels).observe(answered.duration.as_secs_f64());
        self.metrics.requests.get_or_create(&labels).inc();
        if self.log.wants(code) {
            self.log.write(line(answered, labels));
        }
    }
}

fn line(answered: Answered<'_>, labels: RequestLabels) -> RequestLine {
    let Answered { head, target, user, audit_id, response, duration } = answered;
    let outcome = response.extensions().get::<Outcome>().cloned().unwrap_or_default();
    let (user, user_id) = user.map_or((None, String::new()), |user| (Some(user.name), user.uid));
    RequestLine {
        received: SystemTime::now().checked_sub(duration).unwrap_or(SystemTime::UNIX_EPOCH),
        audit_id: audit_id.clone(),
        user,
        user_id,
        source: head.extensions.get::<Arc<Connection>>().and_then(|connection| connection.peer),
        forwarded_for: head.headers.get("x-forwarded-for").cloned(),
        user_agent: head.headers.get(header::USER_AGENT).cloned(),
        method: head.method.clone(),
        uri: head.uri.clone(),
        group: labels.group,
        metric: target.as_ref().ok().and_then(metric),
        explain: target.as_ref().ok().and_then(explain),
        plugin: outcome.plugin.map(|plugin| plugin.to_string()),
        cache: outcome.cache.as_str(),
        status: labels.code,
        reason: outcome.reason,
        message: outcome.message,
        duration,
        bytes: response.body().size_hint().exact(),
    }
}

/// The metric as a plugin would list it.
fn metric(target: &Target) -> Option<String> {
    match &target.form {
        Form::Custom(custom) => Some(custom.metric.to_string()),
        Form::External(external) => Some(external.metric.to_string()),
        Form::Resource(_) | Form::Discovery(_) | Form::OpenApi(_) | Form::Other => None,
    }
}

fn explain(target: &Target) -> Option<&'static str> {
    match target.parameters.explain().ok()?? {
        Detail::Summary => Some("true"),
        Detail::Raw => Some("raw"),
    }
}

/// The label of the request metrics.
fn group(target: &Result<Target, PathError>) -> &'static str {
    match target.as_ref().map(|target| &target.form) {
        Ok(Form::Custom(_)) => Group::Custom.name(),
        Ok(Form::External(_)) => Group::External.name(),
        Ok(Form::Resource(_)) => Group::Resource.name(),
        Ok(Form::Discovery(_)) => "discovery",
        Ok(Form::OpenApi(_)) => "openapi",
        Ok(Form::Other) | Err(_) => "other",
    }
}
