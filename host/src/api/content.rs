//! Bodies on their way out: type, cache headers and compression, as `responsewriters/writers.go` and the filter `WithCacheControl`
//! of k8s.io/apiserver write them.

use std::io::Write as _;

use axum::{body::Body, response::Response};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, StatusCode, header};

/// Bytes of a body that are worth the time to compress it; below, the network is quicker.
const COMPRESSED_FROM: usize = 128 * 1024;
/// The level of Go, which costs the least time and loses little (kubernetes/kubernetes#112296).
const QUICK: Compression = Compression::fast();

/// Whether the client takes gzip. As in Go, a token with a quality is none.
pub(super) fn takes_gzip(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|token| token.trim() == "gzip")
}

/// A response that nobody may keep, compressed if the client takes `gzip` and there is much of it.
pub(super) fn response(code: StatusCode, content_type: HeaderValue, body: impl Into<Bytes>, gzip: bool) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    let body = body.into();
    let compressed = if gzip && body.len() > COMPRESSED_FROM { compressed(&body, QUICK) } else { None };
    if compressed.is_some() {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    }
    *response.body_mut() = compressed.map_or_else(|| Body::from(body), Body::from);
    response
}

/// A body in gzip.
pub(super) fn compressed(body: &[u8], level: Compression) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 8), level);
    encoder.write_all(body).and_then(|()| encoder.finish()).ok()
}
