//! What a guest may import: each import works as wit/v0.1/host.wit says, and reaches nothing besides.

use axum::Router;
use tokio::net::TcpListener;
use wasm_metrics_adapter::model::{Provider as _, Reason};

use crate::{ExternalSample, custom_query, external, label, logs::logs, probe, selected, support, world};

/// A backend on loopback that answers every request with the same text; its origin.
async fn backend(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(move || async move { answer });
    tokio::spawn(async move { axum::serve(listener, router).await });
    origin
}

/// The series of an import, from the probe's behaviour `imports`.
fn seen<'a>(samples: &'a [ExternalSample], import: &str) -> (String, &'a str) {
    let sample = samples.iter().find(|sample| label(sample, "import") == import);
    let sample = sample.unwrap_or_else(|| panic!("no series for {import}: {samples:?}"));
    (sample.value.units().to_string(), label(sample, "detail"))
}

#[tokio::test]
async fn every_import_works() {
    let logs = logs();
    let origin = backend("seven").await;
    let plugin = probe("imports").config("behaviour", "imports").config("url", &origin).origin(&origin).load().await;
    let samples = external(&plugin, "shop").await.unwrap().samples;
    assert_eq!(seen(&samples, "config"), ("2".to_owned(), "behaviour,url"));
    assert_eq!(seen(&samples, "http.fetch"), ("200".to_owned(), "seven"));
    assert_eq!(seen(&samples, "http.fetch-all"), ("2".to_owned(), "200,200"));
    assert_eq!(seen(&samples, "objects.names"), ("2".to_owned(), "db-1,web-1"));
    assert_eq!(seen(&samples, "objects.endpoints"), ("2".to_owned(), "db-1=10.0.0.2:true,web-1=10.0.0.1:true"));
    assert_eq!(seen(&samples, "state"), ("1".to_owned(), "new"));
    let lines = logs.of(plugin.id());
    for (level, text) in [(" INFO ", "an info line"), (" WARN ", "a warning of"), ("ERROR ", "an error of")] {
        assert!(lines.iter().any(|line| line.contains(level) && line.contains(text)), "{text}: {lines:?}");
    }
}

#[tokio::test]
async fn an_origin_that_is_not_granted_is_not_reached() {
    let origin = backend("secret").await;
    let plugin = probe("refused").config("behaviour", "imports").config("url", &origin).load().await;
    let samples = external(&plugin, "shop").await.unwrap().samples;
    let (status, detail) = seen(&samples, "http.fetch");
    assert_eq!(status, "-1");
    assert!(detail.contains(&format!("origin {origin} is not in `egress` of plugin plugins/refused")), "{detail}");
}

#[tokio::test]
async fn objects_are_those_of_the_requests_namespace() {
    let plugin = probe("objects").config("behaviour", "imports").load().await;
    let samples = external(&plugin, "billing").await.unwrap().samples;
    assert_eq!(seen(&samples, "objects.names"), ("1".to_owned(), "secret-1"));
    let samples = external(&plugin, "empty").await.unwrap().samples;
    assert_eq!(seen(&samples, "objects.names"), ("0".to_owned(), ""));
}

#[tokio::test]
async fn objects_of_another_scope_are_refused() {
    let plugin = probe("scopes").load().await;
    for (resource, namespace, expected) in [
        (
            "nodes",
            Some("shop"),
            "nodes live in no namespace, and this call is about one: ask while a metric of nodes is looked up",
        ),
        (
            "pods",
            None,
            "pods live in namespaces, and this call has none: ask while a metric of a namespace is looked up",
        ),
        ("unknowns", Some("shop"), "the cluster has no resource unknowns"),
    ] {
        let error = plugin.custom(&custom_query(resource, namespace, selected(""))).await.unwrap_err();
        assert_eq!((error.reason, error.message.as_str()), (Reason::BadRequest, expected));
    }
}

#[tokio::test]
async fn state_is_kept_by_namespace_and_over_a_reload() {
    let load = || probe("counts").config("behaviour", "imports").load();
    let plugin = load().await;
    let count = async |plugin: &_, namespace| {
        let samples = external(plugin, namespace).await.unwrap().samples;
        seen(&samples, "state").0
    };
    assert_eq!(count(&plugin, "shop").await, "1");
    assert_eq!(count(&plugin, "shop").await, "2");
    assert_eq!(count(&plugin, "billing").await, "1", "another namespace starts anew");
    drop(plugin);
    let reloaded = load().await;
    assert_eq!(count(&reloaded, "shop").await, "3");
    // The guest counts by compare-and-set: of calls at once none is lost.
    let calls = (0..40).map(|_| external(&reloaded, "shop"));
    assert!(futures::future::join_all(calls).await.iter().all(Result::is_ok));
    assert_eq!(count(&reloaded, "shop").await, "44");
    world().await.runtime.forget(reloaded.id());
    let anew = load().await;
    assert_eq!(count(&anew, "shop").await, "1", "a plugin that is gone leaves nothing");
}

#[tokio::test]
async fn wasi_gives_clocks_and_chance_and_nothing_else() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let plugin = probe("wasi").config("behaviour", "wasi").config("address", &address).load().await;
    let samples = external(&plugin, "shop").await.unwrap().samples;
    let had: Vec<_> =
        samples.iter().filter(|sample| sample.value.units() == 1).map(|sample| label(sample, "tried")).collect();
    assert_eq!(had, ["wall-clock", "monotonic-clock", "random"], "{samples:?}");
    assert_eq!(samples.len(), 11, "the probe tried everything else");
    let chance = |samples: &[ExternalSample]| label(&samples[10], "detail").to_owned();
    let again = external(&plugin, "shop").await.unwrap().samples;
    assert_ne!(chance(&samples), chance(&again), "each instance has its own random numbers");
}

#[tokio::test]
async fn wasi_http_goes_the_same_way_as_http() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    let router = Router::new().fallback(async |uri: axum::http::Uri, body: String| format!("{uri} {}", body.len()));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let asks = |name: &str| probe(name).config("authority", &authority).config("body", "x".repeat(10_000));
    let granted = asks("wasi-http").origin(&format!("http://{authority}")).load_of(support::guest("wasi-http")).await;
    let samples = external(&granted, "shop").await.unwrap().samples;
    assert_eq!((samples[0].value.units(), label(&samples[0], "detail")), (200, "/queue?depth=1 10000"));

    let logs = logs();
    let refused = asks("wasi-http-refused").load_of(support::guest("wasi-http")).await;
    let samples = external(&refused, "shop").await.unwrap().samples;
    assert_eq!((samples[0].value.units(), label(&samples[0], "detail")), (-1, "ErrorCode::HttpRequestDenied"));
    let lines = logs.of(refused.id());
    assert!(
        lines.iter().any(|line| line.contains("is not in `egress` of plugin plugins/wasi-http-refused")),
        "{lines:?}"
    );
}
