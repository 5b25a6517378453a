//! The request path, top-down: bounds, who, what, may they, answer.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, header::CACHE_CONTROL, request::Parts},
    response::Response,
};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};

use super::{
    endpoints::Endpoints,
    filters, health,
    requests::{Answered, Requests},
    rooms::Auth,
};
use crate::{
    api::{
        Api, Status,
        path::{self, Form, PathError, Target},
    },
    auth::Authorizer,
    config::Config,
    model::{Attributes, Connection, User},
    telemetry::Metrics,
};

/// Joins requests and answers in logs, as in k8s.io/apiserver.
static AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");

/// What requests pass through.
pub(super) struct Pipeline {
    auth: Auth,
    api: Api,
    endpoints: Endpoints,
    requests: Requests,
    places: Semaphore,
    timeout: Duration,
}

impl Pipeline {
    pub(super) fn new(config: &Config, auth: Auth, api: Api, endpoints: Endpoints, requests: Requests) -> Self {
        let places = Semaphore::new(config.max_requests_inflight);
        Self { auth, api, endpoints, requests, places, timeout: config.request_timeout }
    }

    /// Every path goes the same way.
    pub(super) fn into_router(self) -> Router {
        Router::new().fallback(handle).with_state(Arc::new(self))
    }

    /// `user` is filled in as soon as it is known: also for a request that takes too long afterwards.
    async fn answer(&self, head: &mut Parts, target: &Result<Target, PathError>, user: &mut Option<User>) -> Response {
        let Ok(_place) = self.place(head.uri.path()) else { return filters::too_many() };
        match tokio::time::timeout(self.timeout, self.admit_and_answer(head, target, user)).await {
            Ok(response) => response,
            Err(_) => Status::timeout().respond(head),
        }
    }

    /// Probes need none: a busy replica that failed them would be restarted, and its load fall on the others. Kubernetes exempts
    /// the same paths from its own limits (FlowSchema `probes`).
    fn place(&self, path: &str) -> Result<Place<'_>, TooMany> {
        let metrics = &self.requests.metrics;
        let permit = match self.places.try_acquire() {
            Ok(permit) => Some(permit),
            Err(_) if health::PATHS.contains(&path) => None,
            Err(_) => {
                metrics.requests_refused.inc();
                return Err(TooMany);
            }
        };
        metrics.requests_inflight.inc();
        Ok(Place { _permit: permit, metrics })
    }

    async fn admit_and_answer(
        &self,
        head: &mut Parts,
        target: &Result<Target, PathError>,
        asking: &mut Option<User>,
    ) -> Response {
        let Auth { authenticator, authorizer, .. } = &self.auth;
        let connection = head.extensions.get::<Arc<Connection>>().cloned().unwrap_or_default();
        let user = match authenticator.authenticate(&connection, &mut head.headers).await {
            Ok(user) => asking.insert(user),
            Err(error) => return Status::of_authentication(&error).respond(head),
        };
        let attributes = match target {
            Ok(target) => target.attributes(),
            Err(_) => {
                Attributes::NonResource { path: head.uri.path().to_owned(), verb: head.method.as_str().to_lowercase() }
            }
        };
        // What was sent and received says more than the metric does: it takes a right of its own.
        let raw = target.as_ref().ok().and_then(Target::raw_attributes);
        if let Err(status) = permit(authorizer, user, [Some(attributes), raw].into_iter().flatten()).await {
            return status.respond(head);
        }
        match target {
            Ok(Target { form: Form::Other, path, method, .. }) => {
                self.endpoints.answer(method, path, head.uri.query().unwrap_or_default())
            }
            Ok(target) => self.api.respond(target, head).await,
            Err(error) => Status::of_path(error).respond(head),
        }
    }
}

/// Whether `user` may do all that is wanted; the first no is the answer.
async fn permit(
    authorizer: &Authorizer,
    user: &User,
    wanted: impl IntoIterator<Item = Attributes>,
) -> Result<(), Status> {
    for attributes in wanted {
        let answer = authorizer.authorize(user, &attributes).await;
        answer.map_err(|error| Status::of_authorization(&error, user, &attributes))?;
    }
    Ok(())
}

/// A request under way.
struct Place<'pipeline> {
    _permit: Option<SemaphorePermit<'pipeline>>,
    metrics: &'pipeline Metrics,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.metrics.requests_inflight.dec();
    }
}

/// As many requests are under way as may be.
struct TooMany;

async fn handle(State(pipeline): State<Arc<Pipeline>>, request: Request) -> Response {
    let started = Instant::now();
    let (mut head, _body) = request.into_parts();
    let audit_id = audit_id(&head.headers);
    let target = path::parse(&head.method, &head.uri);
    let mut user = None;
    let answered = filters::survive(pipeline.answer(&mut head, &target, &mut user)).await;
    let mut response = answered.unwrap_or_else(filters::panicked);
    response.headers_mut().insert(AUDIT_ID.clone(), audit_id.clone());
    // What a user may see is nothing to keep for another: `pkg/endpoints/filters/cachecontrol.go` of k8s.io/apiserver.
    response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache, private"));
    let duration = started.elapsed();
    let answered = Answered { head: &head, target: &target, user, audit_id: &audit_id, response: &response, duration };
    pipeline.requests.tell(answered);
    response
}

/// The client's as it is, else a new one; so does `pkg/endpoints/filters/audit_init.go` of k8s.io/apiserver.
fn audit_id(headers: &HeaderMap) -> HeaderValue {
    let sent = headers.get(&AUDIT_ID).filter(|id| !id.is_empty()).cloned();
    sent.unwrap_or_else(|| {
        let id = uuid::Uuid::new_v4().hyphenated();
        HeaderValue::from_str(id.encode_lower(&mut uuid::Uuid::encode_buffer()))
            .unwrap_or_else(|_| HeaderValue::from_static("none"))
    })
}

#[cfg(test)]
mod tests;
