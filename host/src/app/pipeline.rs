//! The request path, top-down: bounds, who, what, may they, answer.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, request::Parts},
    response::Response,
};
use tokio::{sync::Semaphore, time::Instant};

use super::{endpoints::Endpoints, filters, rooms::Auth};
use crate::{
    api::{
        Api, Group, Status,
        path::{self, Form, PathError, Target},
    },
    config::Config,
    model::{Attributes, Connection, Kinds, Provider},
    telemetry::RequestLabels,
};

/// Joins requests and answers in logs, as in k8s.io/apiserver.
static AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");
/// Bytes of an audit id that a client may choose.
const AUDIT_ID_BYTES: usize = 64;

/// What requests pass through.
pub(super) struct Pipeline {
    auth: Auth,
    api: Api,
    endpoints: Endpoints,
    places: Semaphore,
    timeout: Duration,
}

impl Pipeline {
    pub(super) fn new(
        config: &Config,
        auth: Auth,
        provider: Arc<dyn Provider>,
        kinds: Arc<dyn Kinds>,
        endpoints: Endpoints,
    ) -> Self {
        let places = Semaphore::new(config.max_requests_inflight);
        Self { auth, api: Api::new(provider, kinds), endpoints, places, timeout: config.request_timeout }
    }

    /// Every path goes the same way.
    pub(super) fn into_router(self) -> Router {
        Router::new().fallback(handle).with_state(Arc::new(self))
    }

    async fn answer(&self, request: Request) -> (Response, &'static str) {
        let Ok(_place) = self.places.try_acquire() else { return (filters::too_many(), "other") };
        let (mut head, _body) = request.into_parts();
        let target = path::parse(&head.method, &head.uri);
        let group = target.as_ref().map_or("other", group);
        match tokio::time::timeout(self.timeout, self.admit_and_answer(&mut head, target)).await {
            Ok(response) => (response, group),
            Err(_) => (Status::timeout().respond(&head), group),
        }
    }

    async fn admit_and_answer(&self, head: &mut Parts, target: Result<Target, PathError>) -> Response {
        let Auth { authenticator, authorizer, .. } = &self.auth;
        let connection = head.extensions.get::<Arc<Connection>>().cloned().unwrap_or_default();
        let user = match authenticator.authenticate(&connection, &mut head.headers).await {
            Ok(user) => user,
            Err(error) => return Status::of_authentication(&error).respond(head),
        };
        let attributes = match &target {
            Ok(target) => target.attributes(),
            Err(_) => {
                Attributes::NonResource { path: head.uri.path().to_owned(), verb: head.method.as_str().to_lowercase() }
            }
        };
        if let Err(error) = authorizer.authorize(&user, &attributes).await {
            return Status::of_authorization(&error, &user, &attributes).respond(head);
        }
        match target {
            Ok(Target { form: Form::Other, path, .. }) => self.other(head, &path),
            Ok(target) => self.api.respond(&target, head).await,
            Err(error) => Status::of_path(&error).respond(head),
        }
    }

    fn other(&self, head: &Parts, path: &str) -> Response {
        let query = head.uri.query().unwrap_or_default();
        self.endpoints.answer(&head.method, path, query).unwrap_or_else(|| Status::not_found().respond(head))
    }
}

async fn handle(State(pipeline): State<Arc<Pipeline>>, request: Request) -> Response {
    let started = Instant::now();
    let audit_id = audit_id(request.headers());
    let answered = filters::survive(pipeline.answer(request)).await;
    let (mut response, group) = answered.unwrap_or_else(|| (filters::panicked(), "other"));
    response.headers_mut().insert(AUDIT_ID.clone(), audit_id);
    let labels = RequestLabels { group, code: response.status().as_u16() };
    pipeline.endpoints.metrics.request_seconds.get_or_create(&labels).observe(started.elapsed().as_secs_f64());
    pipeline.endpoints.metrics.requests.get_or_create(&labels).inc();
    response
}

/// The label of the request metrics.
fn group(target: &Target) -> &'static str {
    match &target.form {
        Form::Custom(_) => Group::Custom.name(),
        Form::External(_) => Group::External.name(),
        Form::Discovery(_) => "discovery",
        Form::Other => "other",
    }
}

/// The client's, if it is one, else a new one.
fn audit_id(headers: &HeaderMap) -> HeaderValue {
    let sent = headers.get(&AUDIT_ID).filter(|id| id.len() <= AUDIT_ID_BYTES);
    sent.cloned().unwrap_or_else(|| {
        let id = format!("{:032x}", rand::random::<u128>());
        HeaderValue::from_str(&id).unwrap_or_else(|_| HeaderValue::from_static("none"))
    })
}
