//! Guests that take more of the host than they may: what it keeps for them, what it writes, whom it asks in their name.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::Router;
use tokio::net::TcpListener;
use wasm_metrics_adapter::{
    model::{Provider as _, Reason},
    telemetry::PluginLabels,
};

use crate::{
    METRICS, custom_query, external,
    faults::{Neighbour, fault, fault_of, internal},
    limits,
    logs::logs,
    name, named, probe, selected, support,
};

#[tokio::test]
async fn a_million_timers_meet_the_limit_of_what_the_host_keeps() {
    let error = fault("clings", probe("clings")).await;
    assert_eq!(
        internal(&error),
        "the plugin holds more streams, requests or timers of WASI than the adapter keeps for one request; make it drop them"
    );
}

#[tokio::test]
async fn four_gibibytes_of_random_bytes_are_refused() {
    let error = fault("gambles", probe("gambles")).await;
    assert!(internal(&error).contains("exceeds limit 1048576"), "{error}");
}

#[tokio::test]
async fn a_line_of_eight_mebibytes_is_more_than_a_plugin_may_hand_over() {
    let error = fault("shouts", probe("shouts")).await;
    assert!(internal(&error).ends_with("raise limits.answerBytes"), "{error}");
}

#[tokio::test]
async fn spinning_in_host_calls_is_spinning() {
    let error = fault("polls", probe("polls").limits(|limits| limits.cpu = Duration::from_millis(50))).await;
    assert!(internal(&error).starts_with("the plugin used more than 50ms of CPU time"), "{error}");
}

#[tokio::test]
async fn naps_without_end_meet_a_limit() {
    let error = fault("naps", probe("naps").limits(|limits| limits.timeout = Duration::from_millis(300))).await;
    assert_eq!(error.reason, Reason::Timeout);
}

#[tokio::test]
async fn a_flood_of_standard_error_costs_nothing_but_itself() {
    let neighbour = Neighbour::of("prints").await;
    let plugin = probe("prints").config("behaviour", "prints").load().await;
    external(&plugin, "shop").await.unwrap();
    neighbour.was_undisturbed().await;
}

#[tokio::test]
async fn a_flood_of_log_lines_is_counted_and_told_once() {
    let logs = logs();
    let plugin = probe("counted-flood").config("behaviour", "floods").load().await;
    external(&plugin, "shop").await.unwrap();
    let lines = logs.of(plugin.id());
    let told = lines.iter().filter(|line| line.contains("the log is flooded")).count();
    assert_eq!(told, 1, "{lines:?}");
    let labels = PluginLabels { plugin: plugin.id().to_string() };
    let dropped = METRICS.log_dropped.get_or_create(&labels).get();
    let written = lines.len() as u64 - 1;
    assert_eq!(dropped + written, 100_000);
}

#[tokio::test]
async fn state_beyond_its_quota_is_refused_and_the_rest_stays() {
    let logs = logs();
    let plugin = probe("hoards").config("behaviour", "hoards").limits(|limits| limits.state_bytes = 64 << 10);
    let error = fault_of("hoards", plugin.load().await).await;
    assert!(error.message.contains("would exceed 65536 bytes"), "{error}");
    assert!(error.message.contains("limits.stateBytes"), "{error}");
    assert!(logs.of("plugins/neighbour-of-hoards").is_empty());
}

#[tokio::test]
async fn calls_that_compete_for_a_value_all_end() {
    let neighbour = Neighbour::of("contends").await;
    let plugin = probe("contends").config("behaviour", "contends").load().await;
    for outcome in futures::future::join_all((0..8).map(|_| external(&plugin, "shop"))).await {
        outcome.unwrap();
    }
    neighbour.was_undisturbed().await;
}

/// A backend that counts its requests.
async fn counting() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let router = Router::new().fallback(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        async { "" }
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    (origin, asked)
}

#[tokio::test]
async fn ten_thousand_requests_for_one_answer_are_a_hundred() {
    for (behaviour, sent) in [("hammers", 100), ("storms", 0)] {
        let (origin, asked) = counting().await;
        let error = fault(behaviour, probe(behaviour).config("url", &origin).origin(&origin)).await;
        assert_eq!(
            internal(&error),
            "the plugin made more than 100 requests to backends for one answer; make it ask for several things at once, or raise limits.requests"
        );
        assert_eq!(asked.load(Ordering::Relaxed), sent, "{behaviour}");
    }
}

#[tokio::test]
async fn requests_by_wasi_http_count_as_well() {
    let (origin, asked) = counting().await;
    let authority = origin.trim_start_matches("http://");
    let plugin = |name: &str| probe(name).config("authority", authority).origin(&origin);
    let modest = plugin("modest-wasi-http").config("abandon", "9").limits(|limits| limits.requests = 10);
    external(&modest.load_of(support::guest("wasi-http")).await, "shop").await.unwrap();
    let before = asked.load(Ordering::Relaxed);
    let greedy = plugin("greedy-wasi-http").config("abandon", "50").limits(|limits| limits.requests = 10);
    let error = fault_of("wasi-http", greedy.load_of(support::guest("wasi-http")).await).await;
    assert!(internal(&error).starts_with("the plugin made more than 10 requests to backends"), "{error}");
    // Whether those that were let through had arrived when the call ended, nobody knows.
    assert!(asked.load(Ordering::Relaxed) - before <= 10);
}

#[tokio::test]
async fn requests_that_nobody_waits_for_end_with_their_call() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    // It answers the one request that the guest waits for, which is a POST, when the others are there, and never those.
    let (under_way, count) = tokio::sync::watch::channel(0_usize);
    let under_way = Arc::new(under_way);
    let router = Router::new().fallback(move |method: http::Method| {
        let under_way = under_way.clone();
        async move {
            if method == http::Method::POST {
                return under_way.subscribe().wait_for(|count| *count == 5).await.map(|_| "").unwrap();
            }
            let _ends = Ends::new(under_way);
            std::future::pending().await
        }
    });
    let mut count = count;
    tokio::spawn(async move { axum::serve(listener, router).await });
    let authority = origin.trim_start_matches("http://");
    let plugin = probe("abandons").config("authority", authority).config("abandon", "5").origin(&origin);
    let plugin = plugin.load_of(support::guest("wasi-http")).await;
    external(&plugin, "shop").await.unwrap();
    tokio::time::timeout(limits::PATIENCE, count.wait_for(|count| *count == 0)).await.unwrap().unwrap();
}

/// Counts itself as long as it lives.
struct Ends(Arc<tokio::sync::watch::Sender<usize>>);

impl Ends {
    fn new(count: Arc<tokio::sync::watch::Sender<usize>>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count)
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

#[tokio::test]
async fn a_label_twice_in_one_series_is_refused() {
    let error = fault("labels-twice", probe("labels-twice")).await;
    assert_eq!(internal(&error), "the plugin's answer makes no sense: a series of probe has the label queue twice");
}

#[tokio::test]
async fn the_largest_and_the_smallest_numbers_are_carried() {
    let large = probe("largest").config("behaviour", "largest").load().await;
    let value = external(&large, "shop").await.unwrap().samples[0].value;
    assert_eq!(value, "9223372036854775807e127".parse().unwrap(), "not changed in its last digit");
    let tiny = probe("smallest").config("behaviour", "smallest").load().await;
    let value = external(&tiny, "shop").await.unwrap().samples[0].value;
    assert_eq!(value, "1n".parse().unwrap(), "rounded up, away from zero, as k8s.io/apimachinery does");
    let negative = probe("negative").config("value", "-5").load().await;
    assert_eq!(external(&negative, "shop").await.unwrap().samples[0].value, "-5".parse().unwrap());
}

#[tokio::test]
async fn a_list_that_lies_or_changes_each_time_harms_no_lookup() {
    let lies = probe("lies").config("behaviour", "lies").load().await;
    assert_eq!(lies.list().await.unwrap().external, [name("probe")]);
    assert_eq!(external(&lies, "shop").await.unwrap_err().reason, Reason::MetricNotFound);
    let fickle = probe("fickle").config("behaviour", "fickle").config("in", "list").load().await;
    let (first, second) = (fickle.list().await.unwrap(), fickle.list().await.unwrap());
    assert_ne!(first, second);
    external(&fickle, "shop").await.unwrap();
    let huge = probe("huge-list").config("behaviour", "huge").config("in", "list").limits(|limits| {
        limits.memory_bytes = 512 << 20;
    });
    let huge = huge.load().await;
    assert!(internal(&huge.list().await.unwrap_err()).ends_with("raise limits.answerBytes"));
    external(&huge, "shop").await.unwrap();
}

#[tokio::test]
async fn objects_of_other_namespaces_are_not_told() {
    let plugin = probe("peeps").load().await;
    let objects = plugin.custom(&custom_query("pods", Some("shop"), selected(""))).await.unwrap().samples;
    assert!(objects.iter().all(|sample| sample.object != "secret-1"), "{objects:?}");
    let wrong = probe("wrong-namespace").config("behaviour", "wrong-object").load().await;
    let error = wrong.custom(&custom_query("pods", Some("billing"), named("secret-1"))).await.unwrap_err();
    assert!(internal(&error).contains("another object than the one asked for"));
}
