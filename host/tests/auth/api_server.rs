//! The API server that the adapter asks: its answers follow from the token or the user's name.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use http::{Request, Response};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::{Value, json};

/// Counts what it is asked, and can go away.
#[derive(Default)]
pub(crate) struct ApiServer {
    pub(crate) token_reviews: AtomicUsize,
    pub(crate) access_reviews: AtomicUsize,
    pub(crate) away: AtomicBool,
}

impl ApiServer {
    pub(crate) fn client(self: &Arc<Self>) -> kube::Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { server.answer(request).await }
        });
        kube::Client::new(service, "default")
    }

    async fn answer(&self, request: Request<Body>) -> io::Result<Response<Body>> {
        if self.away.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let mut review: Value = serde_json::from_slice(&body).unwrap();
        let (counter, subject) = match review["kind"].as_str().unwrap() {
            "TokenReview" => (&self.token_reviews, "token"),
            _ => (&self.access_reviews, "user"),
        };
        counter.fetch_add(1, Ordering::SeqCst);
        let name = review["spec"][subject].as_str().unwrap_or_default().to_owned();
        match name.as_str() {
            "unreachable" => return Err(io::ErrorKind::ConnectionRefused.into()),
            "silent" => std::future::pending().await,
            "garbled" => return Ok(Response::new(Body::from(b"<html>".to_vec()))),
            "without-rights" => return Ok(failure(403, "Forbidden")),
            "invalid-review" => return Ok(failure(422, "Invalid")),
            "unavailable" => return Ok(failure(503, "ServiceUnavailable")),
            _ => {}
        }
        review["status"] = if subject == "token" { token_status(&name) } else { access_status(&name) };
        Ok(Response::builder().status(201).body(Body::from(review.to_string().into_bytes())).unwrap())
    }
}

fn token_status(token: &str) -> Value {
    match token {
        "good" => json!({ "authenticated": true, "user": { "username": "token-jane" } }),
        "for-metrics" => {
            json!({ "authenticated": true, "user": { "username": "token-jane" }, "audiences": ["metrics"] })
        }
        "for-others" => json!({ "authenticated": true, "user": { "username": "token-jane" }, "audiences": ["others"] }),
        "nameless" => json!({ "authenticated": true, "user": {} }),
        "expired" => json!({ "authenticated": false, "error": "the token has expired" }),
        "undecided" => json!({}),
        _ => json!({ "authenticated": false }),
    }
}

fn access_status(user: &str) -> Value {
    match user {
        "system:anonymous" | "powerless" => json!({ "allowed": false, "reason": "no rule" }),
        "denied" => json!({ "allowed": false, "denied": true, "reason": "a rule" }),
        "without-opinion" => json!({}),
        "contradiction" => json!({ "allowed": true, "denied": true }),
        "yes" => json!({ "allowed": "yes" }),
        "half-evaluated" => json!({ "allowed": false, "evaluationError": "role `secret-role` not found" }),
        _ => json!({ "allowed": true }),
    }
}

fn failure(code: u16, reason: &str) -> Response<Body> {
    let status = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "because", "reason": reason,
                         "code": code });
    Response::builder().status(code).body(Body::from(status.to_string().into_bytes())).unwrap()
}
