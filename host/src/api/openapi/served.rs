//! A document as bytes, and how it is sent: conditional, compressed, and by hash. As k8s.io/kube-openapi `pkg/handler` and
//! `pkg/handler3` do, without their `Last-Modified`, in which replicas would differ.

use std::{sync::OnceLock, time::Duration};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use flate2::Compression;
use http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts};
use serde_json::Value;

use crate::api::{
    accept, content,
    encoding::{Encoding, Text},
    etag::Etag,
};

/// Bytes below which compression gains nothing: one TCP segment, as in the gziphandler of k8s.io/kube-openapi.
const COMPRESSED_FROM: usize = 1400;
/// How long a document with the right hash may be kept: its URL changes whenever it does.
const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A document in JSON.
pub(super) struct Served {
    pub(super) etag: Etag,
    plain: Bytes,
    /// Made for the first client that takes it.
    compressed: OnceLock<Bytes>,
}

impl Served {
    pub(super) fn of(document: &Value) -> Self {
        let plain = document.to_string();
        Self { etag: Etag::of(plain.as_bytes()), plain: plain.into(), compressed: OnceLock::new() }
    }

    /// The answer to a client that takes JSON; 406 to others, with the remedy in plain text.
    pub(super) fn respond(&self, head: &Parts) -> Response {
        if accepts_json(&head.headers) {
            return self.respond_always(head);
        }
        let mut response = Response::new(Body::from("only the following media types are accepted: application/json\n"));
        *response.status_mut() = StatusCode::NOT_ACCEPTABLE;
        set(&mut response, header::CONTENT_TYPE, "text/plain; charset=utf-8");
        response
    }

    /// As [`Self::respond`], of a document that `url` is the address of: another hash is sent there, and the right one may be kept
    /// for ever.
    pub(super) fn respond_by_hash(&self, url: &str, head: &Parts) -> Response {
        let query = head.uri.query().unwrap_or_default();
        let hash = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "hash").map(|(_, hash)| hash);
        let mut response = self.respond(head);
        match hash.as_deref() {
            None | Some("") => {}
            _ if response.status() == StatusCode::NOT_ACCEPTABLE => {}
            Some(hash) if hash == self.etag.as_str() => {
                set(&mut response, header::CACHE_CONTROL, "public, immutable");
                set(&mut response, header::EXPIRES, &http_date(std::time::SystemTime::now() + YEAR));
            }
            Some(_) => {
                *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
                *response.body_mut() = Body::empty();
                response.headers_mut().remove(header::CONTENT_ENCODING);
                set(&mut response, header::LOCATION, url);
            }
        }
        response
    }

    /// The answer whatever the client accepts.
    pub(super) fn respond_always(&self, head: &Parts) -> Response {
        let mut response = Response::new(Body::empty());
        let headers = response.headers_mut();
        headers.insert(header::ETAG, self.etag.header());
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
        headers.insert(header::VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
        if self.etag.is_known(&head.headers) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let body = if self.plain.len() >= COMPRESSED_FROM && content::takes_gzip(&head.headers) {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            self.compressed.get_or_init(|| compressed(&self.plain))
        } else {
            &self.plain
        };
        *response.body_mut() = Body::from(body.clone());
        response
    }
}

/// `url` is made of a key of ours and of digits, and a date is ASCII: neither can fail to be a header.
fn set(response: &mut Response, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// Qualities don't matter where there is one form.
fn accepts_json(headers: &HeaderMap) -> bool {
    let text = accept::text(headers);
    text.is_empty() || accept::ranges(&text).iter().any(|range| range.holds(Encoding::Text(Text::Json)))
}

/// Made once, so at a level that takes its time. Writing to memory can't fail.
fn compressed(plain: &[u8]) -> Bytes {
    content::compressed(plain, Compression::default()).unwrap_or_default().into()
}

/// RFC 9110, 5.6.7.
fn http_date(time: std::time::SystemTime) -> String {
    let time = jiff::Timestamp::try_from(time).unwrap_or_default();
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
