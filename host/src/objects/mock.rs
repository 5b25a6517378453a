//! An API server of one test: it answers what the test says, in that order, and the test sees every request.

use bytes::Bytes;
use futures::stream;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use kube::{Client, client::Body};
use serde_json::Value;
use tokio::sync::mpsc;
use tower_test::mock::{self, Handle, SendResponse};

/// What a client gets.
pub(super) type Answer = Response<UnsyncBoxBody<Bytes, std::io::Error>>;

/// The server's side.
pub(super) struct Server(Handle<Request<Body>, Answer>);

/// Sends the events of a watch; dropping it ends the watch.
pub(super) struct Events(mpsc::UnboundedSender<Value>);

/// A client and its server.
pub(super) fn pair() -> (Client, Server) {
    let (service, handle) = mock::pair();
    (Client::new(service, "default"), Server(handle))
}

impl Server {
    /// The next request, to be answered later or never.
    pub(super) async fn next(&mut self) -> (Request<Body>, SendResponse<Answer>) {
        self.0.next_request().await.expect("no client is left")
    }

    /// Answers the next request, which must be for `path`, and gives its query and headers back.
    pub(super) async fn answer(&mut self, path: &str, status: u16, body: Value) -> Request<Body> {
        let (request, reply) = self.next().await;
        assert_eq!(request.uri().path(), path);
        reply.send_response(response(status, &body));
        request
    }

    /// Answers the next request, which must watch `path`.
    pub(super) async fn answer_watch(&mut self, path: &str) -> Events {
        let (request, reply) = self.next().await;
        assert_eq!(request.uri().path(), path);
        assert!(request.uri().query().unwrap_or_default().contains("watch=true"), "{}", request.uri());
        let (sender, receiver) = mpsc::unbounded_channel::<Value>();
        let frames = stream::unfold(receiver, |mut receiver| async {
            let event = receiver.recv().await?;
            Some((Ok(Frame::data(Bytes::from(format!("{event}\n")))), receiver))
        });
        reply.send_response(Response::new(StreamBody::new(frames).boxed_unsync()));
        Events(sender)
    }

    /// Expects no further request. All clients must have been dropped.
    pub(super) async fn expect_no_more(mut self) {
        assert!(self.0.next_request().await.is_none(), "an unexpected request");
    }
}

impl Events {
    /// Waits until the client has let go of the watch.
    pub(super) async fn ended(&self) {
        self.0.closed().await;
    }

    /// Sends one event.
    pub(super) fn send(&self, kind: &str, object: &Value) {
        self.0.send(serde_json::json!({ "type": kind, "object": object })).unwrap();
    }
}

/// A whole response.
pub(super) fn response(status: u16, body: &Value) -> Answer {
    let body = Full::new(Bytes::from(body.to_string())).map_err(|never| match never {});
    Response::builder().status(status).body(body.boxed_unsync()).unwrap()
}

/// A failed request's body.
pub(super) fn status(code: u16) -> Value {
    serde_json::json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "as scripted", "reason": "", "code": code })
}
