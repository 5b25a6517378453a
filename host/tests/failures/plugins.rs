//! Failures of plugins: real guests that misbehave, each named with the cause.

use std::time::Duration;

use serde_json::Value;
use wasm_metrics_adapter::{registry::State, runtime::Limits};

use crate::{CUSTOM, EXTERNAL, assert_failure, details_of, probe, server};

/// Where a probe is asked.
#[derive(Clone, Copy)]
enum Form {
    External,
    OnePod,
    AllPods,
    AllConfigMaps,
}

impl Form {
    fn url(self, metric: &str) -> String {
        match self {
            Self::External => format!("{EXTERNAL}/namespaces/shop/{metric}"),
            Self::OnePod => format!("{CUSTOM}/namespaces/shop/pods/web-1/{metric}"),
            Self::AllPods => format!("{CUSTOM}/namespaces/shop/pods/*/{metric}"),
            Self::AllConfigMaps => format!("{CUSTOM}/namespaces/shop/configmaps/*/{metric}"),
        }
    }
}

#[tokio::test]
async fn plugins_that_break_a_limit_or_answer_nonsense() {
    let server = server();
    let any: fn(&mut Limits) = |_| {};
    for (behaviour, limit, form, code, reason, cause) in [
        (
            "traps",
            any,
            Form::External,
            500,
            "InternalError",
            "the plugin stopped with a trap (wasm trap: wasm `unreachable` instruction executed); its log has the cause",
        ),
        (
            "recurses",
            any,
            Form::External,
            500,
            "InternalError",
            "the plugin needs more than 512 KiB of stack, the adapter's limit; make it recurse less",
        ),
        (
            "exits",
            any,
            Form::External,
            500,
            "InternalError",
            "the plugin ended itself instead of answering (exit); answer with a failure instead",
        ),
        (
            "hogs",
            |limits| limits.memory_bytes = 16 << 20,
            Form::External,
            500,
            "InternalError",
            "the plugin needs more than 16 MiB of memory; make it use less, or raise limits.memory",
        ),
        (
            "spins",
            |limits| limits.cpu = Duration::from_millis(50),
            Form::External,
            500,
            "InternalError",
            "the plugin used more than 50ms of CPU time for one request; make it do less, or raise limits.cpu",
        ),
        (
            "sleeps",
            |limits| limits.timeout = Duration::from_millis(300),
            Form::External,
            504,
            "Timeout",
            "the plugin did not answer within 300ms; its backend may be slow: make it ask for less, or raise limits.timeout",
        ),
        (
            "nan",
            any,
            Form::External,
            500,
            "InternalError",
            "the plugin's answer makes no sense: a value of nan: NaN is not a number that Kubernetes can carry; answer `unavailable` where there is no value",
        ),
        (
            "infinite",
            any,
            Form::OnePod,
            500,
            "InternalError",
            "the plugin's answer makes no sense: the value of infinite for web-1: inf is not a number that Kubernetes can carry; answer `unavailable` where there is no value",
        ),
        (
            "wrong-object",
            any,
            Form::OnePod,
            500,
            "InternalError",
            "the plugin's answer makes no sense: it is about another object than the one asked for",
        ),
        (
            "good",
            |limits| limits.list_items = 1,
            Form::AllPods,
            500,
            "InternalError",
            "the plugin answered with more than 1 items; make it answer with fewer, or raise limits.listItems",
        ),
        (
            "clings",
            any,
            Form::External,
            500,
            "InternalError",
            "the plugin holds more streams, requests or timers of WASI than the adapter keeps for one request; make it drop them",
        ),
        (
            "shouts",
            |limits| limits.answer_bytes = 1 << 20,
            Form::External,
            500,
            "InternalError",
            "the plugin handed more than 1048576 bytes to the adapter in one go; make it answer with less, or raise limits.answerBytes",
        ),
        (
            "hammers",
            |limits| limits.requests = 3,
            Form::OnePod,
            500,
            "InternalError",
            "the plugin made more than 3 requests to backends for one answer; make it ask for several things at once, or raise limits.requests",
        ),
        (
            "labels-twice",
            any,
            Form::External,
            500,
            "InternalError",
            "the plugin's answer makes no sense: a series of labels-twice has the label queue twice",
        ),
        (
            "good-config-maps",
            any,
            Form::AllConfigMaps,
            400,
            "BadRequest",
            "objects of kind `configmaps` are not open to plugins; the adapter's operator lists the kinds that are",
        ),
    ] {
        server.load(behaviour, &[("behaviour", behaviour)], limit).await;
        let status = server.fails(&form.url(behaviour)).await;
        let prefix = match reason {
            "InternalError" => "Internal error occurred: ",
            "Timeout" => "Timeout: ",
            _ => "",
        };
        let message = format!("{prefix}plugin plugins/{behaviour}: {cause}");
        assert_failure(&status, code, reason, &message, &details_of(reason, &message));
    }
}

#[tokio::test]
async fn a_label_that_looks_like_json_stays_a_label() {
    let server = server();
    server.load("forges", &[("behaviour", "forges")], |_| {}).await;
    let response = server.send("GET", &Form::External.url("forges"), "*/*").await;
    assert_eq!(response.status(), 200);
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let list: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(list["items"].as_array().unwrap().len(), 1, "{list}");
    assert_eq!(list["items"][0]["metricLabels"]["queue"], "a\u{1b}[2J\n\"}],\"items\":[{\u{0}");
}

#[tokio::test]
async fn plugins_that_fail_in_their_own_words() {
    let server = server();
    let (metric, external) = ("the server could not find the metric", "externalmetrics.external.metrics.k8s.io");
    for (reason, form, code, status_reason, before) in [
        ("metric-not-found", Form::External, 404, "NotFound", format!("{metric} metric-not-found for {external}: ")),
        ("metric-not-found", Form::AllPods, 404, "NotFound", format!("{metric} metric-not-found for pods: ")),
        ("object-not-found", Form::OnePod, 404, "NotFound", format!("{metric} object-not-found for pods web-1: ")),
        ("bad-request", Form::External, 400, "BadRequest", String::new()),
        ("rate-limited", Form::External, 429, "TooManyRequests", String::new()),
        ("unavailable", Form::External, 503, "ServiceUnavailable", String::new()),
        ("unauthorized", Form::External, 503, "ServiceUnavailable", String::new()),
        ("timeout", Form::External, 504, "Timeout", "Timeout: ".to_owned()),
        ("internal", Form::External, 500, "InternalError", "Internal error occurred: ".to_owned()),
    ] {
        let config =
            [("behaviour", "fails"), ("reason", reason), ("message", "no\nluck \u{202e}today"), ("retryAfter", "1500")];
        server.load(reason, &config, |_| {}).await;
        let message = format!("{before}plugin plugins/{reason}: no\\nluck today");
        let status = server.fails(&form.url(reason)).await;
        assert_failure(&status, code, status_reason, &message, &details_of(status_reason, &message));
    }
    // One object with a series selector that nothing fits: the third text of errors.go.
    let url = format!("{}?metricLabelSelector=verb%3DGET", Form::OnePod.url("object-not-found"));
    let message = format!(
        "{metric} object-not-found for pods web-1 with selector verb=GET: plugin plugins/object-not-found: no\\nluck today"
    );
    assert_failure(&server.fails(&url).await, 404, "NotFound", &message, &Value::Null);
    // Whatever it says is cut.
    server.load("talkative", &[("behaviour", "fails"), ("message", &"very sorry ".repeat(1000))], |_| {}).await;
    let status = server.fails(&Form::External.url("talkative")).await;
    assert!(status["message"].as_str().unwrap().ends_with("..."), "{status}");
}

#[tokio::test]
async fn a_plugin_that_is_still_loading_is_unavailable_and_never_unknown() {
    let server = server();
    server.put("loading", "loading", State::Loading);
    let message =
        "plugin plugins/loading: it has not loaded yet; if that stays so, the Events of its ConfigMap say why";
    for form in [Form::External, Form::OnePod, Form::AllPods] {
        let status = server.fails(&form.url("loading")).await;
        assert_failure(&status, 503, "ServiceUnavailable", message, &Value::Null);
    }
}

#[tokio::test]
async fn of_two_plugins_that_claim_a_metric_the_owner_fails_and_the_other_does_not_step_in() {
    let server = server();
    // Their names decide.
    let down = probe("a-owner", &[("behaviour", "fails"), ("message", "down")], |_| {}).await;
    server.put("a-owner", "shared", down);
    server.put("b-other", "shared", probe("b-other", &[], |_| {}).await);
    let status = server.fails(&Form::External.url("shared")).await;
    assert_failure(&status, 503, "ServiceUnavailable", "plugin plugins/a-owner: down", &Value::Null);
}
