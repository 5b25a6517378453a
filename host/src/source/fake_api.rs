//! A fake API server for tests: requests arrive in order, and each must be answered. A request that a test doesn't
//! expect, or one that never comes, fails it.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use kube::client::Body;
use serde_json::Value;
use tower_test::mock::{Handle, SendResponse};

type Answer = UnsyncBoxBody<Bytes, std::io::Error>;

pub(crate) struct FakeApi(Handle<Request<Body>, Response<Answer>>);

/// A request, read.
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) accept: String,
    pub(crate) body: Value,
}

/// Where its answer goes.
pub(crate) struct Reply(SendResponse<Response<Answer>>);

impl FakeApi {
    /// A client, and the server that it talks to.
    pub(crate) fn start() -> (kube::Client, Self) {
        let (service, handle) = tower_test::mock::pair::<Request<Body>, Response<Answer>>();
        (kube::Client::new(service, "default"), Self(handle))
    }

    /// The next request; fails if none comes.
    pub(crate) async fn next(&mut self) -> (Asked, Reply) {
        let next = tokio::time::timeout(std::time::Duration::from_secs(300), self.0.next_request());
        let (request, reply) = next.await.expect("a request in time").expect("a request");
        let (parts, body) = request.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        let asked = Asked {
            method: parts.method.to_string(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            accept: parts.headers.get("accept").map_or("", |value| value.to_str().expect("text")).to_owned(),
            body: serde_json::from_slice(&body).unwrap_or_default(),
        };
        (asked, Reply(reply))
    }
}

impl Reply {
    /// A body of JSON.
    pub(crate) fn json(self, status: u16, body: &Value) {
        self.send(status, Full::new(Bytes::from(body.to_string())).map_err(|never| match never {}).boxed_unsync());
    }

    /// A metav1.Status.
    pub(crate) fn status(self, code: u16, reason: &str) {
        let body = serde_json::json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": reason, "reason": reason, "code": code});
        self.json(code, &body);
    }

    /// No answer: the connection breaks.
    pub(crate) fn cut(self) {
        self.0.send_error(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
    }

    /// A watch that is open while the sender lives: each value is a line of it.
    pub(crate) fn watch(self) -> tokio::sync::mpsc::UnboundedSender<Value> {
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel::<Value>();
        let lines = futures::stream::unfold(receiver, |mut receiver| async {
            let line = format!("{}\n", receiver.recv().await?);
            Some((Ok::<_, std::io::Error>(http_body::Frame::data(Bytes::from(line))), receiver))
        });
        self.send(200, StreamBody::new(lines).boxed_unsync());
        sender
    }

    fn send(self, status: u16, body: Answer) {
        self.0.send_response(Response::builder().status(status).body(body).expect("a response"));
    }
}
