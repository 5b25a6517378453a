use serde_json::{Value, json};

use super::*;
use crate::objects::{
    FixedObjects,
    mock::{self, Events, Server, status},
};

fn objects(policy: ObjectPolicy) -> (WatchedObjects, Server) {
    let (client, server) = mock::pair();
    (WatchedObjects::new(client, Arc::new(FixedObjects::new(ObjectPolicy::default())), policy), server)
}

fn pods() -> GroupResource {
    GroupResource::core("pods")
}

fn metadata(namespace: &str, name: &str) -> Value {
    json!({
        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
        "metadata": { "namespace": namespace, "name": name, "resourceVersion": "8", "labels": { "app": "web" } },
    })
}

fn list(kind: &str, items: &[Value]) -> Value {
    json!({ "kind": kind, "apiVersion": "v1", "metadata": { "resourceVersion": "7" }, "items": items })
}

async fn names(objects: &WatchedObjects, namespace: &str) -> Result<Vec<String>, FetchError> {
    objects.names(Some(namespace), &pods(), &Selector::everything()).await
}

/// Asks until the answer is as expected: an event is on its way.
async fn eventually(objects: &WatchedObjects, namespace: &str, expected: &[&str]) {
    for _ in 0..10_000 {
        if names(objects, namespace).await.unwrap() == expected {
            return;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(names(objects, namespace).await.unwrap(), expected);
}

async fn listed_and_watched(server: &mut Server, path: &str, listing: Value) -> Events {
    server.answer(path, 200, listing).await;
    server.answer_watch(path).await
}

#[tokio::test]
async fn names_follow_a_watch_of_metadata() {
    let (objects, mut server) = objects(ObjectPolicy::default());
    let script = async {
        let listing = list(
            "PartialObjectMetadataList",
            &[metadata("shop", "web-2"), metadata("shop", "web-1"), metadata("other", "web-3")],
        );
        let request = server.answer("/api/v1/pods", 200, listing).await;
        let accept = request.headers()["accept"].to_str().unwrap().to_owned();
        assert!(accept.contains("as=PartialObjectMetadataList"), "{accept}");
        server.answer_watch("/api/v1/pods").await
    };
    let (first, events) = tokio::join!(names(&objects, "shop"), script);
    assert_eq!(first.unwrap(), ["web-1", "web-2"]);
    assert_eq!(names(&objects, "other").await.unwrap(), ["web-3"]);
    assert!(names(&objects, "empty").await.unwrap().is_empty());

    events.send("ADDED", &metadata("shop", "web-0"));
    eventually(&objects, "shop", &["web-0", "web-1", "web-2"]).await;
    events.send("DELETED", &metadata("shop", "web-1"));
    eventually(&objects, "shop", &["web-0", "web-2"]).await;
}

#[tokio::test(start_paused = true)]
async fn until_the_first_listing_the_answer_is_loading_and_never_empty() {
    let (objects, mut server) = objects(ObjectPolicy::default());
    let error = names(&objects, "shop").await.unwrap_err();
    assert_eq!(error.reason, Reason::Loading);
    assert!(error.message.contains("`pods` are still being listed"), "{error}");
    let script = listed_and_watched(
        &mut server,
        "/api/v1/pods",
        list("PartialObjectMetadataList", &[metadata("shop", "web-1")]),
    );
    let (found, _events) = tokio::join!(names(&objects, "shop"), script);
    assert_eq!(found.unwrap(), ["web-1"]);
}

#[tokio::test(start_paused = true)]
async fn a_missing_right_is_named_and_cured_without_a_restart() {
    let (objects, mut server) = objects(ObjectPolicy::default());
    let (refused, _) = tokio::join!(names(&objects, "shop"), server.answer("/api/v1/pods", 403, status(403)));
    let error = refused.unwrap_err();
    assert_eq!(error.reason, Reason::Unavailable);
    let rule = r#"add this rule to its ClusterRole: apiGroups: [""], resources: ["pods"], verbs: ["list", "watch"]"#;
    assert!(error.message.contains(rule), "{error}");

    let _events = listed_and_watched(
        &mut server,
        "/api/v1/pods",
        list("PartialObjectMetadataList", &[metadata("shop", "web-1")]),
    )
    .await;
    for _ in 0..10_000 {
        if names(&objects, "shop").await.is_ok() {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(names(&objects, "shop").await.unwrap(), ["web-1"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_listed_outlives_a_failing_api_server() {
    let (objects, mut server) = objects(ObjectPolicy::default());
    let script = listed_and_watched(
        &mut server,
        "/api/v1/pods",
        list("PartialObjectMetadataList", &[metadata("shop", "web-1")]),
    );
    let (found, events) = tokio::join!(names(&objects, "shop"), script);
    assert_eq!(found.unwrap(), ["web-1"]);
    drop(events);
    for code in [500, 403] {
        server.answer("/api/v1/pods", code, status(code)).await;
        assert_eq!(names(&objects, "shop").await.unwrap(), ["web-1"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_watch_is_started_again_when_asked_for_but_not_more_than_once_a_second() {
    let (objects, mut server) = objects(ObjectPolicy::default());
    let (refused, _) = tokio::join!(names(&objects, "shop"), server.answer("/api/v1/pods", 403, status(403)));
    for _ in 0..100 {
        assert_eq!(names(&objects, "shop").await, refused);
    }
    tokio::time::advance(Duration::from_secs(1)).await;
    let listing = list("PartialObjectMetadataList", &[metadata("shop", "web-1")]);
    let (found, _events) =
        tokio::join!(names(&objects, "shop"), listed_and_watched(&mut server, "/api/v1/pods", listing));
    assert_eq!(found.unwrap(), ["web-1"]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_watch_that_nobody_asks_tries_again_more_and_more_seldom() {
    let (objects, mut server) = objects(ObjectPolicy::default());
    let (_, _) = tokio::join!(names(&objects, "shop"), server.answer("/api/v1/pods", 403, status(403)));
    let began = Instant::now();
    for _ in 0..10 {
        server.answer("/api/v1/pods", 403, status(403)).await;
    }
    assert!(began.elapsed() > Duration::from_secs(100), "10 tries in {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_too_old_lists_again_and_answers_meanwhile() {
    let (objects, mut server) = objects(ObjectPolicy::default());
    let listing = |name: &str| list("PartialObjectMetadataList", &[metadata("shop", name)]);
    let script = listed_and_watched(&mut server, "/api/v1/pods", listing("web-1"));
    let (_, events) = tokio::join!(names(&objects, "shop"), script);
    events.send("ERROR", &status(410));
    let (_, reply) = server.next().await;
    assert_eq!(names(&objects, "shop").await.unwrap(), ["web-1"]);
    reply.send_response(mock::response(200, &listing("web-2")));
    let _events = server.answer_watch("/api/v1/pods").await;
    eventually(&objects, "shop", &["web-2"]).await;
}

#[tokio::test(start_paused = true)]
async fn objects_of_a_kind_that_is_gone_are_gone_and_come_back_with_it() {
    let (objects, mut server) = objects(ObjectPolicy::default());
    let listing = || list("PartialObjectMetadataList", &[metadata("shop", "web-1")]);
    let script = listed_and_watched(&mut server, "/api/v1/pods", listing());
    let (_, events) = tokio::join!(names(&objects, "shop"), script);
    drop(events);
    server.answer("/api/v1/pods", 404, status(404)).await;
    while names(&objects, "shop").await.is_ok() {
        tokio::task::yield_now().await;
    }
    tokio::time::advance(Duration::from_secs(1)).await;
    let (found, _events) =
        tokio::join!(names(&objects, "shop"), listed_and_watched(&mut server, "/api/v1/pods", listing()));
    assert_eq!(found.unwrap(), ["web-1"]);
}

/// Kinds that a test changes.
struct Changing(Mutex<Kind>);

#[async_trait]
impl Kinds for Changing {
    async fn kind(&self, resource: &GroupResource) -> Result<Option<Kind>, FetchError> {
        Ok(self.known(resource))
    }

    fn known(&self, _: &GroupResource) -> Option<Kind> {
        Some(self.0.lock().unwrap().clone())
    }

    fn revision(&self) -> u64 {
        0
    }
}

#[tokio::test]
async fn a_kind_of_another_version_or_scope_is_watched_anew() {
    let (client, mut server) = mock::pair();
    let kind = |version: &str, namespaced| Kind {
        group: "example.com".to_owned(),
        version: version.to_owned(),
        kind: "Thing".to_owned(),
        namespaced,
    };
    let kinds = Arc::new(Changing(Mutex::new(kind("v1", true))));
    let policy = ObjectPolicy::parse(["things.example.com"]).unwrap();
    let objects = WatchedObjects::new(client, kinds.clone(), policy);
    let (things, everything) = ("things.example.com".parse().unwrap(), Selector::everything());
    let listing = |namespace: &str| list("PartialObjectMetadataList", &[metadata(namespace, "one")]);
    let script = listed_and_watched(&mut server, "/apis/example.com/v1/things", listing("shop"));
    let (found, events) = tokio::join!(objects.names(Some("shop"), &things, &everything), script);
    assert_eq!(found.unwrap(), ["one"]);
    *kinds.0.lock().unwrap() = kind("v2", false);
    let script = listed_and_watched(&mut server, "/apis/example.com/v2/things", listing(""));
    let (found, _events) = tokio::join!(objects.names(None, &things, &everything), script);
    assert_eq!(found.unwrap(), ["one"]);
    events.ended().await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_nobody_asks_is_ended_and_started_again_on_demand() {
    let (objects, mut server) = objects(ObjectPolicy::default());
    let objects = Arc::new(objects);
    let sweeping = tokio::spawn(Arc::clone(&objects).end_idle());
    let listing = || list("PartialObjectMetadataList", &[metadata("shop", "web-1")]);
    let script = listed_and_watched(&mut server, "/api/v1/pods", listing());
    let (_, _events) = tokio::join!(names(&objects, "shop"), script);
    let watch = Arc::downgrade(&objects.watches.lock().unwrap().values().next().unwrap().watch);
    for _ in 0..3 {
        tokio::time::sleep(IDLE - SWEEP_PERIOD).await;
        assert_eq!(names(&objects, "shop").await.unwrap(), ["web-1"], "asked for, it goes on");
    }
    tokio::time::sleep(IDLE + SWEEP_PERIOD).await;
    assert!(objects.watches.lock().unwrap().is_empty());
    assert!(watch.upgrade().is_none(), "its memory is given back");

    let script = async {
        // Meanwhile the first watch has been renewed, as the client does every five minutes.
        loop {
            let (request, reply) = server.next().await;
            if !request.uri().query().unwrap_or_default().contains("watch=true") {
                reply.send_response(mock::response(200, &listing()));
                return;
            }
        }
    };
    let (found, ()) = tokio::join!(names(&objects, "shop"), script);
    assert_eq!(found.unwrap(), ["web-1"]);
    sweeping.abort();
}

#[tokio::test]
async fn names_are_answered_while_addresses_are_still_listed() {
    let (objects, mut server) = objects(ObjectPolicy::default());
    let listing = list("PartialObjectMetadataList", &[metadata("shop", "web-1")]);
    let script = listed_and_watched(&mut server, "/api/v1/pods", listing);
    let (_, _events) = tokio::join!(names(&objects, "shop"), script);
    let (pods, everything) = (pods(), Selector::everything());
    let mut addresses = Box::pin(objects.endpoints(Some("shop"), &pods, &everything));
    let (_whole, _reply) = tokio::select! {
        request = server.next() => request,
        _ = &mut addresses => panic!("nothing is listed yet"),
    };
    assert_eq!(names(&objects, "shop").await.unwrap(), ["web-1"]);
}

#[tokio::test]
async fn kinds_outside_the_list_or_the_requests_scope_are_refused_unasked() {
    let (objects, server) = objects(ObjectPolicy::default());
    let everything = Selector::everything();
    for (namespace, resource, expected) in [
        (Some("shop"), "secrets", "not open to plugins"),
        (Some("shop"), "configmaps", "not open to plugins"),
        (Some("shop"), "gadgets.apps", "no kind of objects `gadgets.apps`"),
        (Some("shop"), "nodes", "live in no namespace"),
        (None, "pods", "live in namespaces"),
    ] {
        let error = objects.names(namespace, &resource.parse().unwrap(), &everything).await.unwrap_err();
        assert_eq!(error.reason, Reason::BadRequest, "{resource}");
        assert!(error.message.contains(expected), "{error}");
        assert_eq!(objects.endpoints(namespace, &resource.parse().unwrap(), &everything).await.unwrap_err(), error);
    }
    let error = objects.endpoints(Some("shop"), &"deployments.apps".parse().unwrap(), &everything).await.unwrap_err();
    assert!(error.message.contains("ask for pods, services or nodes"), "{error}");
    drop(objects);
    server.expect_no_more().await;
}

#[tokio::test]
async fn pods_have_their_ips_and_readiness_and_serve_names_too() {
    let (objects, mut server) = objects(ObjectPolicy::default());
    let pod = |name: &str, status: Value| json!({ "metadata": { "namespace": "shop", "name": name, "labels": { "b": "2", "a": "1" } }, "status": status });
    let listing = list(
        "PodList",
        &[
            pod(
                "ready",
                json!({ "podIP": "10.0.0.1", "podIPs": [{ "ip": "10.0.0.1" }, { "ip": "fd00::1" }], "conditions": [{ "type": "Ready", "status": "True" }] }),
            ),
            pod("pending", json!({ "conditions": [{ "type": "Ready", "status": "False" }] })),
        ],
    );
    let everything = Selector::everything();
    let pods = pods();
    let asked = objects.endpoints(Some("shop"), &pods, &everything);
    let (found, _events) = tokio::join!(asked, listed_and_watched(&mut server, "/api/v1/pods", listing));
    let labels = vec![("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())];
    let endpoint = |name: &str, addresses: &[&str], ready| Endpoint {
        name: name.to_owned(),
        labels: labels.clone(),
        addresses: addresses.iter().map(|address| (*address).to_owned()).collect(),
        ready,
    };
    assert_eq!(found.unwrap(), [endpoint("pending", &[], false), endpoint("ready", &["10.0.0.1", "fd00::1"], true)]);
    assert_eq!(names(&objects, "shop").await.unwrap(), ["pending", "ready"]);
    drop(objects);
    server.expect_no_more().await;
}

#[tokio::test]
async fn services_have_cluster_ips_and_nodes_internal_addresses() {
    let (objects, mut server) = objects(ObjectPolicy::default());
    let service = |name: &str, spec: Value| json!({ "metadata": { "namespace": "shop", "name": name }, "spec": spec });
    let services = list(
        "ServiceList",
        &[
            service("front", json!({ "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9", "fd00::9"] })),
            service("headless", json!({ "clusterIP": "None", "clusterIPs": ["None"] })),
            service("outside", json!({ "type": "ExternalName", "externalName": "example.com" })),
        ],
    );
    let node = json!({ "metadata": { "name": "node-1" }, "status": {
        "addresses": [{ "type": "Hostname", "address": "node-1" }, { "type": "InternalIP", "address": "10.1.0.1" }, { "type": "ExternalIP", "address": "1.2.3.4" }],
        "conditions": [{ "type": "Ready", "status": "True" }, { "type": "DiskPressure", "status": "False" }] } });
    let everything = Selector::everything();
    let of = |found: Vec<Endpoint>| {
        found.into_iter().map(|endpoint| (endpoint.name, endpoint.addresses, endpoint.ready)).collect::<Vec<_>>()
    };
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();

    let resource = GroupResource::core("services");
    let asked = objects.endpoints(Some("shop"), &resource, &everything);
    let (found, _services) = tokio::join!(asked, listed_and_watched(&mut server, "/api/v1/services", services));
    let expected = [("front", texts(&["10.96.0.9", "fd00::9"])), ("headless", texts(&[])), ("outside", texts(&[]))];
    assert_eq!(of(found.unwrap()), expected.map(|(name, addresses)| (name.to_owned(), addresses, true)));

    let resource = GroupResource::core("nodes");
    let asked = objects.endpoints(None, &resource, &everything);
    let (found, _nodes) =
        tokio::join!(asked, listed_and_watched(&mut server, "/api/v1/nodes", list("NodeList", &[node])));
    assert_eq!(of(found.unwrap()), [("node-1".to_owned(), texts(&["10.1.0.1"]), true)]);
}

#[tokio::test]
async fn a_kind_of_a_group_is_watched_where_discovery_puts_it() {
    let (objects, mut server) = objects(ObjectPolicy::default());
    let deployments: GroupResource = "deployments.apps".parse().unwrap();
    let everything = Selector::everything();
    let asked = objects.names(Some("shop"), &deployments, &everything);
    let listing = list("PartialObjectMetadataList", &[metadata("shop", "web")]);
    let (found, _events) = tokio::join!(asked, listed_and_watched(&mut server, "/apis/apps/v1/deployments", listing));
    assert_eq!(found.unwrap(), ["web"]);
}

#[tokio::test]
async fn a_watch_outlives_the_runtime_that_asked_for_it() {
    let (objects, mut server) = objects(ObjectPolicy::default());
    let objects = Arc::new(objects);
    let guests = Arc::clone(&objects);
    let asked = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(names(&guests, "shop"))
    });
    let listing = list("PartialObjectMetadataList", &[metadata("shop", "web-1")]);
    let (found, events) = tokio::join!(asked, listed_and_watched(&mut server, "/api/v1/pods", listing));
    assert_eq!(found.unwrap().unwrap(), ["web-1"]);
    events.send("ADDED", &metadata("shop", "web-2"));
    eventually(&objects, "shop", &["web-1", "web-2"]).await;
}
