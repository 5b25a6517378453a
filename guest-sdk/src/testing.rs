//! Runs a plugin natively, with a stand-in for the adapter: settings, HTTP answers, Kubernetes objects and state that a
//! test sets, requests and log lines that it reads back. No network, no clock, nothing shared: each thread has its own.
//!
//! What a test does not set is refused or absent, as in the adapter.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use crate::bindings::imports::wasm_metrics_adapter::plugin::{http as wire, objects::Endpoint};
use crate::http::FetchError;
use crate::log::Level;
use crate::{GroupResource, Label};

/// A request as the adapter would get it.
pub use crate::bindings::imports::wasm_metrics_adapter::plugin::http::{Header, Request};

/// The stand-in. Cheap to make; make one for each test.
#[derive(Clone, Debug, Default)]
pub struct Host {
    shared: Rc<RefCell<Shared>>,
}

/// What a backend answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer(Result<wire::Response, FetchError>);

#[derive(Debug, Default)]
struct Shared {
    config: BTreeMap<String, String>,
    answers: BTreeMap<(String, String), Answer>,
    objects: Vec<(GroupResource, Endpoint)>,
    state: BTreeMap<String, (Vec<u8>, Duration)>,
    state_quota: Option<usize>,
    clock: Duration,
    requests: Vec<Request>,
    log_lines: Vec<(Level, String)>,
}

thread_local! {
    static RUNNING: RefCell<Option<Host>> = const { RefCell::new(None) };
}

impl Host {
    /// One that knows nothing and allows nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// With the setting `key`: a YAML string as it is, any other YAML value as JSON text.
    #[must_use]
    pub fn config(self, key: impl Into<String>, text: impl Into<String>) -> Self {
        self.shared.borrow_mut().config.insert(key.into(), text.into());
        self
    }

    /// With an object, ready and without addresses, in the namespace of the request. `resource` is written as in
    /// `kubectl get`: `pods`, `deployments.apps`.
    #[must_use]
    pub fn object(self, resource: &str, name: &str, labels: &[(&str, &str)]) -> Self {
        let labels = labels.iter().map(|(key, value)| Label::new(*key, *value)).collect();
        self.endpoint(resource, Endpoint { name: name.to_owned(), labels, addresses: Vec::new(), ready: true })
    }

    /// With an object and where to reach it.
    #[must_use]
    pub fn endpoint(self, resource: &str, endpoint: Endpoint) -> Self {
        self.shared.borrow_mut().objects.push((resource.into(), endpoint));
        self
    }

    /// With room for so many bytes of keys and values in `state`; without a limit if it is not set.
    #[must_use]
    pub fn state_quota(self, bytes: usize) -> Self {
        self.shared.borrow_mut().state_quota = Some(bytes);
        self
    }

    /// From now on, answers `method` to `url` with this status and body.
    pub fn respond(&self, method: &str, url: &str, status: u16, body: impl Into<Vec<u8>>) {
        self.respond_with(method, url, Answer::new(status, body));
    }

    /// From now on, answers `method` to `url` so.
    pub fn respond_with(&self, method: &str, url: &str, answer: Answer) {
        self.shared.borrow_mut().answers.insert((method.to_owned(), url.to_owned()), answer);
    }

    /// Lets time pass, as the age of state shows it.
    pub fn advance(&self, time: Duration) {
        self.shared.borrow_mut().clock += time;
    }

    /// Runs plugin code against this host, on this thread.
    pub fn run<T>(&self, code: impl FnOnce() -> T) -> T {
        let _restore = Restore(RUNNING.replace(Some(self.clone())));
        code()
    }

    /// The requests sent so far, in order.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.borrow().requests.clone()
    }

    /// The lines logged so far, in order.
    pub fn log_lines(&self) -> Vec<(Level, String)> {
        self.shared.borrow().log_lines.clone()
    }
}

impl Answer {
    /// A response.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self(Ok(wire::Response { status, headers: Vec::new(), body: body.into() }))
    }

    /// No response.
    pub fn error(error: FetchError) -> Self {
        Self(Err(error))
    }

    /// With one more header, if it is a response.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Ok(response) = &mut self.0 {
            response.headers.push(Header { name: name.to_owned(), value: value.to_owned() });
        }
        self
    }
}

/// Puts back the host that ran before, also when the code panics.
struct Restore(Option<Host>);

impl Drop for Restore {
    fn drop(&mut self) {
        RUNNING.set(self.0.take());
    }
}

/// The imports, answered by the running host.
pub(crate) mod imports {
    use super::{RUNNING, Shared};

    fn with<T>(act: impl FnOnce(&mut Shared) -> T) -> T {
        let running = RUNNING.with_borrow(Clone::clone).unwrap_or_default();
        act(&mut running.shared.borrow_mut())
    }

    pub(crate) mod config {
        use super::with;

        pub(crate) fn get(key: &str) -> Option<String> {
            with(|host| host.config.get(key).cloned())
        }

        pub(crate) fn all() -> Vec<(String, String)> {
            with(|host| host.config.clone().into_iter().collect())
        }
    }

    pub(crate) mod http {
        use super::super::{FetchError, Request, wire::Response};
        use super::with;

        pub(crate) fn fetch(request: &Request) -> Result<Response, FetchError> {
            with(|host| {
                host.requests.push(request.clone());
                match host.answers.get(&(request.method.clone(), request.url.clone())) {
                    Some(answer) => answer.0.clone(),
                    None => Err(FetchError::Forbidden(format!(
                        "this test has no answer for {} {}; set one with `testing::Host::respond`",
                        request.method, request.url
                    ))),
                }
            })
        }

        pub(crate) fn fetch_all(requests: &[Request]) -> Vec<Result<Response, FetchError>> {
            requests.iter().map(fetch).collect()
        }
    }

    pub(crate) mod objects {
        use super::super::Endpoint;
        use super::with;
        use crate::{Failure, GroupResource, Requirement, Selector};

        pub(crate) fn names(resource: &GroupResource, selector: &[Requirement]) -> Result<Vec<String>, Failure> {
            Ok(selected(resource, selector).into_iter().map(|object| object.name).collect())
        }

        pub(crate) fn endpoints(resource: &GroupResource, selector: &[Requirement]) -> Result<Vec<Endpoint>, Failure> {
            if !resource.group.is_empty() || !["pods", "services", "nodes"].contains(&resource.name.as_str()) {
                return Err(Failure::bad_request(format!(
                    "{resource} have no endpoints; ask for pods, services or nodes"
                )));
            }
            Ok(selected(resource, selector))
        }

        fn selected(resource: &GroupResource, selector: &[Requirement]) -> Vec<Endpoint> {
            let selector = Selector::from(selector.to_vec());
            let mut found: Vec<Endpoint> = with(|host| {
                let of_kind = host.objects.iter().filter(|(kind, _)| kind == resource).map(|(_, object)| object);
                of_kind.filter(|object| selector.matches(&object.labels)).cloned().collect()
            });
            found.sort_by(|a, b| a.name.cmp(&b.name));
            found
        }
    }

    pub(crate) mod state {
        use super::{Shared, with};
        use crate::bindings::imports::wasm_metrics_adapter::plugin::state::Entry;

        pub(crate) fn get(key: &str) -> Option<Entry> {
            with(|host| {
                let (value, set_at) = host.state.get(key)?;
                let age = host.clock.saturating_sub(*set_at);
                Some(Entry { value: value.clone(), age_ms: u64::try_from(age.as_millis()).unwrap_or(u64::MAX) })
            })
        }

        pub(crate) fn set(key: &str, value: &[u8]) -> Result<(), String> {
            with(|host| store(host, key, value))
        }

        pub(crate) fn compare_and_set(key: &str, expected: Option<&[u8]>, value: &[u8]) -> Result<bool, String> {
            with(|host| {
                if host.state.get(key).map(|(value, _)| value.as_slice()) != expected {
                    return Ok(false);
                }
                store(host, key, value).map(|()| true)
            })
        }

        pub(crate) fn delete(key: &str) {
            with(|host| host.state.remove(key));
        }

        fn store(host: &mut Shared, key: &str, value: &[u8]) -> Result<(), String> {
            let others: usize =
                host.state.iter().filter(|(other, _)| *other != key).map(|(k, (v, _))| k.len() + v.len()).sum();
            if host.state_quota.is_some_and(|quota| others + key.len() + value.len() > quota) {
                return Err("the plugin's quota is used up".to_owned());
            }
            host.state.insert(key.to_owned(), (value.to_vec(), host.clock));
            Ok(())
        }
    }

    pub(crate) mod log {
        use super::with;
        use crate::log::Level;

        pub(crate) fn write(level: Level, message: &str) {
            with(|host| host.log_lines.push((level, message.to_owned())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Selector, config, http, objects};

    #[test]
    fn without_a_running_host_everything_is_absent_or_refused() {
        assert_eq!(config::get("url"), None);
        assert_eq!(objects::names(&"pods".into(), &Selector::all()), Ok(vec![]));
        assert!(matches!(http::Request::get("http://a").fetch(), Err(FetchError::Forbidden(_))));
    }

    #[test]
    fn hosts_nest_and_are_put_back() {
        let (outer, inner) = (Host::new().config("which", "outer"), Host::new().config("which", "inner"));
        let seen = outer.run(|| [inner.run(|| config::get("which")), config::get("which")]);
        assert_eq!(seen, [Some("inner".to_owned()), Some("outer".to_owned())]);
        assert_eq!(config::get("which"), None);
    }

    #[test]
    fn endpoints_are_those_selected_sorted_by_name() {
        let endpoint = |name: &str, ready| Endpoint {
            name: name.to_owned(),
            labels: vec![Label::new("app", "shop")],
            addresses: vec!["10.0.0.1".to_owned()],
            ready,
        };
        let host = Host::new().endpoint("pods", endpoint("b", false)).endpoint("pods", endpoint("a", true));
        let host = host.object("pods", "c", &[]).object("deployments.apps", "d", &[]);
        let found = host.run(|| objects::endpoints(&"pods".into(), &Selector::all().equals("app", "shop")));
        assert_eq!(found, Ok(vec![endpoint("a", true), endpoint("b", false)]));
        assert!(host.run(|| objects::endpoints(&"deployments.apps".into(), &Selector::all())).is_err());
    }
}
