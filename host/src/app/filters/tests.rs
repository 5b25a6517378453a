use std::sync::Arc;

use async_trait::async_trait;
use axum::{Router, body::Body};
use clap::Parser;
use http::Request;
use tokio::sync::Notify;
use tower::ServiceExt as _;

use super::*;
use crate::{
    app::{endpoints::Endpoints, expiry::Expiry, pipeline::Pipeline, rooms::Auth},
    auth::{Authenticator, Authorizer},
    config::{Config, ServeArgs},
    model::{
        Catalog, CustomQuery, CustomSample, ExternalAnswer, ExternalQuery, FetchError, MetricName, Provider, Reason,
    },
    objects::FixedObjects,
    telemetry::Readiness,
};

/// Panics, hangs or answers, by the metric's name.
#[derive(Default)]
struct Fake {
    arrived: Notify,
}

#[async_trait]
impl Provider for Fake {
    fn catalog(&self) -> Arc<Catalog> {
        Arc::default()
    }

    async fn custom(&self, _: &CustomQuery) -> Result<Vec<CustomSample>, FetchError> {
        Err(FetchError::new(Reason::MetricNotFound, "there are none"))
    }

    async fn external(&self, query: &ExternalQuery) -> Result<ExternalAnswer, FetchError> {
        match query.metric.as_str() {
            "panics" => panic!("on purpose"),
            "hangs" => {
                self.arrived.notify_one();
                std::future::pending().await
            }
            _ => Ok(ExternalAnswer { metric: MetricName::new("good").unwrap(), samples: Vec::new() }),
        }
    }
}

fn config(flags: &[&str]) -> Config {
    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        serve: ServeArgs,
    }
    let flags = ["serve", "--plugin-dir=plugins"].iter().chain(flags);
    Command::try_parse_from(flags).unwrap().serve.into_config().unwrap()
}

fn server(flags: &[&str]) -> (Router, Arc<Fake>) {
    let fake = Arc::new(Fake::default());
    let auth = Auth { authenticator: Authenticator::local_only(), authorizer: Authorizer::local_only(), trust: None };
    let endpoints = Endpoints {
        readiness: Readiness::default(),
        metrics: Arc::default(),
        board: Arc::default(),
        expiry: Expiry::default(),
    };
    let kinds = Arc::new(FixedObjects::default());
    (Pipeline::new(&config(flags), auth, fake.clone(), kinds, endpoints).into_router(), fake)
}

async fn get(server: &Router, metric: &str) -> (StatusCode, String) {
    let path = format!("/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/{metric}");
    let response = server.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
    let headers = response.headers();
    assert_eq!(headers.get(header::RETRY_AFTER), None);
    assert!(headers.contains_key("audit-id"), "{headers:?}");
    let status = response.status();
    if status != StatusCode::OK {
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    }
    let is_text = headers[header::CONTENT_TYPE] == "text/plain; charset=utf-8";
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let body = String::from_utf8(body.to_vec()).unwrap();
    assert_eq!(is_text, !body.starts_with('{'), "{body}");
    (status, body)
}

#[tokio::test]
async fn a_panic_is_one_failed_request() {
    let (server, _) = server(&["--max-requests-inflight=1"]);
    for _ in 0..3 {
        let expected = "This request caused apiserver to panic. Look in the logs for details.\n";
        assert_eq!(get(&server, "panics").await, (StatusCode::INTERNAL_SERVER_ERROR, expected.to_owned()));
        assert_eq!(get(&server, "good").await.0, StatusCode::OK);
    }
}

#[tokio::test(start_paused = true)]
async fn beyond_the_places_requests_are_refused_until_one_is_free() {
    let (server, fake) = server(&["--max-requests-inflight=1"]);
    let hanging = tokio::spawn({
        let server = server.clone();
        async move { get(&server, "hangs").await }
    });
    fake.arrived.notified().await;
    let expected = "Too many requests, please try again later.\n";
    assert_eq!(get(&server, "good").await, (StatusCode::TOO_MANY_REQUESTS, expected.to_owned()));
    let (code, body) = hanging.await.unwrap();
    assert_eq!(code, StatusCode::GATEWAY_TIMEOUT);
    let status: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        status,
        serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "Timeout: request did not complete within the allotted timeout",
            "reason": "Timeout", "details": {}, "code": 504
        })
    );
    assert_eq!(get(&server, "good").await.0, StatusCode::OK);
}
