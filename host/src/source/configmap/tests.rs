use std::collections::BTreeMap;

use bytes::Bytes;
use futures::stream;
use serde_json::{Value, json};
use tokio::sync::mpsc::{Receiver, UnboundedSender, channel};

use super::*;
use crate::source::fake_api::{Asked, FakeApi, Reply};

mod trouble;

const CONFIGMAPS: &str = "/api/v1/namespaces/metrics/configmaps";
const PLUGINS: &str = "wasm-metrics-adapter.io%2Fplugin%3Dtrue";

fn config_map(name: &str, version: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "metrics", "uid": format!("uid-{name}"), "resourceVersion": version},
        "binaryData": {"plugin.wasm": "AAE="},
    })
}

fn list(items: &[Value], version: &str, more: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMapList", "metadata": {"resourceVersion": version, "continue": more}, "items": items})
}

/// Answers the watches of parts, Secrets and other ConfigMaps with nothing, and keeps them open; returns what is asked of plugins.
struct Plugins {
    api: FakeApi,
    open: Vec<UnboundedSender<Value>>,
}

impl Plugins {
    async fn next(&mut self) -> (Asked, Reply) {
        loop {
            let (asked, reply) = self.api.next().await;
            if asked.query.contains(PLUGINS) {
                return (asked, reply);
            }
            assert!(asked.accept.contains("as=PartialObjectMetadata"), "{} {}", asked.query, asked.accept);
            let expected = match asked.path.as_str() {
                CONFIGMAPS if asked.query.contains("%21") => {
                    "%21wasm-metrics-adapter.io%2Fplugin%2C%21wasm-metrics-adapter.io%2Fpart-of"
                }
                CONFIGMAPS => "wasm-metrics-adapter.io%2Fpart-of",
                "/api/v1/namespaces/metrics/secrets" => "wasm-metrics-adapter.io%2Fcredential%3Dtrue",
                path => panic!("{path}"),
            };
            assert!(asked.query.contains(expected), "{}", asked.query);
            if asked.query.contains("watch=true") {
                self.open.push(reply.watch());
            } else {
                reply.json(200, &list(&[], "1", ""));
            }
        }
    }

    async fn list(&mut self, items: &[Value], version: &str) {
        let (asked, reply) = self.next().await;
        assert!(asked.path == CONFIGMAPS && !asked.query.contains("watch"), "{}", asked.query);
        reply.json(200, &list(items, version, ""));
    }

    async fn watch(&mut self, from: &str) -> UnboundedSender<Value> {
        let (asked, reply) = self.next().await;
        let from = format!("resourceVersion={from}");
        assert!(asked.query.contains("watch=true") && asked.query.contains(&from), "{}", asked.query);
        reply.watch()
    }
}

fn start() -> (Plugins, Receiver<Event>) {
    let (client, api) = FakeApi::start();
    let (sender, receiver) = channel(16);
    tokio::spawn(ConfigMapSource::new(client, "metrics").run(sender));
    (Plugins { api, open: Vec::new() }, receiver)
}

async fn next(events: &mut Receiver<Event>) -> String {
    let next = tokio::time::timeout(std::time::Duration::from_secs(120), events.recv()).await;
    match next.expect("an event in time").expect("an event") {
        Event::Put(raw) => format!("put {} {}", raw.id, raw.version),
        Event::Remove(id) => format!("remove {id}"),
        Event::Touched(dependency) => format!("touched {dependency:?}"),
        Event::Unreadable(namespace) => format!("unreadable {namespace}"),
        Event::Synced { present, .. } => {
            format!("synced {}", present.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        }
    }
}

#[tokio::test]
async fn plugins_are_listed_in_small_pages_and_then_watched() {
    let (mut plugins, mut events) = start();
    let (asked, reply) = plugins.next().await;
    assert!(asked.query.contains("limit=2"), "{}", asked.query);
    reply.json(200, &list(&[config_map("a", "3")], "5", "more"));
    let (asked, reply) = plugins.next().await;
    assert!(asked.query.contains("continue=more"), "{}", asked.query);
    reply.json(200, &list(&[config_map("b", "4")], "5", ""));
    for expected in ["put metrics/a 3", "put metrics/b 4", "synced metrics/a metrics/b"] {
        assert_eq!(next(&mut events).await, expected);
    }
    let watch = plugins.watch("5").await;
    watch.send(json!({"type": "MODIFIED", "object": config_map("a", "6")})).unwrap();
    assert_eq!(next(&mut events).await, "put metrics/a 6");
    watch.send(json!({"type": "DELETED", "object": config_map("b", "7")})).unwrap();
    assert_eq!(next(&mut events).await, "remove metrics/b");
    // The server ends watches every few minutes: the next one goes on from where this one was.
    drop(watch);
    plugins.watch("7").await;
}

#[tokio::test(start_paused = true)]
async fn a_version_too_old_lists_again_and_tells_what_remains() {
    let (mut plugins, mut events) = start();
    plugins.list(&[config_map("a", "3"), config_map("b", "4")], "5").await;
    let watch = plugins.watch("5").await;
    let gone = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410, "reason": "Expired", "message": "too old"});
    watch.send(json!({"type": "ERROR", "object": gone})).unwrap();
    plugins.list(&[config_map("b", "9")], "10").await;
    let mut seen = Vec::new();
    while seen.last().is_none_or(|last| last != "synced metrics/b") {
        seen.push(next(&mut events).await);
    }
    assert_eq!(
        seen,
        ["put metrics/a 3", "put metrics/b 4", "synced metrics/a metrics/b", "put metrics/b 9", "synced metrics/b"]
    );
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_down_is_asked_again() {
    let (mut plugins, mut events) = start();
    for _ in 0..5 {
        plugins.next().await.1.status(503, "ServiceUnavailable");
    }
    plugins.next().await.1.status(403, "Forbidden");
    plugins.list(&[config_map("a", "3")], "5").await;
    assert_eq!(next(&mut events).await, "unreadable metrics", "for want of a right, and not before");
    assert_eq!(next(&mut events).await, "put metrics/a 3");
}

#[tokio::test]
async fn a_malformed_object_keeps_its_plugin_and_stops_nobody() {
    let (mut plugins, mut events) = start();
    let mut malformed = config_map("a", "3");
    malformed["binaryData"] = json!("not a map");
    plugins.list(&[malformed, config_map("b", "4")], "5").await;
    assert_eq!(next(&mut events).await, "put metrics/b 4");
    assert_eq!(next(&mut events).await, "synced metrics/a metrics/b");
}

#[tokio::test]
async fn closing_the_channel_ends_the_watches() {
    let (client, _api) = FakeApi::start();
    let (sender, receiver) = channel(1);
    drop(receiver);
    ConfigMapSource::new(client, "metrics").run(sender).await;
}

fn metadata(name: &str, version: &str) -> PartialObjectMeta<ConfigMap> {
    let object = json!({"metadata": {"name": name, "resourceVersion": version}});
    serde_json::from_value(object).unwrap()
}

#[tokio::test]
async fn dependencies_are_touched_when_they_are_new_another_or_gone() {
    use watcher::Event::{Apply, Delete, Init, InitApply, InitDone};
    let watched = [
        Init,
        InitApply(metadata("a", "1")),
        InitApply(metadata("b", "1")),
        InitDone,                   // a, b
        Apply(metadata("a", "2")),  // a
        Apply(metadata("a", "2")),  // nothing
        Delete(metadata("b", "3")), // b
        Apply(metadata("c", "4")),  // c
        Init,
        InitApply(metadata("a", "2")),
        InitDone, // only c is gone
    ];
    let (sender, mut events) = channel(16);
    let part = |name| Dependency::Part { namespace: "metrics".to_owned(), name };
    follow_dependencies(stream::iter(watched.map(Ok)).boxed(), part, &sender).await;
    drop(sender);
    let mut touched = Vec::new();
    while let Some(event) = events.recv().await {
        match event {
            Event::Touched(Dependency::Part { name, .. }) => touched.push(name),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(touched, ["a", "b", "a", "b", "c", "c"]);
}

/// What a GET of the one object at `path` makes of `answer`.
async fn got<T>(path: &str, answer: (u16, Value), get: impl AsyncFnOnce(ClusterDependencies) -> T) -> T {
    let (client, mut api) = FakeApi::start();
    let path = path.to_owned();
    let server = tokio::spawn(async move {
        let (asked, reply) = api.next().await;
        // No resourceVersion: the answer may not be older than what the watch has told.
        assert_eq!((asked.method.as_str(), asked.path, asked.query.as_str()), ("GET", path, ""));
        match answer {
            (200, body) => reply.json(200, &body),
            (code, reason) => reply.status(code, reason.as_str().unwrap()),
        }
    });
    let got = get(ClusterDependencies::new(client)).await;
    server.await.unwrap();
    got
}

#[tokio::test]
async fn parts_and_secrets_are_read_one_by_one() {
    let mut object = config_map("queue-0", "3");
    object["metadata"]["labels"] = json!({"wasm-metrics-adapter.io/part-of": "queue"});
    object["binaryData"] = json!({"part": "AAE="});
    object["immutable"] = json!(true);
    let path = format!("{CONFIGMAPS}/queue-0");
    let part = got(&path, (200, object), async |read| read.part("metrics", "queue-0").await).await;
    assert_eq!(
        part,
        Ok(Part { bytes: Bytes::from_static(&[0, 1]), part_of: Some("queue".to_owned()), immutable: true })
    );

    let object = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": {"token": "YWJj"},
        "metadata": {"name": "mq", "labels": {"a": "b"}, "annotations": {"c": "d"}},
    });
    let path = "/api/v1/namespaces/metrics/secrets/mq";
    let secret = got(path, (200, object), async |read| read.secret("metrics", "mq").await).await;
    let one = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
    let data = [("token".to_owned(), Bytes::from_static(b"abc"))].into();
    assert_eq!(
        secret,
        Ok(Secret { kind: "Opaque".to_owned(), labels: one("a", "b"), annotations: one("c", "d"), data })
    );
}

#[tokio::test]
async fn a_key_of_any_config_map_is_read() {
    let path = format!("{CONFIGMAPS}/mq-ca");
    let mut object = config_map("mq-ca", "3");
    object["data"] = json!({"ca.crt": "PEM"});
    let read = async |key: &'static str| {
        got(&path, (200, object.clone()), async |read| read.config_map_key("metrics", "mq-ca", key).await).await
    };
    assert_eq!(read("ca.crt").await, Ok(Bytes::from_static(b"PEM")));
    assert_eq!(read("plugin.wasm").await, Ok(Bytes::from_static(&[0, 1])), "binaryData too");
    let message = "ConfigMap metrics/mq-ca has no key `tls.crt` (it has: ca.crt, plugin.wasm)";
    assert_eq!(read("tls.crt").await, Err(ReadError::Malformed(message.to_owned())));
}

#[tokio::test]
async fn a_token_is_asked_for_one_audience_and_lives_as_the_server_says() {
    let spec = json!({"audiences": ["mq"], "expirationSeconds": 900});
    let status = json!({"token": "a.b.c", "expirationTimestamp": "1970-01-01T00:00:00Z"});
    let answer = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": {}, "spec": spec, "status": status});
    // What an API server says of a token for another audience.
    let foreign = Some(json!({"error": "invalid bearer token"}));
    let token = issued((201, answer.clone()), foreign.clone()).await.unwrap();
    assert_eq!((token.value.as_str(), token.lifetime), ("a.b.c", Duration::from_secs(900)), "by no clock");
    assert!(!format!("{token:?}").contains("a.b.c"));

    let own = issued((201, answer.clone()), Some(json!({"authenticated": true}))).await;
    let refused = "for audience mq is one that the API server takes";
    assert!(matches!(&own, Err(ReadError::Malformed(text)) if text.contains(refused)), "{own:?}");

    let mut empty = answer;
    empty["status"]["token"] = json!("");
    assert!(matches!(issued((201, empty), None).await, Err(ReadError::Unavailable(_))));
    let forbidden = issued((403, Value::Null), None).await;
    let remedy = "the verb create on serviceaccounts/token in namespace metrics";
    assert!(matches!(&forbidden, Err(ReadError::Unavailable(text)) if text.contains(remedy)), "{forbidden:?}");
}

/// The token that comes of an answer to the request and, if one is expected, the status of its review.
async fn issued(answer: (u16, Value), review: Option<Value>) -> Result<IssuedToken, ReadError> {
    let (client, mut api) = FakeApi::start();
    let server = tokio::spawn(async move {
        let (asked, reply) = api.next().await;
        let path = "/api/v1/namespaces/metrics/serviceaccounts/reader/token";
        assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", path));
        assert_eq!(asked.body["spec"], json!({"audiences": ["mq"], "expirationSeconds": 3600}));
        match answer {
            (201, body) => reply.json(201, &body),
            (code, _) => reply.status(code, "Forbidden"),
        }
        let Some(status) = review else { return };
        let (asked, reply) = api.next().await;
        assert_eq!(asked.path, "/apis/authentication.k8s.io/v1/tokenreviews");
        assert_eq!(asked.body["spec"], json!({"token": "a.b.c"}), "for the API server's own audiences");
        let mut body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "metadata": {}, "spec": {"token": "a.b.c"}});
        body["status"] = status;
        reply.json(201, &body);
    });
    let dependencies = ClusterDependencies::new(client);
    let token = dependencies.service_account_token("metrics", "reader", "mq", Duration::from_secs(3600)).await;
    server.await.unwrap();
    token
}

#[tokio::test]
async fn what_cant_be_read_says_why() {
    let path = "/api/v1/namespaces/metrics/secrets/mq";
    let read = async |code, reason: &str| {
        got(path, (code, json!(reason)), async |read| read.secret("metrics", "mq").await).await
    };
    assert_eq!(read(404, "NotFound").await, Err(ReadError::NotFound("Secret metrics/mq".to_owned())));
    let forbidden = read(403, "Forbidden").await;
    assert!(
        matches!(&forbidden, Err(ReadError::Unavailable(text)) if text.contains("the verb get on secrets in namespace metrics")),
        "{forbidden:?}"
    );
    assert!(matches!(read(500, "InternalError").await, Err(ReadError::Unavailable(_))));
}

#[test]
fn a_lost_watch_is_taken_up_within_seconds_however_long_the_outage() {
    let mut patience = Patience::default();
    let waits: Vec<_> = patience.by_ref().take(50).collect();
    assert!(waits.len() == 50 && waits.iter().all(|wait| *wait <= LONGEST_WAIT), "{waits:?}");
    assert!(waits.last() > waits.first(), "it grows: {waits:?}");
}
