use serde_json::{Value, json};

use super::*;
use crate::objects::mock::{self, status};

fn resources(group_version: &str, resources: &[(&str, &str, bool)]) -> Value {
    let resources: Vec<_> = resources
        .iter()
        .map(|(name, kind, namespaced)| json!({ "name": name, "singularName": "", "kind": kind, "namespaced": namespaced, "verbs": ["list"] }))
        .collect();
    json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources })
}

/// The list of API groups, each with its versions, the first of which is the preferred one.
fn groups(groups: &[(&str, &[&str])]) -> Value {
    let group = |(name, versions): &(&str, &[&str])| {
        let version = |version: &str| json!({ "groupVersion": format!("{name}/{version}"), "version": version });
        let all: Vec<_> = versions.iter().rev().copied().map(version).collect();
        json!({ "name": name, "versions": all, "preferredVersion": version(versions[0]) })
    };
    json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups.iter().map(group).collect::<Vec<_>>() })
}

fn of(text: &str) -> GroupResource {
    text.parse().unwrap()
}

#[tokio::test]
async fn a_group_is_asked_once_and_then_answered_from_memory() {
    let (client, mut server) = mock::pair();
    let kinds = DiscoveredKinds::new(client);
    assert_eq!(kinds.known(&of("pods")), None);
    let core = resources("v1", &[("pods", "Pod", true), ("pods/log", "Pod", true), ("nodes", "Node", false)]);
    let (pod, _) = tokio::join!(async { kinds.kind(&of("pods")).await }, server.answer("/api/v1", 200, core));
    let expected = Kind { group: String::new(), version: "v1".to_owned(), kind: "Pod".to_owned(), namespaced: true };
    assert_eq!(pod, Ok(Some(expected.clone())));
    assert_eq!(kinds.revision(), 1);
    assert!(!kinds.kind(&of("nodes")).await.unwrap().unwrap().namespaced);
    assert_eq!(kinds.known(&of("pods")), Some(expected));
    assert_eq!(kinds.known(&of("pods/log")), None);
    drop(kinds);
    server.expect_no_more().await;
}

#[tokio::test]
async fn the_preferred_version_wins_and_others_fill_in() {
    let (client, mut server) = mock::pair();
    let kinds = DiscoveredKinds::new(client);
    let script = async {
        server.answer("/apis", 200, groups(&[("apps", &["v1"]), ("example.com", &["v1", "v3", "v2"])])).await;
        server.answer("/apis/example.com/v1", 200, resources("example.com/v1", &[("queues", "Queue", true)])).await;
        let other = resources("example.com/v2", &[("queues", "QueueTwo", true), ("topics", "Topic", false)]);
        server.answer("/apis/example.com/v2", 200, other).await;
        server.answer("/apis/example.com/v3", 503, status(503)).await;
    };
    let (topic, ()) = tokio::join!(async { kinds.kind(&of("topics.example.com")).await }, script);
    assert_eq!(topic.unwrap().unwrap().version, "v2");
    assert_eq!(kinds.known(&of("queues.example.com")).unwrap().version, "v1");
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_is_asked_for_at_most_once_a_second() {
    let (client, mut server) = mock::pair();
    let kinds = DiscoveredKinds::new(client);
    let missing = of("things.example.com");
    let asked = async {
        let answers = tokio::join!(kinds.kind(&missing), kinds.kind(&missing));
        assert_eq!(answers, (Ok(None), Ok(None)));
        kinds.kind(&missing).await
    };
    let (none, _) = tokio::join!(asked, server.answer("/apis", 200, groups(&[])));
    assert_eq!(none, Ok(None));
    tokio::time::advance(ASK_PERIOD).await;
    let script = async {
        server.answer("/apis", 200, groups(&[("example.com", &["v1"])])).await;
        server.answer("/apis/example.com/v1", 200, resources("example.com/v1", &[("things", "Thing", true)])).await;
    };
    let (thing, ()) = tokio::join!(async { kinds.kind(&missing).await }, script);
    assert_eq!(thing.unwrap().unwrap().kind, "Thing");
    drop(kinds);
    server.expect_no_more().await;
}

#[tokio::test]
async fn own_groups_and_names_that_are_no_groups_are_never_asked_for() {
    let (client, server) = mock::pair();
    let kinds = DiscoveredKinds::new(client);
    for resource in [
        "pods.metrics.k8s.io",
        "pods.custom.metrics.k8s.io",
        "x.external.metrics.k8s.io",
        "x.../../api",
        "x.a%2fb",
        "x.A",
        "",
    ] {
        assert_eq!(kinds.kind(&of(resource)).await, Ok(None), "{resource}");
    }
    drop(kinds);
    server.expect_no_more().await;
}

#[tokio::test(start_paused = true)]
async fn a_broken_group_is_an_error_of_its_own_and_what_was_known_stays() {
    let (client, mut server) = mock::pair();
    let kinds = DiscoveredKinds::new(client);
    let all = groups(&[("apps", &["v1"]), ("broken.example.com", &["v1"])]);
    let script = async {
        server.answer("/apis", 200, all.clone()).await;
        server.answer("/apis/apps/v1", 200, resources("apps/v1", &[("deployments", "Deployment", true)])).await;
        server.answer("/apis/broken.example.com/v1", 503, status(503)).await;
    };
    let asked = async {
        kinds.kind(&of("deployments.apps")).await.unwrap().unwrap();
        kinds.kind(&of("things.broken.example.com")).await.unwrap_err()
    };
    let (error, ()) = tokio::join!(asked, script);
    assert_eq!(error.reason, Reason::Unavailable);
    assert!(error.message.contains("`broken.example.com` failed with status 503"), "{error}");

    tokio::time::advance(ASK_PERIOD).await;
    let revision = kinds.revision();
    let refused = async {
        server.answer("/apis", 200, all.clone()).await;
        server.answer("/apis/apps/v1", 403, status(403)).await;
    };
    tokio::join!(kinds.refresh_group("apps"), refused);
    assert!(kinds.known(&of("deployments.apps")).is_some());
    let asked = async { kinds.kind(&of("things.broken.example.com")).await.unwrap_err() };
    let (error, _) = tokio::join!(asked, server.answer("/apis/broken.example.com/v1", 403, status(403)));
    assert!(error.message.contains("system:discovery"), "{error}");

    tokio::time::advance(ASK_PERIOD).await;
    let asked = async { kinds.kind(&of("more.example.com")).await.unwrap_err() };
    let (error, _) = tokio::join!(asked, server.answer("/apis", 500, status(500)));
    assert!(error.message.contains("discovery of the API groups failed with status 500"), "{error}");
    assert!(kinds.known(&of("deployments.apps")).is_some());
    assert_eq!(kinds.revision(), revision);
}

#[tokio::test]
async fn a_refresh_takes_up_changes_and_moves_the_revision() {
    let (client, mut server) = mock::pair();
    let kinds = DiscoveredKinds::new(client);
    let before = resources("v1", &[("pods", "Pod", true), ("widgets", "Widget", true)]);
    let (_, _) = tokio::join!(async { kinds.kind(&of("pods")).await }, server.answer("/api/v1", 200, before.clone()));
    tokio::join!(kinds.refresh(), server.answer("/api/v1", 200, before.clone()));
    assert_eq!(kinds.revision(), 1);
    tokio::join!(kinds.refresh(), server.answer("/api/v1", 200, resources("v1", &[("pods", "Pod", true)])));
    assert_eq!(kinds.revision(), 2);
    assert_eq!(kinds.known(&of("widgets")), None);
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_does_not_answer_is_not_waited_for() {
    let (client, mut server) = mock::pair();
    let kinds = DiscoveredKinds::new(client);
    let (error, _request) = tokio::join!(async { kinds.kind(&of("pods")).await.unwrap_err() }, server.next());
    assert_eq!(error.reason, Reason::Unavailable);
    assert!(error.message.contains("did not answer in time"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_made_up_kinds_is_two_requests_a_second() {
    let (client, mut server) = mock::pair();
    let kinds = DiscoveredKinds::new(client);
    let flood = || async {
        for number in 0..1000 {
            assert_eq!(kinds.kind(&of(&format!("things.group-{number}"))).await, Ok(None));
            assert_eq!(kinds.kind(&of(&format!("things-{number}.example.com"))).await, Ok(None));
        }
    };
    for _second in 0..3 {
        let script = async {
            server.answer("/apis", 200, groups(&[("example.com", &["v1"])])).await;
            server.answer("/apis/example.com/v1", 200, resources("example.com/v1", &[])).await;
        };
        tokio::join!(flood(), script);
        tokio::time::advance(ASK_PERIOD).await;
    }
    assert_eq!(kinds.read_groups().len(), 1, "groups that don't exist take no memory");
    drop(kinds);
    server.expect_no_more().await;
}

/// An answer is on its way to the task that asked.
async fn settled(condition: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if condition() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it never came");
}

fn definition(name: &str) -> Value {
    json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": { "name": name, "resourceVersion": "8" } })
}

/// The discovery of the one group of [`a_definition_that_is_deleted_and_created_with_another_scope_is_followed`].
async fn look(server: &mut mock::Server, namespaced: Option<bool>) {
    let present: &[(&str, &[&str])] = &[("example.com", &["v1"])];
    server.answer("/apis", 200, groups(if namespaced.is_some() { present } else { &[] })).await;
    if let Some(namespaced) = namespaced {
        let things = resources("example.com/v1", &[("things", "Thing", namespaced)]);
        server.answer("/apis/example.com/v1", 200, things).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_definition_that_is_deleted_and_created_with_another_scope_is_followed() {
    let (client, mut server) = mock::pair();
    let kinds = Arc::new(DiscoveredKinds::new(client));
    let things = of("things.example.com");
    let scope = || kinds.known(&things).map(|kind| kind.namespaced);
    let (known, ()) = tokio::join!(async { kinds.kind(&things).await }, look(&mut server, Some(true)));
    assert!(known.unwrap().unwrap().namespaced);
    tokio::time::advance(ASK_PERIOD).await;

    let following = tokio::spawn(Arc::clone(&kinds).keep_fresh());
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let listing = json!({ "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": { "resourceVersion": "7" }, "items": [definition("things.example.com")] });
    let request = server.answer(definitions, 200, listing).await;
    assert!(request.headers()["accept"].to_str().unwrap().contains("as=PartialObjectMetadataList"));
    look(&mut server, Some(true)).await;
    let events = server.answer_watch(definitions).await;
    assert_eq!(scope(), Some(true));

    tokio::time::advance(FRESH).await;
    events.send("ADDED", &definition("gadgets.never-asked-for.example.com"));
    events.send("DELETED", &definition("things.example.com"));
    // Discovery is a moment behind the definition.
    look(&mut server, Some(true)).await;
    look(&mut server, None).await;
    let changed = Instant::now();
    settled(|| scope().is_none()).await;
    assert_eq!(kinds.kind(&things).await, Ok(None));

    events.send("ADDED", &definition("things.example.com"));
    tokio::time::advance(ASK_PERIOD).await;
    let (found, ()) = tokio::join!(async { kinds.kind(&things).await }, look(&mut server, Some(false)));
    assert!(!found.unwrap().unwrap().namespaced);
    assert!(changed.elapsed() < Duration::from_secs(2));
    following.abort();
}

#[tokio::test(start_paused = true)]
async fn without_the_right_to_watch_definitions_kinds_are_refreshed_by_and_by() {
    let (client, mut server) = mock::pair();
    let kinds = Arc::new(DiscoveredKinds::new(client));
    let things = of("things.example.com");
    let (known, ()) = tokio::join!(async { kinds.kind(&things).await }, look(&mut server, Some(true)));
    assert!(known.unwrap().unwrap().namespaced);
    let following = tokio::spawn(Arc::clone(&kinds).keep_fresh());
    let began = Instant::now();
    let changed = resources("example.com/v1", &[("things", "Thing", false)]);
    loop {
        let (request, reply) = server.next().await;
        let (code, body) = match request.uri().path() {
            "/apis" => (200, groups(&[("example.com", &["v1"])])),
            "/apis/example.com/v1" => (200, changed.clone()),
            _ => (403, status(403)),
        };
        reply.send_response(mock::response(code, &body));
        if request.uri().path() == "/apis/example.com/v1" {
            break;
        }
    }
    assert!((REFRESH_PERIOD..REFRESH_PERIOD * 2).contains(&began.elapsed()), "{:?}", began.elapsed());
    settled(|| kinds.known(&things).is_some_and(|kind| !kind.namespaced)).await;
    following.abort();
}
