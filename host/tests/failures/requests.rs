//! Failures that have no plugin in them: the table of Kubernetes.

use http::Request;
use serde_json::{Value, json};
use wasm_metrics_adapter::{
    api::{Status, path},
    model::{AuthError, User},
};

use crate::{CUSTOM, EXTERNAL, assert_failure, details_of, server, told};

#[tokio::test]
async fn requests_that_no_plugin_can_answer() {
    let server = server();
    for (url, code, reason, message) in [
        // custom-metrics-apiserver pkg/provider/errors.go
        (
            format!("{CUSTOM}/namespaces/ns/pods/p/x"),
            404,
            "NotFound",
            "the server could not find the metric x for pods",
        ),
        (
            format!("{CUSTOM}/namespaces/ns/pods/*/x"),
            404,
            "NotFound",
            "the server could not find the metric x for pods",
        ),
        (format!("{CUSTOM}/nodes/n/x"), 404, "NotFound", "the server could not find the metric x for nodes"),
        (
            format!("{CUSTOM}/namespaces/ns/metrics/x"),
            404,
            "NotFound",
            "the server could not find the metric x for namespaces",
        ),
        (
            format!("{CUSTOM}/namespaces/ns/gadgets.example.com/g/x"),
            404,
            "NotFound",
            "the server could not find the metric x for gadgets.example.com",
        ),
        (
            format!("{EXTERNAL}/namespaces/ns/x"),
            404,
            "NotFound",
            "the server could not find the metric x for externalmetrics.external.metrics.k8s.io",
        ),
        // Where the objects are is the API server's word.
        (
            format!("{CUSTOM}/namespaces/ns/nodes/n/x"),
            404,
            "NotFound",
            "the server could not find the metric x for nodes: these objects live in no namespace; leave `namespaces/NAMESPACE/` out of the path",
        ),
        (
            format!("{CUSTOM}/pods/p/x"),
            404,
            "NotFound",
            "the server could not find the metric x for pods: these objects live in namespaces; put `namespaces/NAMESPACE/` into the path",
        ),
        (
            format!("{CUSTOM}/namespaces/ns/gadgets.broken.example.com/g/x"),
            503,
            "ServiceUnavailable",
            "discovery of it failed",
        ),
        // Paths without a metric
        (format!("{CUSTOM}/nodes/foo"), 404, "NotFound", "the server could not find the requested resource"),
        (
            format!("{CUSTOM}/namespaces/ns/pods/bar"),
            404,
            "NotFound",
            "the server could not find the requested resource",
        ),
        (format!("{CUSTOM}/blah"), 404, "NotFound", "the server could not find the requested resource"),
        (format!("{EXTERNAL}/namespaces/foo"), 404, "NotFound", "the server could not find the requested resource"),
        (format!("{CUSTOM}/namespaces/ns/pods"), 400, "BadRequest", "invalid request path"),
        // Selectors, in the words of k8s.io/apimachinery; Go's adapter answers 500 for a bad metricLabelSelector.
        (
            format!("{CUSTOM}/namespaces/ns/pods/p/x?labelSelector=a%3D%3D%3Db"),
            400,
            "BadRequest",
            "unable to parse requirement: found '=', expected: identifier",
        ),
        (
            format!("{CUSTOM}/namespaces/ns/pods/p/x?metricLabelSelector=a%3D%3D%3Db"),
            400,
            "BadRequest",
            "unable to parse requirement: found '=', expected: identifier",
        ),
        (
            format!("{EXTERNAL}/namespaces/ns/x?labelSelector=a%3D%3D%3Db"),
            400,
            "BadRequest",
            "unable to parse requirement: found '=', expected: identifier",
        ),
        (
            format!("{CUSTOM}/namespaces/ns/pods/p/x?fieldSelector=metadata.name%3Dq"),
            400,
            "BadRequest",
            "fieldSelector metadata.name doesn't match requested name",
        ),
    ] {
        assert_failure(&server.fails(&url).await, code, reason, message, &details_of(reason, message));
    }
}

#[tokio::test]
async fn requests_of_a_form_that_is_not_served() {
    let server = server();
    let url = format!("{CUSTOM}/namespaces/ns/pods/*/x");
    let status = told(server.send("GET", &url, "text/html").await).await;
    assert_eq!((&status["code"], &status["reason"]), (&json!(406), &json!("NotAcceptable")));
    assert!(
        status["message"]
            .as_str()
            .unwrap()
            .starts_with("only the following media types are accepted: application/json")
    );
    for method in ["POST", "PUT", "PATCH", "DELETE", "HEAD"] {
        let status = told(server.send(method, &url, "*/*").await).await;
        let message = "the server does not allow this method on the requested resource";
        assert_failure(&status, 405, "MethodNotAllowed", message, &json!({}));
    }
    let status = server.fails(&format!("{EXTERNAL}/namespaces/ns/x?watch=true")).await;
    let message = r#"watch is not supported on resources of kind "*.external.metrics.k8s.io""#;
    let details = json!({ "group": "external.metrics.k8s.io", "kind": "*" });
    assert_failure(&status, 405, "MethodNotAllowed", message, &details);
}

#[tokio::test]
async fn requests_of_who_may_not() {
    let head = Request::get(format!("{CUSTOM}/namespaces/ns/pods/*/qps")).body(()).unwrap().into_parts().0;
    let attributes = path::parse(&head.method, &head.uri).unwrap().attributes();
    let user = User { name: "x".to_owned(), ..User::default() };
    let refused =
        async |error: AuthError| told(Status::of_authorization(&error, &user, &attributes).respond(&head)).await;

    let status =
        told(Status::of_authentication(&AuthError::Unauthenticated("bad token".to_owned())).respond(&head)).await;
    assert_failure(&status, 401, "Unauthorized", "Unauthorized", &Value::Null);
    let status = refused(AuthError::Forbidden { reason: String::new() }).await;
    let message = r#"pods.custom.metrics.k8s.io "*" is forbidden: User "x" cannot get resource "pods/qps" in API group "custom.metrics.k8s.io" in the namespace "ns""#;
    let details = json!({ "name": "*", "group": "custom.metrics.k8s.io", "kind": "pods" });
    assert_failure(&status, 403, "Forbidden", message, &details);
    // Go's filter answers this in plain text, of which an HPA shows less.
    let status = refused(AuthError::Unavailable("the API server did not answer".to_owned())).await;
    let message = "Internal error occurred: the request could not be authorized: the API server did not answer";
    assert_failure(&status, 500, "InternalError", message, &details_of("InternalError", message));
}
