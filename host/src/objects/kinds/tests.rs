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

fn group(name: &str, versions: &[&str], preferred: &str) -> Value {
    let version = |version: &str| json!({ "groupVersion": format!("{name}/{version}"), "version": version });
    let versions: Vec<_> = versions.iter().copied().map(version).collect();
    json!({ "kind": "APIGroup", "apiVersion": "v1", "name": name, "versions": versions, "preferredVersion": version(preferred) })
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
        server.answer("/apis/example.com", 200, group("example.com", &["v2", "v1", "v3"], "v1")).await;
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
    let (none, _) = tokio::join!(asked, server.answer("/apis/example.com", 404, status(404)));
    assert_eq!(none, Ok(None));
    tokio::time::advance(ASK_PERIOD).await;
    let script = async {
        server.answer("/apis/example.com", 200, group("example.com", &["v1"], "v1")).await;
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

#[tokio::test]
async fn a_broken_group_is_an_error_of_its_own_and_what_was_known_stays() {
    let (client, mut server) = mock::pair();
    let kinds = DiscoveredKinds::new(client);
    let script = async {
        server.answer("/apis/apps", 200, group("apps", &["v1"], "v1")).await;
        server.answer("/apis/apps/v1", 200, resources("apps/v1", &[("deployments", "Deployment", true)])).await;
        server.answer("/apis/broken.example.com", 503, status(503)).await;
    };
    let asked = async {
        kinds.kind(&of("deployments.apps")).await.unwrap().unwrap();
        kinds.kind(&of("things.broken.example.com")).await.unwrap_err()
    };
    let (error, ()) = tokio::join!(asked, script);
    assert_eq!(error.reason, Reason::Unavailable);
    assert!(error.message.contains("`broken.example.com` failed with status 503"), "{error}");

    let revision = kinds.revision();
    tokio::join!(kinds.refresh(), server.answer("/apis/apps", 403, status(403)));
    assert!(kinds.known(&of("deployments.apps")).is_some());
    assert_eq!(kinds.revision(), revision);
    let asked = async { kinds.kind(&of("things.broken.example.com")).await.unwrap_err() };
    let (error, _) = tokio::join!(asked, server.answer("/apis/broken.example.com", 403, status(403)));
    assert!(error.message.contains("system:discovery"), "{error}");
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

#[tokio::test]
async fn groups_that_do_not_exist_take_no_memory_for_ever() {
    let (client, mut server) = mock::pair();
    let kinds = DiscoveredKinds::new(client);
    let script = async {
        for number in 0..=MAX_GROUPS {
            server.answer(&format!("/apis/group-{number}"), 404, status(404)).await;
        }
    };
    let asked = async {
        for number in 0..=MAX_GROUPS {
            assert_eq!(kinds.kind(&of(&format!("things.group-{number}"))).await, Ok(None));
        }
    };
    tokio::join!(asked, script);
    assert_eq!(kinds.read_groups().len(), 1);
}
