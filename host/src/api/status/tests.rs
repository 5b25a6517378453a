use std::time::Duration;

use super::*;
use crate::{
    api::encoding::{Encoding, tests::Golden},
    model::PluginId,
};

const JSON: Answer = Answer { encoding: Encoding::JSON, pretty: false, gzip: false };

fn body(status: &Status) -> serde_json::Value {
    let response = status.write(JSON);
    assert_eq!(response.headers().get(header::RETRY_AFTER), None);
    let bytes = futures::executor::block_on(axum::body::to_bytes(response.into_body(), usize::MAX)).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

fn plugin() -> PluginId {
    PluginId { namespace: "shop".to_owned(), name: "queue".to_owned() }
}

fn resource(namespace: &str, resource: &str, subresource: &str, name: &str) -> Attributes {
    Attributes::Resource(ResourceAttributes {
        verb: "get".to_owned(),
        group: "custom.metrics.k8s.io".to_owned(),
        version: "v1beta2".to_owned(),
        namespace: namespace.to_owned(),
        resource: resource.to_owned(),
        subresource: subresource.to_owned(),
        name: name.to_owned(),
        label_selector: None,
    })
}

#[test]
fn refusals_are_in_the_words_of_kubernetes() {
    let user = User { name: "x".to_owned(), ..User::default() };
    let other = Attributes::NonResource { path: "/x".to_owned(), verb: "get".to_owned() };
    for (reason, attributes, expected) in [
        (
            "",
            resource("ns", "pods", "qps", "*"),
            r#"pods.custom.metrics.k8s.io "*" is forbidden: User "x" cannot get resource "pods/qps" in API group "custom.metrics.k8s.io" in the namespace "ns""#,
        ),
        (
            "RBAC: no rule",
            resource("", "nodes", "load", "n1"),
            r#"nodes.custom.metrics.k8s.io "n1" is forbidden: User "x" cannot get resource "nodes/load" in API group "custom.metrics.k8s.io" at the cluster scope: RBAC: no rule"#,
        ),
        (
            "",
            resource("ns", "queue", "", ""),
            r#"queue.custom.metrics.k8s.io is forbidden: User "x" cannot get resource "queue" in API group "custom.metrics.k8s.io" in the namespace "ns""#,
        ),
        ("", other, r#"forbidden: User "x" cannot get path "/x""#),
    ] {
        let error = AuthError::Forbidden { reason: reason.to_owned() };
        let status = Status::of_authorization(&error, &user, &attributes);
        assert_eq!((status.code(), status.message()), (StatusCode::FORBIDDEN, expected));
    }
}

#[test]
fn a_refusal_can_not_be_taken_for_html() {
    let user = User { name: "<script>".to_owned(), ..User::default() };
    let path = Attributes::NonResource { path: "/a&b".to_owned(), verb: "get".to_owned() };
    let status = Status::of_authorization(&AuthError::Forbidden { reason: String::new() }, &user, &path);
    assert_eq!(status.message(), r#"forbidden: User "&lt;script&gt;" cannot get path "/a&amp;b""#);
}

#[test]
fn whole_answers() {
    let forbidden = AuthError::Forbidden { reason: String::new() };
    let user = User { name: "x".to_owned(), ..User::default() };
    assert_eq!(
        body(&Status::of_authorization(&forbidden, &user, &resource("ns", "pods", "qps", "*"))),
        serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "pods.custom.metrics.k8s.io \"*\" is forbidden: User \"x\" cannot get resource \"pods/qps\" in API group \"custom.metrics.k8s.io\" in the namespace \"ns\"",
            "reason": "Forbidden",
            "details": { "name": "*", "group": "custom.metrics.k8s.io", "kind": "pods" },
            "code": 403
        })
    );
    let secret = AuthError::Unauthenticated("token `s3cret` has expired".to_owned());
    assert_eq!(
        body(&Status::of_authentication(&secret)),
        serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "Unauthorized", "reason": "Unauthorized", "code": 401
        })
    );
    let unavailable = AuthError::Unavailable("the API server did not answer".to_owned());
    let message = "the request could not be authorized: the API server did not answer";
    assert_eq!(
        body(&Status::of_authorization(&unavailable, &user, &resource("ns", "pods", "qps", "*"))),
        serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": format!("Internal error occurred: {message}"), "reason": "InternalError",
            "details": { "causes": [{ "message": message }] }, "code": 500
        })
    );
}

#[test]
fn failures_have_codes_and_name_their_plugin() {
    let series = Selector::everything();
    let asked = Asked { resource: "pods".to_owned(), metric: "qps", object: "p1", series: &series };
    let plugin = plugin();
    for (reason, code, word, message) in [
        (
            Reason::MetricNotFound,
            404,
            "NotFound",
            "the server could not find the metric qps for pods: plugin shop/queue: it broke",
        ),
        (
            Reason::ObjectNotFound,
            404,
            "NotFound",
            "the server could not find the metric qps for pods p1: plugin shop/queue: it broke",
        ),
        (Reason::BadRequest, 400, "BadRequest", "plugin shop/queue: it broke"),
        (Reason::RateLimited, 429, "TooManyRequests", "plugin shop/queue: it broke"),
        (Reason::Overloaded, 429, "TooManyRequests", "plugin shop/queue: it broke"),
        (Reason::Unavailable, 503, "ServiceUnavailable", "plugin shop/queue: it broke"),
        (Reason::Unauthorized, 503, "ServiceUnavailable", "plugin shop/queue: it broke"),
        (Reason::Loading, 503, "ServiceUnavailable", "plugin shop/queue: it broke"),
        (Reason::Timeout, 504, "Timeout", "Timeout: plugin shop/queue: it broke"),
        (Reason::Internal, 500, "InternalError", "Internal error occurred: plugin shop/queue: it broke"),
    ] {
        let mut error = FetchError::new(reason, "it broke").of(&plugin);
        error.retry_after = Some(Duration::from_secs(30));
        let body = body(&Status::of_fetch(&error, &asked));
        assert_eq!(
            (&body["code"], &body["reason"], &body["message"]),
            (&code.into(), &word.into(), &message.into()),
            "{reason:?}"
        );
        assert_eq!(body["details"]["retryAfterSeconds"], serde_json::Value::Null);
    }
}

#[test]
fn a_selector_is_part_of_what_was_not_found() {
    let series = Selector::parse("verb=GET").unwrap();
    let asked = Asked { resource: "services".to_owned(), metric: "rps", object: "front", series: &series };
    let status = Status::of_fetch(&FetchError::new(Reason::ObjectNotFound, ""), &asked);
    assert_eq!(status.message(), "the server could not find the metric rps for services front with selector verb=GET");
}

#[test]
fn what_plugins_say_is_one_printable_line() {
    assert_eq!(one_line("  a\nb\t\tc\u{7}d \u{202e}e \"ü\" \\ "), "a b c d e \"ü\" \\");
}

#[test]
fn a_message_is_at_most_512_bytes_in_whole() {
    let long = bounded("ü".repeat(400));
    assert!(long.len() <= 512 && long.len() > 508 && long.ends_with("ü..."), "{long}");
    for exact in ["x".repeat(512), "as  it is: \"a\\tb\"".to_owned()] {
        assert_eq!(bounded(exact.clone()), exact);
    }
    assert_eq!(bounded("a\u{202e}b\n".to_owned()), "a b");
    let series =
        Selector::parse(&format!("verb in ({})", (0..300).map(|n| n.to_string()).collect::<Vec<_>>().join(",")));
    let series = series.unwrap();
    let asked =
        Asked { resource: "pods".to_owned(), metric: &"m".repeat(300), object: &"p".repeat(253), series: &series };
    for reason in
        [Reason::MetricNotFound, Reason::ObjectNotFound, Reason::BadRequest, Reason::Timeout, Reason::Internal]
    {
        let status = Status::of_fetch(&FetchError::new(reason, "y".repeat(1000)).of(&plugin()), &asked);
        assert!((500..=512).contains(&status.message().len()), "{reason:?}: {}", status.message());
        let body = body(&status);
        assert!(body["details"]["causes"][0]["message"].as_str().unwrap_or_default().len() <= 512);
    }
}

#[test]
fn a_refused_method_comes_with_those_that_are_not() {
    let response = Status::method_not_allowed().write(JSON);
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(response.headers()[header::ALLOW], "GET");
}

#[test]
fn failures_are_written_as_in_go() {
    let mut golden = Golden::of("status: ");
    let user = User { name: "x".to_owned(), ..User::default() };
    let series = Selector::everything();
    let asked = Asked { resource: "pods".to_owned(), metric: "qps", object: "p1", series: &series };
    let forbidden = AuthError::Forbidden { reason: String::new() };
    let other = Attributes::NonResource { path: "/x".to_owned(), verb: "get".to_owned() };
    let of_fetch = |reason| Status::of_fetch(&FetchError::new(reason, "it broke").of(&plugin()), &asked);
    for status in [
        of_fetch(Reason::BadRequest),
        Status::of_authentication(&AuthError::Unauthenticated(String::new())),
        Status::of_authorization(&forbidden, &user, &resource("ns", "pods", "qps", "*")),
        Status::of_authorization(&forbidden, &user, &other),
        Status::metric_not_found(&asked),
        Status::method_not_allowed(),
        Status::watch_not_supported(Group::External, "*"),
        NotAcceptable.into(),
        of_fetch(Reason::RateLimited),
        of_fetch(Reason::Internal),
        of_fetch(Reason::Unavailable),
        of_fetch(Reason::Timeout),
    ] {
        golden.compare(&format!("status: {} {}", status.reason, status.message), &status.wire());
    }
    golden.finish();
}
