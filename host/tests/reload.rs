//! The reload room through its door: a scripted source on one side, the real runtime and registry on the other.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

#[expect(dead_code, reason = "a whole backend, of which other tests use more")]
#[path = "egress/backend.rs"]
mod backend;
#[path = "reload/credentials.rs"]
mod credentials;
#[expect(dead_code, reason = "other tests use more of them")]
#[path = "credentials/identities.rs"]
mod identities;
#[path = "reload/sequences.rs"]
mod sequences;
#[path = "reload/stage.rs"]
mod stage;
mod support;
#[path = "reload/tenants.rs"]
mod tenants;

use std::sync::Arc;

use stage::{Stage, id, in_a_part, next_version, plugin, with_code};
use tokio::{net::TcpListener, sync::Semaphore};
use wasm_metrics_adapter::{
    model::{Provider as _, Reason},
    source::{Event, RawPlugin},
};

fn is(value: &str) -> impl Fn(&Result<String, wasm_metrics_adapter::model::FetchError>) -> bool {
    move |answer| answer.as_deref() == Ok(value)
}

fn fails_with(reason: Reason) -> impl Fn(&Result<String, wasm_metrics_adapter::model::FetchError>) -> bool {
    move |answer| answer.as_ref().is_err_and(|error| error.reason == reason)
}

#[tokio::test]
async fn a_plugin_serves_what_it_lists_until_it_is_deleted() {
    let mut stage = Stage::new().await;
    stage.load(plugin("queue", "value: '7', metrics: 'depth,age', resource: pods", "")).await;
    assert_eq!(stage.ask("depth").await.unwrap(), "7");
    assert_eq!(stage.ask("other").await.unwrap_err().reason, Reason::MetricNotFound);
    let catalog = stage.reader.catalog();
    assert_eq!(catalog.external.iter().map(ToString::to_string).collect::<Vec<_>>(), ["age", "depth"]);
    assert_eq!(catalog.custom.iter().map(ToString::to_string).collect::<Vec<_>>(), ["pods/age", "pods/depth"]);
    stage.send(Event::Remove(id("queue"))).await;
    stage.until("depth", fails_with(Reason::MetricNotFound)).await;
    stage.load(plugin("queue", "value: '8', metrics: depth", "")).await;
    assert_eq!(stage.ask("depth").await.unwrap(), "8", "one that comes back is told of and serves again");
}

#[tokio::test]
async fn an_update_is_swapped_whole() {
    let mut stage = Stage::new().await;
    stage.load(plugin("queue", "value: '1', metrics: depth", "")).await;
    for version in 2..=5 {
        stage.put(plugin("queue", &format!("value: '{version}', metrics: depth"), "")).await;
        let (old, new) = ((version - 1).to_string(), version.to_string());
        stage
            .until("depth", |answer| {
                let value = answer.as_deref().expect("never an error");
                assert!(value == old || value == new, "{value}");
                value == new
            })
            .await;
    }
    assert!(stage.is_silent(), "that it serves has been told");
}

#[tokio::test]
async fn who_claims_what_another_answers_is_told_so() {
    let mut stage = Stage::new().await;
    stage.load(plugin("queue", "value: '1', metrics: depth", "")).await;
    stage.load(plugin("rival", "value: '2', metrics: depth", "")).await;
    let report = stage.report().await;
    assert_eq!((report.id, report.reason, report.good), (id("rival"), "Conflict", false));
    assert!(report.message.contains("external depth is answered by plugins/queue"), "{}", report.message);
    assert_eq!(stage.ask("depth").await.unwrap(), "1", "the order is that of the names");
    stage.send(Event::Remove(id("queue"))).await;
    stage.until("depth", is("2")).await;
    assert!(stage.is_silent(), "no news is good news");
}

#[tokio::test]
async fn a_bad_update_changes_nothing_and_is_told_once() {
    let mut stage = Stage::new().await;
    let good = || plugin("queue", "value: '7', metrics: depth", "");
    stage.load(good()).await;
    let origin = "https://mq.example.com";
    let credential = format!("credentials: [{{ origin: '{origin}', bearer: {{ secret: mq, key: token }} }}]");
    stage.objects.add_secret("mq", origin);
    let invalid = wat::parse_str(
        r#"(component
            (core module (func (result i32)))
            (instance $empty)
            (export "wasm-metrics-adapter:plugin/external-metrics@0.1.0" (instance $empty)))"#,
    );
    let mut two_codes = good();
    two_codes.code.insert("plugin.wasm.gz".to_owned(), support::guest("probe"));
    let mut stranger = good();
    stranger.unknown_keys.push("plugin.wsam".to_owned());
    for (bad, expected) in [
        (with_code(good(), "garbage"), "not a WebAssembly component but text that starts with `garbage`"),
        (with_code(good(), wat::parse_str("(module)").unwrap()), "a core module, not a component"),
        (with_code(good(), wat::parse_str("(component)").unwrap()), "and no metrics"),
        (with_code(good(), invalid.unwrap()), "the component does not compile: "),
        (two_codes, "exactly one of"),
        (stranger, "did you mean `plugin.wasm`?"),
        (plugin("queue", "", "listEvry: 1m"), "listEvery"),
        (plugin("queue", "", "egress: ['ftp://mq.example.com']"), "egress: "),
        (plugin("queue", "", &credential), "https://mq.example.com:443 is not in egress"),
        (plugin("queue", "behaviour: rejects, message: no url", ""), "the plugin refuses its settings: no url"),
        (
            plugin("queue", "behaviour: traps, in: validate", ""),
            "settings.validate failed: the plugin stopped with a trap",
        ),
    ] {
        let bad = RawPlugin { version: next_version(), ..bad };
        let mut again = RawPlugin { version: next_version(), ..bad.clone() };
        again.manifest = again.manifest.map(|text| format!("{text}# another version of the same mistake\n"));
        let rejected = stage.loads("queue", "rejected");
        stage.put(bad).await;
        let report = stage.report().await;
        assert_eq!((report.good, report.reason), (false, "Rejected"));
        assert!(report.message.contains(expected), "{expected}: {}", report.message);
        assert!(report.message.ends_with("; the last good version serves on"), "{}", report.message);
        assert_eq!(stage.ask("depth").await.unwrap(), "7");
        stage.put(again).await;
        stage.load(good()).await;
        assert_eq!(stage.loads("queue", "rejected"), rejected + 2, "both were tried, one was told");
        assert_eq!(stage.ask("depth").await.unwrap(), "7");
    }
    assert!(stage.is_silent());
}

#[tokio::test]
async fn a_plugin_that_never_loaded_owns_nothing() {
    let mut stage = Stage::new().await;
    stage.put(with_code(plugin("bad", "", "serves: { external: [depth] }"), "garbage")).await;
    let report = stage.report().await;
    assert!(report.message.ends_with("; its metrics are not served"), "{}", report.message);
    assert_eq!(stage.ask("depth").await.unwrap_err().reason, Reason::MetricNotFound);
    stage.load(plugin("zeta", "value: '3'", "serves: { external: ['dep*'] }")).await;
    assert_eq!(stage.ask("depth").await.unwrap(), "3", "another answers in its place");
}

#[tokio::test]
async fn the_same_content_again_does_nothing() {
    let mut stage = Stage::new().await;
    let mut queue = plugin("queue", "value: '1', metrics: depth", "");
    stage.load(queue.clone()).await;
    queue.version = next_version();
    stage.put(queue.clone()).await;
    stage.synced(&[id("queue")]).await;
    stage.put(queue).await;
    stage.put(plugin("queue", "value: '2', metrics: depth", "")).await;
    stage.until("depth", is("2")).await;
    stage.until_loaded("queue", 2).await;
    assert_eq!(stage.loads("queue", "loaded"), 2);
    assert!(stage.is_silent());
}

#[tokio::test]
async fn what_a_restarted_watch_no_longer_has_is_withdrawn() {
    let mut stage = Stage::new().await;
    stage.load(plugin("stays", "value: '1', metrics: stays", "")).await;
    stage.load(plugin("goes", "value: '2', metrics: goes", "")).await;
    stage.synced(&[id("stays")]).await;
    stage.until("goes", fails_with(Reason::MetricNotFound)).await;
    assert_eq!(stage.ask("stays").await.unwrap(), "1");
}

#[tokio::test]
async fn a_claim_of_a_plugin_that_loads_is_unavailable_and_delays_no_other() {
    let mut stage = Stage::new().await;
    stage.objects.add_part_of("slow");
    let gate = stage.objects.hold();
    stage.put(in_a_part("slow", "value: '1'", "serves: { external: ['slow_*'] }")).await;
    assert_eq!(stage.ask("slow_queue").await.unwrap_err().reason, Reason::Loading);
    assert_eq!(stage.ask("queue").await.unwrap_err().reason, Reason::MetricNotFound);
    stage.load(plugin("quick", "value: '2', metrics: queue", "")).await;
    stage.put(with_code(plugin("broken", "", ""), "garbage")).await;
    assert_eq!(stage.report().await.reason, "Rejected");
    assert_eq!(stage.ask("queue").await.unwrap(), "2");
    stage.synced(&[id("slow"), id("quick"), id("broken")]).await;
    assert!(!stage.first_loads.is_open(), "one has neither loaded nor failed");
    gate.add_permits(Semaphore::MAX_PERMITS);
    assert_eq!(stage.report().await.reason, "Loaded");
    stage.until("slow_queue", |answer| is("1")(answer) && stage.first_loads.is_open()).await;
}

#[tokio::test]
async fn a_missing_part_is_waited_for() {
    let mut stage = Stage::new().await;
    stage.put(in_a_part("queue", "value: '7'", "serves: { external: [depth] }")).await;
    let report = stage.report().await;
    assert_eq!((report.good, report.reason), (false, "Waiting"));
    assert!(report.message.contains("ConfigMap plugins/queue-part does not exist"), "{}", report.message);
    assert_eq!(stage.ask("depth").await.unwrap_err().reason, Reason::Loading);
    let part = stage.objects.add_part_of("queue");
    stage.send(Event::Touched(part)).await;
    assert_eq!(stage.report().await.reason, "Loaded");
    assert_eq!(stage.ask("depth").await.unwrap(), "7");
}

#[tokio::test]
async fn a_secret_decides_again_when_it_changes() {
    let mut stage = Stage::new().await;
    let origin = "https://mq.example.com";
    let body =
        format!("egress: ['{origin}']\ncredentials: [{{ origin: '{origin}', bearer: {{ secret: mq, key: token }} }}]");
    stage.put(plugin("queue", "value: '7', metrics: depth", &body)).await;
    assert!(stage.report().await.message.contains("Secret plugins/mq does not exist"));
    let secret = stage.objects.add_secret("mq", "https://other.example.com");
    stage.send(Event::Touched(secret.clone())).await;
    let report = stage.report().await;
    assert_eq!(report.reason, "Rejected");
    assert!(report.message.contains("does not consent to be sent to https://mq.example.com"), "{}", report.message);
    stage.objects.add_secret("mq", origin);
    stage.send(Event::Touched(secret.clone())).await;
    assert_eq!(stage.report().await.reason, "Loaded");
    assert_eq!(stage.ask("depth").await.unwrap(), "7");
    stage.objects.add_secret("mq", "https://other.example.com");
    stage.send(Event::Touched(secret)).await;
    let report = stage.report().await;
    assert!(report.message.ends_with("; the last good version serves on"), "{}", report.message);
}

#[tokio::test]
async fn a_suspended_plugin_answers_nothing_until_it_is_resumed() {
    let mut stage = Stage::new().await;
    stage.load(plugin("queue", "value: '7', metrics: depth", "")).await;
    stage.put(plugin("queue", "value: '7', metrics: depth", "suspend: true")).await;
    let report = stage.report().await;
    assert_eq!((report.good, report.reason), (true, "Suspended"));
    assert_eq!(stage.ask("depth").await.unwrap_err().reason, Reason::MetricNotFound);
    stage.load(plugin("queue", "value: '8', metrics: depth", "")).await;
    assert_eq!(stage.ask("depth").await.unwrap(), "8");
}

#[tokio::test]
async fn a_list_that_fails_leaves_the_last_one() {
    let mut stage = Stage::new().await;
    stage.load(plugin("queue", "value: '1', metrics: 'depth,age'", "")).await;
    let before = stage.reader.catalog();
    stage.put(plugin("queue", "value: '2', behaviour: fails, in: list", "")).await;
    stage.until("depth", is("2")).await;
    assert_eq!(*stage.reader.catalog(), *before);
}

#[tokio::test]
async fn a_call_under_way_ends_on_the_version_that_it_began_with() {
    let mut stage = Stage::new().await;
    let (arrived, release) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback({
        let (arrived, release) = (arrived.clone(), release.clone());
        move || async move {
            arrived.add_permits(1);
            release.acquire().await.unwrap().forget();
            "done"
        }
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    let old = format!("behaviour: imports, url: '{origin}', metrics: depth");
    stage.load(plugin("queue", &old, &format!("egress: ['{origin}']"))).await;
    let (under_way, swapped) = tokio::join!(stage.ask("depth"), async {
        arrived.acquire().await.unwrap().forget();
        stage.put(plugin("queue", "value: '9', metrics: depth", "")).await;
        stage.until_loaded("queue", 2).await;
        assert_eq!(stage.ask("depth").await.unwrap(), "9");
        release.add_permits(Semaphore::MAX_PERMITS);
        "swapped"
    });
    assert_eq!(swapped, "swapped");
    let values = under_way.unwrap();
    assert!(values.split(',').any(|status| status == "200"), "its backend's answer arrived: {values}");
}

#[tokio::test]
async fn a_plugin_made_again_during_a_load_is_the_one_that_stays() {
    let mut stage = Stage::new().await;
    stage.objects.add_part_of("queue");
    let gate = stage.objects.hold();
    stage.put(in_a_part("queue", "value: '1', metrics: depth", "")).await;
    stage.send(Event::Remove(id("queue"))).await;
    stage.put(plugin("queue", "value: '2', metrics: depth", "")).await;
    gate.add_permits(Semaphore::MAX_PERMITS);
    stage.until_loaded("queue", 2).await;
    assert_eq!(stage.ask("depth").await.unwrap(), "2");
    assert_eq!(stage.report().await.reason, "Loaded");
    assert!(stage.is_silent());
}

#[tokio::test]
async fn a_stop_waits_for_no_load_and_leaves_what_serves() {
    let mut stage = Stage::new().await;
    stage.load(plugin("queue", "value: '7', metrics: depth", "")).await;
    let _never = stage.objects.hold();
    stage.put(in_a_part("slow", "", "")).await;
    stage.synced(&[id("queue"), id("slow")]).await;
    let reader = stage.stop().await;
    assert_eq!(reader.catalog().external.iter().map(ToString::to_string).collect::<Vec<_>>(), ["depth"]);
}
