//! Plain GET requests and their whole answers, by status: a refusal is an answer here, not an error.

use anyhow::{Context, Result};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use kube::{Client, client::Body};
use serde_json::Value;

/// An HTTP answer.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    /// All headers.
    pub headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    /// Reads a response to its end.
    pub(crate) async fn read<B>(response: Response<B>) -> Result<Self>
    where
        B: hyper::body::Body<Error: std::error::Error + Send + Sync + 'static>,
    {
        let (parts, body) = response.into_parts();
        let body = body.collect().await?.to_bytes().to_vec();
        Ok(Self { status: parts.status, headers: parts.headers, body })
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body's bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.body
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// Fails with the whole body when it is something else.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("{} is not JSON: {}", self.status, self.text()))
    }
}

/// GETs a path.
///
/// # Errors
/// Fails when no answer comes.
pub async fn get(client: &Client, path: &str) -> Result<Answer> {
    get_with(client, path, &[]).await
}

/// GETs a path with headers.
///
/// # Errors
/// Fails when no answer comes.
pub async fn get_with(client: &Client, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(client, request.body(Body::empty())?).await.with_context(|| format!("GET {path}"))
}

/// Sends any request.
///
/// # Errors
/// Fails when no answer comes.
pub async fn send(client: &Client, request: Request<Body>) -> Result<Answer> {
    Answer::read(client.send(request).await?).await
}
