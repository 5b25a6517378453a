//! What guests of track 0.1 may import: each function narrows a room of the host to this plugin and this request.

use std::time::Duration;

use super::v0_1::{bindings::wasm_metrics_adapter::plugin as wit, guest_failure, model_selector};
use crate::{
    egress::{self, EgressError},
    model::{self, FetchError, Reason},
    runtime::{
        explain::{self, Trace},
        log::Level,
        state::QuotaExceeded,
        store::{CallState, Reach},
    },
};

/// Requests of one `fetch-all` that are under way at once; the plugin's connections are bounded besides.
const PARALLEL_FETCHES: usize = 16;

impl wit::types::Host for CallState {}

impl wit::config::Host for CallState {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<String>> {
        let found = self.reach.config.iter().find(|(name, _)| *name == key);
        Ok(found.map(|(_, value)| value.clone()))
    }

    fn all(&mut self) -> wasmtime::Result<Vec<(String, String)>> {
        Ok(self.reach.config.clone())
    }
}

impl wit::log::Host for CallState {
    fn write(&mut self, level: wit::log::Level, message: String) -> wasmtime::Result<()> {
        let level = match level {
            wit::log::Level::Debug => Level::Debug,
            wit::log::Level::Info => Level::Info,
            wit::log::Level::Warn => Level::Warn,
            wit::log::Level::Error => Level::Error,
        };
        self.log(level, &message);
        Ok(())
    }
}

impl wit::state::Host for CallState {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<wit::state::Entry>> {
        let kept = self.reach.state.get(&self.namespace, &key);
        Ok(kept.map(|kept| wit::state::Entry { value: kept.value, age_ms: kept.age_ms }))
    }

    fn compare_and_set(
        &mut self,
        key: String,
        expected: Option<Vec<u8>>,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<bool, String>> {
        let place = self.reach.place(&self.namespace);
        let outcome = self.reach.state.compare_and_set(place, key, expected.as_deref(), value);
        Ok(outcome.map_err(quota_message))
    }

    fn set(&mut self, key: String, value: Vec<u8>) -> wasmtime::Result<Result<(), String>> {
        Ok(self.reach.state.set(self.reach.place(&self.namespace), key, value).map_err(quota_message))
    }

    fn delete(&mut self, key: String) -> wasmtime::Result<()> {
        self.reach.state.delete(&self.namespace, &key);
        Ok(())
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape of map_err")]
fn quota_message(exceeded: QuotaExceeded) -> String {
    exceeded.to_string()
}

impl wit::objects::Host for CallState {
    async fn names(
        &mut self,
        resource: wit::types::GroupResource,
        selector: Vec<wit::types::Requirement>,
    ) -> wasmtime::Result<Result<Vec<String>, wit::types::Failure>> {
        let (reach, asked) = (&self.reach, self.trace.as_ref().map(|_| (resource.clone(), selector.clone())));
        let outcome = match scope(reach, self.namespace.as_deref(), resource, selector).await {
            Ok(scope) => reach.objects.names(scope.namespace.as_deref(), &scope.resource, &scope.selector).await,
            Err(error) => Err(error),
        };
        self.looked_up("objects.names", asked, outcome.as_ref().map(Vec::len));
        Ok(outcome.map_err(guest_failure))
    }

    async fn endpoints(
        &mut self,
        resource: wit::types::GroupResource,
        selector: Vec<wit::types::Requirement>,
    ) -> wasmtime::Result<Result<Vec<wit::objects::Endpoint>, wit::types::Failure>> {
        let (reach, asked) = (&self.reach, self.trace.as_ref().map(|_| (resource.clone(), selector.clone())));
        let outcome = match scope(reach, self.namespace.as_deref(), resource, selector).await {
            Ok(scope) => reach.objects.endpoints(scope.namespace.as_deref(), &scope.resource, &scope.selector).await,
            Err(error) => Err(error),
        };
        self.looked_up("objects.endpoints", asked, outcome.as_ref().map(Vec::len));
        Ok(outcome.map(|endpoints| endpoints.into_iter().map(endpoint).collect()).map_err(guest_failure))
    }
}

/// What a guest asked of the cluster's objects; kept for an explanation alone.
type Asked = (wit::types::GroupResource, Vec<wit::types::Requirement>);

impl CallState {
    fn looked_up(&self, function: &'static str, asked: Option<Asked>, found: Result<usize, &FetchError>) {
        let (Some(trace), Some((resource, selector))) = (&self.trace, asked) else { return };
        trace.looked_up(|| model::Lookup {
            function,
            resource: model::GroupResource { group: resource.group, name: resource.name }.to_string(),
            selector: model_selector(selector).map_or_else(|error| error.to_string(), |selector| selector.to_string()),
            found: found.map_err(|error| error.message.clone()),
        });
    }
}

/// Which objects a guest may see: those of the request's namespace, or cluster-scoped ones for a request without a namespace.
struct Scope {
    namespace: Option<String>,
    resource: model::GroupResource,
    selector: model::Selector,
}

async fn scope(
    reach: &Reach,
    namespace: Option<&str>,
    resource: wit::types::GroupResource,
    selector: Vec<wit::types::Requirement>,
) -> Result<Scope, FetchError> {
    let bad_request = |message: String| FetchError::new(Reason::BadRequest, message);
    let resource = model::GroupResource { group: resource.group, name: resource.name };
    let selector = model_selector(selector).map_err(|error| bad_request(error.to_string()))?;
    let Some(kind) = reach.kinds.kind(&resource).await? else {
        return Err(bad_request(format!("the cluster has no resource {resource}")));
    };
    match (namespace, kind.namespaced) {
        (None, true) => Err(bad_request(format!(
            "{resource} live in namespaces, and this call has none: ask while a metric of a namespace is looked up"
        ))),
        // Whoever may read a namespace's metrics would learn of the whole cluster.
        (Some(_), false) => Err(bad_request(format!(
            "{resource} live in no namespace, and this call is about one: ask while a metric of {resource} is looked up"
        ))),
        (namespace, _) => Ok(Scope { namespace: namespace.map(str::to_owned), resource, selector }),
    }
}

fn endpoint(endpoint: model::Endpoint) -> wit::objects::Endpoint {
    let label = |(key, value)| wit::types::Label { key, value };
    wit::objects::Endpoint {
        name: endpoint.name,
        labels: endpoint.labels.into_iter().map(label).collect(),
        addresses: endpoint.addresses,
        ready: endpoint.ready,
    }
}

impl wit::http::Host for CallState {
    async fn fetch(
        &mut self,
        request: wit::http::Request,
    ) -> wasmtime::Result<Result<wit::http::Response, wit::http::FetchError>> {
        self.requests.admit(1)?;
        Ok(fetch(&self.reach, self.trace.as_deref(), self.remaining(), request).await)
    }

    async fn fetch_all(
        &mut self,
        requests: Vec<wit::http::Request>,
    ) -> wasmtime::Result<Vec<Result<wit::http::Response, wit::http::FetchError>>> {
        use futures::StreamExt as _;
        self.requests.admit(requests.len())?;
        let (reach, trace, remaining) = (&self.reach, self.trace.as_deref(), self.remaining());
        let fetches = requests.into_iter().map(|request| fetch(reach, trace, remaining, request));
        let mut answers = futures::stream::iter(fetches).buffered(PARALLEL_FETCHES);
        let (mut collected, mut bytes) = (Vec::new(), 0_usize);
        while let Some(answer) = answers.next().await {
            bytes = bytes.saturating_add(answer.as_ref().map_or(0, |response| response.body.len()));
            // The guest could not take them all, and the adapter need not hold them all to see that.
            self.limiter.check(bytes)?;
            collected.push(answer);
        }
        Ok(collected)
    }
}

async fn fetch(
    reach: &Reach,
    trace: Option<&Trace>,
    remaining: Duration,
    request: wit::http::Request,
) -> Result<wit::http::Response, wit::http::FetchError> {
    let asked = request.timeout_ms.map(|millis| Duration::from_millis(millis.into()));
    let timeout = asked.map_or(remaining, |asked| asked.min(remaining));
    let request = egress::Request {
        method: request.method,
        url: request.url,
        headers: request.headers.into_iter().map(|header| (header.name, header.value)).collect(),
        body: request.body.into(),
    };
    let response = explain::fetch(&reach.http, trace, request, timeout).await.map_err(|error| fetch_error(&error))?;
    let header = |(name, value)| wit::http::Header { name, value };
    Ok(wit::http::Response {
        status: response.status,
        headers: response.headers.into_iter().map(header).collect(),
        body: response.body.into(),
    })
}

fn fetch_error(error: &EgressError) -> wit::http::FetchError {
    let message = error.to_string();
    match error {
        EgressError::OriginNotAllowed { .. } | EgressError::AddressForbidden { .. } => {
            wit::http::FetchError::Forbidden(message)
        }
        EgressError::InvalidRequest(_) => wit::http::FetchError::InvalidRequest(message),
        EgressError::Timeout { .. } => wit::http::FetchError::Timeout,
        EgressError::Failed { .. } | EgressError::CircuitOpen { .. } => wit::http::FetchError::Failed(message),
        EgressError::TooLarge { limit, .. } => wit::http::FetchError::TooLarge(*limit),
    }
}
