//! `wasi:http/outgoing-handler` for guests whose language has an HTTP client of its own: the same policy, credentials and caps as
//! the `http` import.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http_body_util::{BodyExt, Full, Limited};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::{
    egress::{self, EgressError},
    runtime::{
        explain::{self, Trace},
        requests::Requests,
        store::Reach,
    },
};

/// Bytes of a request body; what a query or a login needs, with room.
const REQUEST_BODY_BYTES: usize = 1 << 20;

type Exchange = Result<(http::Response<WasiBody>, Transmission), Error>;
type Transmission = Box<dyn Future<Output = Result<(), Error>> + Send>;

/// Sends a call's requests through its plugin's client.
pub(in crate::runtime) struct Hooks {
    reach: Arc<Reach>,
    backends_until: Instant,
    trace: Option<Arc<Trace>>,
    requests: Arc<Requests>,
}

impl Hooks {
    pub(in crate::runtime) fn new(
        reach: Arc<Reach>,
        backends_until: Instant,
        trace: Option<Arc<Trace>>,
        requests: Arc<Requests>,
    ) -> Self {
        Self { reach, backends_until, trace, requests }
    }
}

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _transmitted: Transmission,
    ) -> Box<dyn Future<Output = Exchange> + Send> {
        if self.requests.admit(1).is_err() {
            // The guest learns only this; the call itself ends with the fault.
            return Box::new(async { Err(Error::HttpRequestDenied) });
        }
        let (reach, trace) = (self.reach.clone(), self.trace.clone());
        let remaining = self.backends_until.saturating_duration_since(Instant::now());
        Box::new(async move { exchange(&reach, trace.as_deref(), request, timeout(options, remaining)).await })
    }
}

/// The guest may be stricter than its plugin's limit, never laxer.
fn timeout(options: Option<RequestOptions>, remaining: Duration) -> Duration {
    let asked = options.and_then(|options| options.first_byte_timeout).unwrap_or(remaining);
    asked.min(remaining)
}

async fn exchange(
    reach: &Reach,
    trace: Option<&Trace>,
    request: http::Request<WasiBody>,
    timeout: Duration,
) -> Exchange {
    let (head, body) = request.into_parts();
    // Guests finish the body after they have called the handler: answering before it is whole resets their stream.
    let body = Limited::new(body, REQUEST_BODY_BYTES).collect().await;
    let body = body.map_err(|_| Error::HttpRequestBodySize(Some(REQUEST_BODY_BYTES as u64)))?.to_bytes();
    let mut headers = Vec::new();
    for (name, value) in &head.headers {
        let value = value.to_str().map_err(|_| Error::HttpProtocolError)?;
        headers.push((name.as_str().to_owned(), value.to_owned()));
    }
    let request = egress::Request { method: head.method.as_str().to_owned(), url: head.uri.to_string(), headers, body };
    let response = explain::fetch(&reach.http, trace, request, timeout).await.map_err(|error| {
        // WASI's codes carry no text, and the text names the remedy.
        reach.log.note(&error.to_string());
        error_code(&error)
    })?;
    let mut answer = http::Response::builder().status(response.status);
    for (name, value) in &response.headers {
        answer = answer.header(name, value);
    }
    let body = Full::new(response.body).map_err(|never| match never {}).boxed_unsync();
    let answer = answer.body(body).map_err(|_| Error::HttpProtocolError)?;
    Ok((answer, Box::new(async { Ok(()) })))
}

fn error_code(error: &EgressError) -> Error {
    match error {
        EgressError::OriginNotAllowed { .. } | EgressError::AddressForbidden { .. } => Error::HttpRequestDenied,
        EgressError::InvalidRequest(_) => Error::HttpRequestUriInvalid,
        EgressError::Timeout { .. } => Error::ConnectionReadTimeout,
        EgressError::Failed { .. } | EgressError::CircuitOpen { .. } => Error::DestinationUnavailable,
        EgressError::TooLarge { limit, .. } => Error::HttpResponseBodySize(Some(*limit)),
    }
}
