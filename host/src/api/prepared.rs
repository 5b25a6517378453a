//! Documents that are written once and sent often.

use std::sync::OnceLock;

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{
    content,
    encoding::{Document, Encoding, Text, Unwritable},
    etag::Etag,
    negotiate::{Answer, unwritable},
};

/// A document in each form that was asked for so far.
pub(super) struct Prepared<D> {
    document: D,
    compact: OnceLock<Form>,
    indented: OnceLock<Form>,
    yaml: OnceLock<Form>,
    protobuf: OnceLock<Form>,
}

/// Who may keep a document, and for which type parameters it was asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Headers {
    pub(super) cache_control: &'static str,
    /// What comes after the media type in `Content-Type`: kube-aggregator wants the parameters of aggregated discovery back.
    pub(super) parameters: &'static str,
}

struct Form {
    bytes: Bytes,
    etag: Etag,
}

impl<D: Document> Prepared<D> {
    pub(super) fn new(document: D) -> Self {
        Self {
            document,
            compact: OnceLock::new(),
            indented: OnceLock::new(),
            yaml: OnceLock::new(),
            protobuf: OnceLock::new(),
        }
    }

    /// The document, or 304 if the client has it already.
    pub(super) fn respond(&self, answer: Answer, headers: Headers, request: &HeaderMap) -> Response {
        let form = match self.form(answer) {
            Ok(form) => form,
            Err(error) => return unwritable(&error),
        };
        let mut response = if form.etag.is_known(request) {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        } else {
            let content_type = format!("{}{}", answer.encoding.media_type(), headers.parameters);
            let content_type = HeaderValue::try_from(content_type)
                .unwrap_or_else(|_| HeaderValue::from_static(answer.encoding.media_type()));
            content::response(StatusCode::OK, content_type, form.bytes.clone(), answer.gzip)
        };
        let response_headers = response.headers_mut();
        response_headers.insert(header::ETAG, form.etag.header());
        response_headers.append(header::VARY, HeaderValue::from_static("Accept"));
        response_headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(headers.cache_control));
        response
    }

    fn form(&self, answer: Answer) -> Result<&Form, Unwritable> {
        let form = match (answer.encoding, answer.pretty) {
            (Encoding::Text(Text::Json), false) => &self.compact,
            (Encoding::Text(Text::Json), true) => &self.indented,
            (Encoding::Text(Text::Yaml), _) => &self.yaml,
            (Encoding::Protobuf, _) => &self.protobuf,
        };
        if let Some(form) = form.get() {
            return Ok(form);
        }
        let written = Form::of(answer.encoding.write(&self.document, answer.pretty)?);
        Ok(form.get_or_init(|| written))
    }
}

impl Form {
    /// The tag is of these bytes: other forms are other representations (RFC 9110, 8.8.3).
    fn of(bytes: Vec<u8>) -> Self {
        Self { etag: Etag::of(&bytes), bytes: bytes.into() }
    }
}
