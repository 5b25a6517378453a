//! HTTP requests to the origins in `egress` of plugin.yaml. The adapter adds the `credentials` for the origin, verifies
//! TLS, follows no redirects, and caps time and size.
//!
//! [`Request::send`] and [`send_all`] take an answer other than 2xx for a failure and give it the reason that its status
//! means; [`Request::fetch`] leaves the judgement to the plugin. Messages name the origin, never the path or the query,
//! which may carry what only the plugin should know.

use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::bindings::imports::wasm_metrics_adapter::plugin::http as wire;
pub use crate::bindings::imports::wasm_metrics_adapter::plugin::http::FetchError;
use crate::{Failure, Reason, host};

/// A request on its way to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    wire: wire::Request,
}

/// A whole response.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    /// The HTTP status code.
    pub status: u16,
    /// The whole body.
    pub body: Vec<u8>,
    headers: Vec<(String, String)>,
    origin: String,
}

/// Sends all requests at once, as far as the plugin's limits allow, each as [`Request::send`] would; the answers come in
/// the order of the requests.
pub fn send_all(requests: Vec<Request>) -> Vec<Result<Response, Failure>> {
    let wires: Vec<wire::Request> = requests.into_iter().map(|request| request.wire).collect();
    let answers = host::http::fetch_all(&wires);
    wires.iter().zip(answers).map(|(request, answer)| judge(&request.url, answer)).collect()
}

impl Request {
    /// A request with `method` to `url`, an absolute http or https URL without user name or password.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        let (method, url) = (method.into(), url.into());
        Self { wire: wire::Request { method, url, headers: Vec::new(), body: Vec::new(), timeout_ms: None } }
    }

    /// A GET request.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new("GET", url)
    }

    /// A POST request.
    pub fn post(url: impl Into<String>) -> Self {
        Self::new("POST", url)
    }

    /// With one more header. Host, Content-Length and the connection's own are set by the adapter.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.wire.headers.push(wire::Header { name: name.into(), value: value.into() });
        self
    }

    /// With one more query parameter, percent-encoded.
    #[must_use]
    pub fn query(mut self, key: &str, value: &str) -> Self {
        let separator = if self.wire.url.contains('?') { '&' } else { '?' };
        self.wire.url.push(separator);
        self.wire.url.extend(utf8_percent_encode(key, NON_ALPHANUMERIC));
        self.wire.url.push('=');
        self.wire.url.extend(utf8_percent_encode(value, NON_ALPHANUMERIC));
        self
    }

    /// With a body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.wire.body = body.into();
        self
    }

    /// With `body` as JSON, and the content type that says so. Fails as `internal` if it cannot be written as JSON.
    pub fn json(self, body: &impl Serialize) -> Result<Self, Failure> {
        let bytes = serde_json::to_vec(body)
            .map_err(|error| Failure::internal(format!("cannot write a request's body as JSON: {error}")))?;
        Ok(self.header("content-type", "application/json").body(bytes))
    }

    /// With a limit for the whole exchange; the plugin's own deadline caps it.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.wire.timeout_ms = Some(u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX));
        self
    }

    /// The URL as it will be sent.
    pub fn url(&self) -> &str {
        &self.wire.url
    }

    /// Sends it. An answer other than 2xx, and none at all, is a failure whose reason is what it means to the client.
    pub fn send(self) -> Result<Response, Failure> {
        let answer = host::http::fetch(&self.wire);
        judge(&self.wire.url, answer)
    }

    /// Sends it and takes an answer of any status.
    pub fn fetch(self) -> Result<Response, FetchError> {
        host::http::fetch(&self.wire).map(|response| Response::received(&self.wire.url, response))
    }
}

impl Response {
    /// The value of the header `name`, the first if there are several; case does not matter.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as text. Fails as `unavailable` if it is not UTF-8.
    pub fn text(&self) -> Result<&str, Failure> {
        std::str::from_utf8(&self.body).map_err(|_| {
            Failure::unavailable(format!("{} answered with something that is not UTF-8 text", self.origin))
        })
    }

    /// The body read as JSON. Fails as `unavailable` if it is none, or not of this shape.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body).map_err(|error| {
            // serde's words quote the body, which changes and is not for everyone: they go to the log.
            let what = match error.classify() {
                Category::Data => "JSON of another shape than the plugin expects",
                Category::Io | Category::Syntax | Category::Eof => "something that is not JSON",
            };
            crate::log::warn(format_args!("{} answered with {what}: {error}", self.origin));
            Failure::unavailable(format!("{} answered with {what}; the plugin's log has the details", self.origin))
        })
    }

    /// Itself if its status is 2xx, else the failure that the status means.
    pub fn error_for_status(self) -> Result<Self, Failure> {
        let status = self.status;
        let (reason, what) = match status {
            200..300 => return Ok(self),
            300..400 => (Reason::Unavailable, "redirects, and redirects are not followed; configure the final URL"),
            401 | 403 => (Reason::Unauthorized, "refused the credentials; check `credentials` in plugin.yaml"),
            404 | 410 => (Reason::MetricNotFound, "has nothing at this URL; check the names in it"),
            408 | 504 => (Reason::Timeout, "did not answer in time"),
            429 => (Reason::RateLimited, "asks for fewer requests"),
            400..500 => (Reason::BadRequest, "refused the request; check the plugin's settings and the selector"),
            _ => (Reason::Unavailable, "has a fault of its own; look at its log"),
        };
        let mut failure = Failure::new(reason, format!("{} {what} (HTTP status {status})", self.origin));
        if matches!(status, 429 | 503) {
            failure.retry_after_ms = self.retry_after().map(|pause| pause.as_millis().try_into().unwrap_or(u32::MAX));
        }
        Err(failure)
    }

    /// How long the backend asks to wait (RFC 9110, section 10.2.3): seconds, or a date, which is compared with the
    /// backend's own clock.
    fn retry_after(&self) -> Option<Duration> {
        let text = self.header("retry-after")?.trim();
        if let Ok(seconds) = text.parse() {
            return Some(Duration::from_secs(seconds));
        }
        let then = httpdate::parse_http_date(text).ok()?;
        let now = httpdate::parse_http_date(self.header("date")?).ok()?;
        then.duration_since(now).ok()
    }

    fn received(url: &str, response: wire::Response) -> Self {
        let headers = response.headers.into_iter().map(|header| (header.name, header.value)).collect();
        Self { status: response.status, body: response.body, headers, origin: origin(url).to_owned() }
    }
}

fn judge(url: &str, answer: Result<wire::Response, FetchError>) -> Result<Response, Failure> {
    match answer {
        Ok(response) => Response::received(url, response).error_for_status(),
        Err(error) => Err(failure(url, error)),
    }
}

/// A refused request is the settings' fault, everything else the backend's.
fn failure(url: &str, error: FetchError) -> Failure {
    let origin = origin(url);
    match error {
        FetchError::Forbidden(text) | FetchError::InvalidRequest(text) => Failure::bad_request(text),
        FetchError::Timeout => Failure::timeout(format!("{origin} did not answer in time")),
        FetchError::Failed(text) => Failure::unavailable(text),
        FetchError::TooLarge(limit) => Failure::unavailable(format!(
            "{origin} answered with more than {limit} bytes; raise `limits.responseBytes` in plugin.yaml or ask for less"
        )),
    }
}

/// Scheme, host and port of a URL.
fn origin(url: &str) -> &str {
    let authority = url.find("://").map_or(0, |scheme| scheme + 3);
    let rest = url.get(authority..).unwrap_or_default();
    let length = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    url.get(..authority + length).unwrap_or(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Answer, Host};

    const URL: &str = "https://mq.example.com:8443/queues/orders?token=x";

    fn send_to(answer: Answer) -> Result<Response, Failure> {
        let host = Host::new();
        host.respond_with("GET", URL, answer);
        host.run(|| Request::get(URL).send())
    }

    #[test]
    fn each_status_has_its_reason() {
        for (status, expected) in [
            (302, Reason::Unavailable),
            (400, Reason::BadRequest),
            (401, Reason::Unauthorized),
            (403, Reason::Unauthorized),
            (404, Reason::MetricNotFound),
            (408, Reason::Timeout),
            (422, Reason::BadRequest),
            (429, Reason::RateLimited),
            (500, Reason::Unavailable),
            (503, Reason::Unavailable),
            (504, Reason::Timeout),
        ] {
            let failure = send_to(Answer::new(status, "secret body")).unwrap_err();
            assert_eq!(failure.reason, expected, "{status}");
            assert!(failure.message.starts_with("https://mq.example.com:8443 "), "{}", failure.message);
            assert!(!failure.message.contains("token") && !failure.message.contains("secret"), "{}", failure.message);
        }
        for status in [200, 204, 299] {
            assert_eq!(send_to(Answer::new(status, "")).map(|response| response.status), Ok(status));
        }
    }

    #[test]
    fn the_wait_is_seconds_or_a_date_by_the_backends_clock() {
        let retry_after = |answer: Answer| send_to(answer).unwrap_err().retry_after_ms;
        assert_eq!(retry_after(Answer::new(429, "").header("Retry-After", "30")), Some(30_000));
        let dated = Answer::new(503, "")
            .header("Date", "Sun, 06 Nov 1994 08:49:37 GMT")
            .header("Retry-After", "Sun, 06 Nov 1994 08:49:47 GMT");
        assert_eq!(retry_after(dated), Some(10_000));
        assert_eq!(retry_after(Answer::new(429, "").header("Retry-After", "soon")), None);
        assert_eq!(retry_after(Answer::new(404, "").header("Retry-After", "30")), None);
        assert_eq!(retry_after(Answer::new(429, "").header("Retry-After", "99999999999")), Some(u32::MAX));
    }

    #[test]
    fn no_response_has_its_reason_too() {
        for (error, expected) in [
            (FetchError::Forbidden("not in egress".to_owned()), Reason::BadRequest),
            (FetchError::InvalidRequest("no URL".to_owned()), Reason::BadRequest),
            (FetchError::Timeout, Reason::Timeout),
            (FetchError::Failed("connection refused".to_owned()), Reason::Unavailable),
            (FetchError::TooLarge(1024), Reason::Unavailable),
        ] {
            assert_eq!(send_to(Answer::error(error.clone())).unwrap_err().reason, expected, "{error:?}");
        }
    }

    #[test]
    fn a_request_is_sent_as_it_was_built() {
        let host = Host::new();
        host.respond("POST", "http://a/find?q=a%26b%20c&n=1", 200, "{}");
        let request = Request::post("http://a/find").query("q", "a&b c").query("n", "1").header("x-a", "1");
        let request = request.timeout(Duration::from_secs(2)).json(&["x"]).unwrap();
        host.run(|| request.send()).unwrap();
        let [sent] = host.requests().try_into().unwrap();
        assert_eq!(sent.body, br#"["x"]"#);
        assert_eq!(sent.timeout_ms, Some(2_000));
        let headers: Vec<_> = sent.headers.iter().map(|header| (header.name.as_str(), header.value.as_str())).collect();
        assert_eq!(headers, [("x-a", "1"), ("content-type", "application/json")]);
    }

    #[test]
    fn many_answers_come_in_order_each_with_its_own_outcome() {
        let host = Host::new();
        host.respond("GET", "http://a/1", 200, "1");
        host.respond("GET", "http://a/2", 500, "");
        let answers = host.run(|| send_all(vec![Request::get("http://a/2"), Request::get("http://a/1")]));
        let [first, second] = answers.try_into().unwrap();
        assert_eq!(first.unwrap_err().reason, Reason::Unavailable);
        assert_eq!(second.unwrap().text(), Ok("1"));
    }

    #[test]
    fn what_is_wrong_with_json_is_quoted_in_the_log_alone() {
        let host = Host::new();
        for (body, expected) in [
            (r#"{"secret": 1}"#, "JSON of another shape than the plugin expects"),
            ("<html>", "something that is not JSON"),
            ("", "something that is not JSON"),
        ] {
            host.respond("GET", URL, 200, body);
            let failure = host.run(|| Request::get(URL).send()?.json::<u32>()).unwrap_err();
            let text =
                format!("https://mq.example.com:8443 answered with {expected}; the plugin's log has the details");
            assert_eq!(failure, Failure::unavailable(text));
        }
        let (_, line) = host.log_lines().swap_remove(0);
        assert!(line.contains("invalid type: map, expected u32"), "{line}");
    }

    #[test]
    fn an_origin_ends_before_the_path() {
        for (url, expected) in [
            ("https://a:1/b?c", "https://a:1"),
            ("http://a", "http://a"),
            ("http://a?b://c", "http://a"),
            ("http://[::1]:80#x", "http://[::1]:80"),
            ("nonsense", "nonsense"),
        ] {
            assert_eq!(origin(url), expected);
        }
    }
}
