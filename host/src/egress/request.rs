//! Makes an HTTP request of a guest's wish: refuses what makes no sense or is not allowed, drops what is the connection's
//! business, and puts the credentials on. Sends nothing.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use http_body_util::Full;
use url::Url;

use super::{
    Credential, EgressConfig, EgressError, InvalidRequest, Origin,
    credential::{self, Form},
};
use crate::model::PluginId;

/// Header lines of a guest's request: several times what API clients send.
const MAX_HEADERS: usize = 64;
/// Bytes of a guest's header names and values: servers refuse more than 8 to 32 KiB.
const MAX_HEADER_BYTES: usize = 16 * 1024;
/// Bytes of a URL: servers refuse more than about 8 KiB.
const MAX_URL_BYTES: usize = 8 * 1024;
/// Bytes of a request's body: a metrics query is text, written by hand.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// A guest's wish, as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// GET, POST, ...; not CONNECT or TRACE.
    pub method: String,
    /// An absolute http or https URL without user name or password.
    pub url: String,
    /// Names and values; those of the connection are dropped.
    pub headers: Vec<(String, String)>,
    /// The body; empty for none.
    pub body: Bytes,
}

/// What the backend answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status code; redirects are answers too.
    pub status: u16,
    /// Its headers, in the order in which they came. Bytes that are no UTF-8 are replaced.
    pub headers: Vec<(String, String)>,
    /// The whole body, as it was sent: nothing is decompressed.
    pub body: Bytes,
}

/// Checks a guest's request and completes it.
pub(super) fn prepare(
    request: Request,
    plugin: &PluginId,
    config: &EgressConfig,
) -> Result<(Origin, http::Request<Full<Bytes>>), EgressError> {
    let Request { method, url, headers, body } = request;
    if url.len() > MAX_URL_BYTES {
        return Err(InvalidRequest::UrlTooLong { limit: MAX_URL_BYTES }.into());
    }
    let url = Url::parse(&url).map_err(InvalidRequest::Url)?;
    let origin = Origin::of(&url).map_err(InvalidRequest::Origin)?;
    if !config.origins.contains(&origin) {
        return Err(EgressError::OriginNotAllowed { plugin: plugin.clone(), origin });
    }
    if body.len() > MAX_BODY_BYTES {
        return Err(InvalidRequest::BodyTooLarge { limit: MAX_BODY_BYTES }.into());
    }
    let ours = config.credentials_for(&origin);
    let uri = target(&origin, &url).and_then(|uri| credential::on_query(&ours, uri));
    let uri = uri.ok_or_else(|| InvalidRequest::Target(origin.clone()))?;
    let mut outgoing = http::Request::new(Full::new(body));
    *outgoing.method_mut() = allowed_method(&method)?;
    *outgoing.uri_mut() = uri;
    *outgoing.headers_mut() = guest_headers(&headers)?;
    put_on_credentials(outgoing.headers_mut(), &ours)?;
    Ok((origin, outgoing))
}

/// Whether a header is about the connection (RFC 9110, 7.6.1) or set by the adapter, so that a guest's is dropped.
pub(super) fn is_connection_header(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "host"
            | "content-length"
            | "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "expect"
            | "http2-settings"
    )
}

/// The URL to send, made of the origin that was checked: no second parser decides where the request goes.
pub(super) fn target(origin: &Origin, url: &Url) -> Option<Uri> {
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    Uri::builder()
        .scheme(origin.scheme().as_str())
        .authority(origin.authority())
        .path_and_query(format!("{}{query}", url.path()))
        .build()
        .ok()
}

fn allowed_method(text: &str) -> Result<Method, InvalidRequest> {
    let method =
        Method::from_bytes(text.as_bytes()).map_err(|_| InvalidRequest::Method(text.escape_debug().to_string()))?;
    // TRACE, and Microsoft's TRACK, answer with the request's own headers: with the credentials.
    if matches!(method.as_str().to_ascii_uppercase().as_str(), "CONNECT" | "TRACE" | "TRACK") {
        return Err(InvalidRequest::MethodRefused(method.to_string()));
    }
    Ok(method)
}

fn guest_headers(lines: &[(String, String)]) -> Result<HeaderMap, InvalidRequest> {
    if lines.len() > MAX_HEADERS {
        return Err(InvalidRequest::TooManyHeaders { limit: MAX_HEADERS });
    }
    if lines.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > MAX_HEADER_BYTES {
        return Err(InvalidRequest::HeadersTooLarge { limit: MAX_HEADER_BYTES });
    }
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let invalid = || InvalidRequest::Header(name.escape_debug().to_string());
        let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid())?;
        headers.append(parsed, HeaderValue::from_str(value).map_err(|_| invalid())?);
    }
    // Connection names further headers that are its own.
    let listed: Vec<String> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(|name| name.trim().to_ascii_lowercase()))
        .collect();
    let dropped: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_connection_header(name) || listed.iter().any(|other| other == name.as_str()))
        .cloned()
        .collect();
    for name in dropped {
        headers.remove(name);
    }
    headers
        .entry(header::USER_AGENT)
        .or_insert(HeaderValue::from_static(concat!("wasm-metrics-adapter/", env!("CARGO_PKG_VERSION"))));
    Ok(headers)
}

/// Where the host authenticates, the guest does not: its copies of these headers, and any Authorization, are dropped. Tokens
/// follow when the request is sent.
fn put_on_credentials(headers: &mut HeaderMap, ours: &[&Credential]) -> Result<(), InvalidRequest> {
    if !ours.is_empty() {
        headers.remove(header::AUTHORIZATION);
    }
    for credential in ours {
        if let Form::Header(name, value) = credential.form() {
            let value = credential::hidden(value).ok_or_else(|| InvalidRequest::Header(name.to_string()))?;
            headers.insert(name.clone(), value);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egress::Credential;

    fn config() -> EgressConfig {
        let origin = |text: &str| Origin::parse(text).unwrap();
        EgressConfig {
            origins: ["https://mq.example.com", "http://open.example.com:8080", "http://[fd00::1]"]
                .map(origin)
                .into_iter()
                .collect(),
            credentials: vec![
                Credential::header(origin("https://mq.example.com"), "X-Api-Key", "ours").unwrap(),
                Credential::bearer(origin("https://elsewhere.example.com"), "theirs").unwrap(),
            ],
            response_bytes: 1024,
            exchanges: 4,
            ..EgressConfig::default()
        }
    }

    fn prepared(request: Request) -> Result<(Origin, http::Request<Full<Bytes>>), EgressError> {
        let plugin = PluginId { namespace: "shop".to_owned(), name: "queues".to_owned() };
        prepare(request, &plugin, &config())
    }

    fn get(url: &str, headers: &[(&str, &str)]) -> Request {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Request { method: "GET".to_owned(), url: url.to_owned(), headers, body: Bytes::new() }
    }

    #[test]
    fn only_named_origins_are_reached_however_they_are_spelled() {
        for (url, sent) in [
            ("https://MQ.example.com:443/api?x=1#top", "https://mq.example.com/api?x=1"),
            ("https://mq.example.com./", "https://mq.example.com/"),
            ("http://open.example.com:8080/a b", "http://open.example.com:8080/a%20b"),
            ("http://[fd00:0::1]/", "http://[fd00::1]/"),
        ] {
            assert_eq!(prepared(get(url, &[])).unwrap().1.uri().to_string(), sent, "{url}");
        }
        for url in [
            "http://mq.example.com/",
            "https://mq.example.com:8443/",
            "https://mq.example.com.evil.test/",
            "https://mq.example.com%2eevil.test/",
            "http://169.254.169.254/latest",
            "http://2852039166/",
            "https://evil.test\\@mq.example.com/",
        ] {
            let error = prepared(get(url, &[])).unwrap_err();
            assert!(matches!(error, EgressError::OriginNotAllowed { .. }), "{url}: {error}");
        }
        assert_eq!(
            prepared(get("https://other.example.com/secret?token=1", &[])).unwrap_err().to_string(),
            "origin https://other.example.com:443 is not in `egress` of plugin shop/queues; add it there"
        );
    }

    #[test]
    fn urls_that_hide_something_are_invalid() {
        for url in [
            "https://user:hunter2@mq.example.com/",
            "https://user@mq.example.com/",
            "ftp://mq.example.com/",
            "/relative",
            "",
        ] {
            let error = prepared(get(url, &[])).unwrap_err();
            assert!(matches!(error, EgressError::InvalidRequest(_)), "{url}: {error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn methods_that_reach_past_the_backend_are_refused() {
        for method in ["CONNECT", "TRACE", "trace", "TRACK", "", "GE T", "GET\r\n"] {
            let request = Request { method: method.to_owned(), ..get("https://mq.example.com/", &[]) };
            assert!(matches!(prepared(request).unwrap_err(), EgressError::InvalidRequest(_)), "{method:?}");
        }
        let request = Request { method: "PROPFIND".to_owned(), ..get("https://mq.example.com/", &[]) };
        assert_eq!(prepared(request).unwrap().1.method(), "PROPFIND");
    }

    #[test]
    fn headers_of_the_connection_are_dropped() {
        let sent = [
            ("Host", "evil.test"),
            ("Content-Length", "7"),
            ("Transfer-Encoding", "chunked"),
            ("Connection", "close, X-Hop"),
            ("X-Hop", "1"),
            ("Upgrade", "h2c"),
            ("TE", "trailers"),
            ("Proxy-Authorization", "Basic x"),
            ("Accept", "application/json"),
        ];
        let (_, request) = prepared(get("http://open.example.com:8080/", &sent)).unwrap();
        let mut names: Vec<_> = request.headers().keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "user-agent"]);
    }

    #[test]
    fn credentials_go_to_their_origin_and_replace_the_guests_own() {
        let forged =
            [("x-api-key", "forged"), ("X-API-KEY", "again"), ("Authorization", "Bearer forged"), ("X-Other", "kept")];
        let (_, request) = prepared(get("https://mq.example.com/", &forged)).unwrap();
        assert_eq!(request.headers().get_all("x-api-key").iter().collect::<Vec<_>>(), ["ours"]);
        assert!(!request.headers().contains_key("authorization"));
        assert_eq!(request.headers()["x-other"], "kept");
        assert!(!format!("{request:?}").contains("ours"));

        let (_, request) = prepared(get("http://open.example.com:8080/", &forged)).unwrap();
        assert_eq!(request.headers()["authorization"], "Bearer forged");
        assert_eq!(request.headers().get_all("x-api-key").iter().count(), 2);
    }

    #[test]
    fn sizes_are_bounded() {
        let many: Vec<_> = (0..=MAX_HEADERS).map(|_| ("a", "b")).collect();
        let long = "v".repeat(MAX_HEADER_BYTES);
        let url = format!("https://mq.example.com/{}", "a".repeat(MAX_URL_BYTES));
        let body = Request { body: vec![0; MAX_BODY_BYTES + 1].into(), ..get("https://mq.example.com/", &[]) };
        for (request, expected) in [
            (get("https://mq.example.com/", &many), InvalidRequest::TooManyHeaders { limit: MAX_HEADERS }),
            (
                get("https://mq.example.com/", &[("a", &long)]),
                InvalidRequest::HeadersTooLarge { limit: MAX_HEADER_BYTES },
            ),
            (get(&url, &[]), InvalidRequest::UrlTooLong { limit: MAX_URL_BYTES }),
            (body, InvalidRequest::BodyTooLarge { limit: MAX_BODY_BYTES }),
            (get("https://mq.example.com/", &[("a", "x\r\ny: z")]), InvalidRequest::Header("a".to_owned())),
            (get("https://mq.example.com/", &[("a b", "x")]), InvalidRequest::Header("a b".to_owned())),
        ] {
            assert_eq!(prepared(request).unwrap_err(), EgressError::InvalidRequest(expected));
        }
    }
}
