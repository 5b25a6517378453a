//! The bodies that kube-apiserver was seen to get from a Go adapter, and what becomes of its answers.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{Request, Response};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::{Value, json};

use super::*;

/// Methods and paths with bodies.
type Received = Arc<Mutex<Vec<(String, Value)>>>;

/// An API server that answers each review with `status` and keeps what it was sent.
fn api_server(code: u16, answer: Value) -> (kube::Client, Received) {
    let received = Arc::new(Mutex::new(Vec::new()));
    let log = received.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let (log, mut answer) = (log.clone(), answer.clone());
        async move {
            let (parts, body) = request.into_parts();
            let body: Value = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap();
            if answer["kind"] != "Status" {
                answer["apiVersion"] = body["apiVersion"].clone();
                answer["kind"] = body["kind"].clone();
                answer["spec"] = body["spec"].clone();
            }
            log.lock().unwrap().push((format!("{} {}", parts.method, parts.uri.path()), body));
            let response = Response::builder().status(code).body(Body::from(answer.to_string().into_bytes())).unwrap();
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    (kube::Client::new(service, "default"), received)
}

fn autoscaler() -> User {
    User {
        name: "system:serviceaccount:kube-system:horizontal-pod-autoscaler".to_owned(),
        uid: String::new(),
        groups: ["system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"]
            .map(str::to_owned)
            .to_vec(),
        extra: [("authentication.kubernetes.io/credential-id".to_owned(), vec!["JTI=17f5beea".to_owned()])].into(),
    }
}

fn resource(texts: [&str; 7]) -> ResourceAttributes {
    let [verb, group, version, namespace, resource, subresource, name] = texts.map(str::to_owned);
    ResourceAttributes { verb, group, version, namespace, resource, subresource, name, label_selector: None }
}

#[tokio::test]
async fn access_reviews_are_those_that_were_captured() {
    let external = resource(["list", "external.metrics.k8s.io", "v1beta1", "default", "my-external-metric", "", ""]);
    let pods = resource(["get", "custom.metrics.k8s.io", "v1beta2", "default", "pods", "packets-per-second", "*"]);
    let aggregator = User {
        name: "system:aggregator".to_owned(),
        groups: vec!["system:authenticated".to_owned()],
        uid: "7".to_owned(),
        ..User::default()
    };
    let openapi = Attributes::NonResource { path: "/openapi/v2".to_owned(), verb: "get".to_owned() };
    let autoscaler_json = json!({
        "user": "system:serviceaccount:kube-system:horizontal-pod-autoscaler",
        "groups": ["system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"],
        "extra": { "authentication.kubernetes.io/credential-id": ["JTI=17f5beea"] },
    });
    let with = |key: &str, attributes: Value| {
        let mut spec = autoscaler_json.clone();
        spec[key] = attributes;
        spec
    };
    for (user, attributes, expected) in [
        (
            autoscaler(),
            Attributes::Resource(external),
            with(
                "resourceAttributes",
                json!({ "group": "external.metrics.k8s.io", "version": "v1beta1", "namespace": "default",
                        "resource": "my-external-metric", "verb": "list" }),
            ),
        ),
        (
            autoscaler(),
            Attributes::Resource(pods),
            with(
                "resourceAttributes",
                json!({ "group": "custom.metrics.k8s.io", "version": "v1beta2", "namespace": "default", "resource": "pods",
                        "name": "*", "subresource": "packets-per-second", "verb": "get" }),
            ),
        ),
        (
            aggregator,
            openapi,
            json!({ "user": "system:aggregator", "groups": ["system:authenticated"], "uid": "7",
                    "nonResourceAttributes": { "path": "/openapi/v2", "verb": "get" } }),
        ),
    ] {
        let (client, received) = api_server(201, json!({ "status": { "allowed": true } }));
        assert_eq!(KubeReviews::new(client, Vec::new()).access(&user, &attributes).await, Ok(AccessDecision::Allowed));
        let received = received.lock().unwrap();
        assert_eq!(received[0].0, "POST /apis/authorization.k8s.io/v1/subjectaccessreviews");
        assert_eq!(received[0].1["spec"], expected);
    }
}

#[test]
fn a_selector_becomes_requirements_and_what_reviews_cannot_say_is_left_out() {
    let requirement = |key: &str, operator, values: &[&str]| Requirement {
        key: key.to_owned(),
        operator,
        values: values.iter().map(|value| (*value).to_owned()).collect(),
    };
    let selector = [
        requirement("foo", Operator::In, &["bar"]),
        requirement("r", Operator::NotIn, &["z"]),
        requirement("s", Operator::Exists, &[]),
        requirement("t", Operator::GreaterThan, &["1"]),
        requirement("u", Operator::DoesNotExist, &[]),
    ];
    let expected = json!({ "requirements": [
        { "key": "foo", "operator": "In", "values": ["bar"] },
        { "key": "r", "operator": "NotIn", "values": ["z"] },
        { "key": "s", "operator": "Exists" },
        { "key": "u", "operator": "DoesNotExist" },
    ] });
    assert_eq!(serde_json::to_value(reviewed_selector(&selector)).unwrap(), expected);
    assert_eq!(reviewed_selector(&[requirement("t", Operator::LessThan, &["1"])]), None);
    assert_eq!(reviewed_selector(&[]), None);
}

#[tokio::test]
async fn only_a_plain_yes_allows() {
    let attributes = Attributes::NonResource { path: "/metrics".to_owned(), verb: "get".to_owned() };
    for (status, reason) in [
        (json!({ "status": { "allowed": false } }), ""),
        (json!({ "status": { "allowed": false, "reason": "no rule" } }), "no rule"),
        (json!({ "status": { "allowed": false, "denied": true, "reason": "never" } }), "never"),
        // For whoever runs the cluster, not for the client.
        (json!({ "status": { "allowed": false, "evaluationError": "half of it failed" } }), ""),
        (json!({}), ""),
    ] {
        let (client, _) = api_server(201, status.clone());
        let decision = KubeReviews::new(client, Vec::new()).access(&autoscaler(), &attributes).await;
        assert_eq!(decision, Ok(AccessDecision::Denied { reason: reason.to_owned() }), "{status}");
    }
    for nonsense in [
        json!({ "status": { "allowed": true, "denied": true } }),
        json!({ "status": { "allowed": "yes" } }),
        json!({ "status": [] }),
    ] {
        let (client, _) = api_server(201, nonsense.clone());
        let decision = KubeReviews::new(client, Vec::new()).access(&autoscaler(), &attributes).await;
        assert!(decision.is_err_and(|error| !error.retryable), "{nonsense}");
    }
}

#[tokio::test]
async fn a_token_is_valid_for_a_named_user_and_one_of_our_audiences() {
    let jane = json!({ "username": "jane", "uid": "7", "groups": ["shop"], "extra": { "scope": ["x"] } });
    let valid = TokenVerdict::Valid(User {
        name: "jane".to_owned(),
        uid: "7".to_owned(),
        groups: vec!["shop".to_owned()],
        extra: [("scope".to_owned(), vec!["x".to_owned()])].into(),
    });
    let ours = || vec!["metrics".to_owned()];
    for (status, audiences, expected) in [
        (json!({ "authenticated": true, "user": jane }), Vec::new(), Some(&valid)),
        (json!({ "authenticated": true, "user": jane, "audiences": ["other", "metrics"] }), ours(), Some(&valid)),
        (json!({ "authenticated": true, "user": jane, "audiences": ["other"] }), ours(), None),
        (json!({ "authenticated": true, "user": jane }), ours(), None),
        (json!({ "authenticated": true, "user": { "username": "" } }), Vec::new(), None),
        (json!({ "authenticated": true }), Vec::new(), None),
        (json!({ "authenticated": false, "user": jane }), Vec::new(), None),
        (json!({ "user": jane, "error": "expired" }), Vec::new(), None),
        (Value::Null, Vec::new(), None),
    ] {
        let (client, received) = api_server(201, json!({ "status": status }));
        let verdict = KubeReviews::new(client, audiences.clone()).token("secret").await.unwrap();
        match expected {
            Some(expected) => assert_eq!(&verdict, expected, "{status}"),
            None if status["error"].is_string() => assert!(matches!(verdict, TokenVerdict::Doubtful(_)), "{status}"),
            None => assert!(matches!(verdict, TokenVerdict::Invalid(_)), "{status}"),
        }
        let received = received.lock().unwrap();
        assert_eq!(received[0].0, "POST /apis/authentication.k8s.io/v1/tokenreviews");
        let mut spec = json!({ "token": "secret" });
        if !audiences.is_empty() {
            spec["audiences"] = json!(audiences);
        }
        assert_eq!(received[0].1["spec"], spec);
    }
}

#[tokio::test]
async fn failures_say_what_to_do_and_whether_to_ask_again() {
    let failure = |code: u16, seconds: u32| {
        json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": "because",
                "reason": if code == 403 { "Forbidden" } else { "" }, "details": { "retryAfterSeconds": seconds } })
    };
    for (code, seconds, retryable) in [
        (403, 0, false),
        (400, 0, false),
        (503, 0, false),
        (429, 0, true),
        (500, 0, true),
        (504, 0, true),
        (503, 3, true),
    ] {
        let (client, _) = api_server(code, failure(code, seconds));
        let error = KubeReviews::new(client, Vec::new()).token("secret").await.unwrap_err();
        assert_eq!(error.retryable, retryable, "{code}");
        assert_eq!(error.retry_after, (seconds > 0).then(|| Duration::from_secs(seconds.into())));
        assert!(!error.message.contains("secret"), "{}", error.message);
        assert_eq!(error.message.contains("system:auth-delegator"), code == 403, "{}", error.message);
    }
}

#[tokio::test]
async fn a_connection_that_breaks_is_tried_again_and_one_that_cannot_be_made_is_not() {
    for (kind, retryable) in [
        (io::ErrorKind::ConnectionReset, true),
        (io::ErrorKind::UnexpectedEof, true),
        (io::ErrorKind::ConnectionRefused, false),
        (io::ErrorKind::TimedOut, false),
        (io::ErrorKind::InvalidData, false),
    ] {
        let broken =
            tower::service_fn(move |_: Request<Body>| async move { Err::<Response<Body>, _>(io::Error::from(kind)) });
        let client = kube::Client::new(broken, "default");
        let error = KubeReviews::new(client, Vec::new()).token("secret").await.unwrap_err();
        assert_eq!(error.retryable, retryable, "{kind:?}");
    }
}
